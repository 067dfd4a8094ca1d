//! Which part of a network suffers most from 8 bits.

use std::collections::BTreeSet;

use tch::{Kind, Tensor, no_grad};

use super::error::QuantizeError;
use super::plan::{QuantPlan, Unit};
use super::scheme::{QuantScheme, QuantizedGraph};
use super::simulate::QuantizedNet;
use crate::net::{Mode, TorchNet};

/// The mean squared error of the logits over these images `[N, C, H, W]` when one unit alone is quantized, the worst unit
/// first.
///
/// # Errors
/// If the network cannot be run.
pub fn sensitivity(
    quantized: &QuantizedGraph,
    images: &[Tensor],
    device: tch::Device,
) -> Result<Vec<(Unit, f64)>, QuantizeError> {
    let QuantizedGraph { graph, params, scheme } = quantized;
    let plan = QuantPlan::new(graph)?;
    let exact = TorchNet::from_params(graph, params, device)?;
    let exact: Vec<Tensor> =
        images.iter().map(|image| no_grad(|| exact.forward(image, Mode::Eval))).collect::<Result<_, _>>()?;
    let values: BTreeSet<Unit> =
        scheme.activations.keys().filter_map(|id| plan.group(*id)).map(Unit::Values).collect();
    let units = values.into_iter().chain(scheme.convolutions.keys().copied().map(Unit::Weights));
    let mut found = Vec::new();
    for unit in units {
        let net = QuantizedNet::new(&alone(quantized, &plan, unit), device)?;
        let mut error = 0.0;
        for (image, exact) in images.iter().zip(&exact) {
            let off = net.forward(image)?.f_sub(exact)?.f_square()?.f_mean(Kind::Double)?;
            error += off.double_value(&[]) / images.len() as f64;
        }
        found.push((unit, error));
    }
    found.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    Ok(found)
}

fn alone(quantized: &QuantizedGraph, plan: &QuantPlan, unit: Unit) -> QuantizedGraph {
    let QuantScheme { mut activations, mut convolutions } = quantized.scheme.clone();
    activations.retain(|id, _| plan.group(*id).map(Unit::Values) == Some(unit));
    convolutions.retain(|id, _| Unit::Weights(*id) == unit);
    QuantizedGraph { scheme: QuantScheme { activations, convolutions }, ..quantized.clone() }
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;
    use crate::net::{GraphBuilder, ParamTensor, Params};
    use crate::quantize::{Method, calibrate, quantize};

    #[test]
    fn the_part_whose_outlier_costs_all_levels_comes_first() {
        let (mut g, x) = GraphBuilder::new("g", 1);
        let x = g.conv("a", x, 2, 1, |c| c.bias = true);
        let x = g.relu("wide", x);
        let x = g.conv("b", x, 1, 1, |c| c.bias = true);
        let x = g.relu("narrow", x);
        let x = g.conv("head", x, 1, 1, |c| c.bias = true);
        let graph = g.finish(&[x]);
        // The second channel of `wide` is a thousand times the first, and weighs nothing.
        let params: Params = [
            ("a.weight", vec![2, 1, 1, 1], vec![1.0, 1000.0]),
            ("a.bias", vec![2], vec![0.0, 0.0]),
            ("b.weight", vec![1, 2, 1, 1], vec![1.0, 0.0]),
            ("b.bias", vec![1], vec![0.0]),
            ("head.weight", vec![1, 1, 1, 1], vec![1.0]),
            ("head.bias", vec![1], vec![0.0]),
        ]
        .map(|(name, shape, data)| (name.to_owned(), ParamTensor::new(shape, data)))
        .into_iter()
        .collect();
        let image = Tensor::linspace(0.0, 1.0, 64, (Kind::Float, Device::Cpu)).view([1, 1, 8, 8]);
        let net = TorchNet::from_params(&graph, &params, Device::Cpu).unwrap();
        let ranges = calibrate(&net, [image.shallow_clone()], Method::MinMax).unwrap();
        let quantized = quantize(&graph, &params, &ranges, &BTreeSet::new()).unwrap();
        let found = sensitivity(&quantized, &[image], Device::Cpu).unwrap();
        let plan = QuantPlan::new(&graph).unwrap();
        assert_eq!(found.len(), 5);
        assert_eq!(plan.name(&graph, found[0].0), "wide");
        assert!(found[0].1 > 10.0 * found[2].1, "{found:?}");
    }
}
