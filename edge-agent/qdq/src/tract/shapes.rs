//! Shapes of outputs where those of the inputs have symbols in them.

use tract_onnx::tract_hir::internal::*;

use crate::graph::{Island, Shape};

/// The outputs' shapes. A dimension that no sum of the symbols, each some times, gives is none.
///
/// Islands compute with numbers, so numbers are tried out for each symbol. A batch comes out as the symbol that it is;
/// rows and columns, which windows divide, come out as none if they are symbols.
pub(super) fn output_shapes(island: &Island, inputs: &[&[TDim]]) -> TractResult<Vec<TVec<Option<TDim>>>> {
    let numbers: Option<Vec<Shape>> = inputs.iter().map(|shape| numbers(shape)).collect();
    if let Some(numbers) = numbers {
        let shapes = outputs(island, &numbers).map_err(TractError::msg)?;
        return Ok(shapes
            .into_iter()
            .map(|shape| shape.into_iter().map(|dim| Some(dim.to_dim())).collect())
            .collect());
    }
    let mut symbols: Vec<Symbol> =
        inputs.iter().flat_map(|shape| shape.iter().flat_map(TDim::symbols)).collect();
    symbols.sort();
    symbols.dedup();
    let attempt = |values: &[i64]| -> Result<Vec<Shape>, String> {
        let known = symbols.iter().zip(values);
        let known = known.fold(SymbolValues::default(), |known, (symbol, value)| known.with(symbol, *value));
        let shapes: Option<Vec<Shape>> = inputs
            .iter()
            .map(|shape| {
                let numbers = shape.iter().map(|dim| usize::try_from(dim.eval(&known).to_i64().ok()?).ok());
                numbers.collect()
            })
            .collect();
        outputs(island, &shapes.ok_or("its inputs' shapes are negative")?)
    };
    // Small numbers for batches; for images, those that networks like.
    let mut reason = String::new();
    let found = [1, 512, 320, 224, 64].into_iter().find_map(|size| {
        let values = vec![size; symbols.len()];
        attempt(&values).map_err(|error| reason = error).ok().map(|shapes| (values, shapes))
    });
    let Some((base, shapes)) = found else { bail!("{reason}") };
    let terms: Vec<Vec<Vec<Option<i64>>>> =
        (0..symbols.len()).map(|symbol| slopes(&attempt, &base, &shapes, symbol)).collect();
    let together: Vec<i64> = base.iter().zip(2..).map(|(value, more)| value + more).collect();
    let together = attempt(&together).ok();
    let dim = |output: usize, axis: usize| -> Option<TDim> {
        let slopes: Option<Vec<i64>> = terms.iter().map(|term| term[output][axis]).collect();
        let slopes = slopes?;
        let sum = |values: &mut dyn Iterator<Item = i64>| -> i64 {
            slopes.iter().zip(values).map(|(a, b)| a * b).sum()
        };
        let constant = shapes[output][axis] as i64 - sum(&mut base.iter().copied());
        // Products of symbols show when all change at once.
        let all = constant + sum(&mut base.iter().zip(2..).map(|(value, more)| value + more));
        if slopes.iter().filter(|slope| **slope != 0).count() > 1
            && together.as_ref().is_none_or(|shapes| shapes[output][axis] as i64 != all)
        {
            return None;
        }
        let terms = symbols.iter().zip(&slopes).filter(|(_, slope)| **slope != 0);
        Some(terms.fold(constant.to_dim(), |sum, (symbol, slope)| sum + symbol.to_dim() * *slope))
    };
    let dims = |(output, shape): (usize, &Shape)| (0..shape.len()).map(|axis| dim(output, axis)).collect();
    Ok(shapes.iter().enumerate().map(dims).collect())
}

/// How much each dimension of each output grows with a symbol; none if not by the same at each step.
fn slopes(
    attempt: &impl Fn(&[i64]) -> Result<Vec<Shape>, String>,
    base: &[i64],
    shapes: &[Shape],
    symbol: usize,
) -> Vec<Vec<Option<i64>>> {
    // As many in a row as show any division that an image is likely to go through.
    let steps: Vec<Option<Vec<Shape>>> = (1..=32)
        .map(|step| {
            let mut values = base.to_vec();
            values[symbol] += step;
            attempt(&values).ok()
        })
        .collect();
    let slope = |output: usize, axis: usize| -> Option<i64> {
        let at = |step: usize| Some(steps[step - 1].as_ref()?.get(output)?.get(axis).copied()? as i64);
        let first = shapes[output][axis] as i64;
        let slope = at(1)? - first;
        (1..=steps.len()).all(|step| at(step) == Some(first + slope * step as i64)).then_some(slope)
    };
    let dims = |(output, shape): (usize, &Shape)| (0..shape.len()).map(|axis| slope(output, axis)).collect();
    shapes.iter().enumerate().map(dims).collect()
}

fn numbers(shape: &[TDim]) -> Option<Shape> {
    shape.iter().map(|dim| usize::try_from(dim.to_i64().ok()?).ok()).collect()
}

fn outputs(island: &Island, inputs: &[Shape]) -> Result<Vec<Shape>, String> {
    let mut shapes = island.shapes(inputs)?;
    Ok(island.outputs.iter().map(|output| std::mem::take(&mut shapes[*output])).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Kind, Node, Op, Pads, Reshape, Value, Window};

    fn island(op: Op) -> Island {
        let value = |name: &str| Value { name: name.into(), kind: Kind::Real, constant: None };
        Island {
            values: vec![value("x"), value("y")],
            nodes: vec![Node { name: "n".into(), op, inputs: vec![0], output: 1 }],
            inputs: vec![0],
            outputs: vec![1],
        }
    }

    #[test]
    fn batches_stay_symbols_and_windows_open_dimensions() {
        let scope = SymbolScope::default();
        let [n, h] = ["N", "H"].map(|name| scope.sym(name).to_dim());
        let window = Window {
            kernel: [3; 2],
            strides: [2; 2],
            dilations: [1; 2],
            pads: Pads::Explicit([1; 4]),
            ceil: false,
        };
        let pool = island(Op::MaxPool(window));
        let shapes = output_shapes(&pool, &[&[n.clone(), 3.to_dim(), h.clone(), 9.to_dim()]]).unwrap();
        assert_eq!(shapes[0][..], [Some(n.clone()), Some(3.to_dim()), None, Some(5.to_dim())]);
        let flat = island(Op::Reshape(Reshape::To(vec![-1, 6])));
        let shapes = output_shapes(&flat, &[&[n.clone(), 3.to_dim(), 2.to_dim()]]).unwrap();
        assert_eq!(shapes[0][..], [Some(n.clone()), Some(6.to_dim())]);
        let flat = island(Op::Reshape(Reshape::Flatten(2)));
        let shapes = output_shapes(&flat, &[&[n.clone(), h.clone(), 2.to_dim()]]).unwrap();
        assert_eq!(shapes[0][..], [None, Some(2.to_dim())]);
        let error = output_shapes(&flat, &[&[n]]).unwrap_err();
        assert!(error.to_string().contains("'n'"), "{error}");
    }
}
