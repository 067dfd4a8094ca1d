//! Products, sums and matrix products.

use super::{Data, to_byte};
use crate::graph::{Arithmetic, Binary, Convolution, Quant, Shape};

/// Of rows of bytes with the weights: as a convolution of one pixel.
pub(super) fn matrix(product: &Convolution, bytes: &[u8], from: Quant, to: Option<Quant>) -> Data {
    let rows = bytes.chunks_exact(product.inputs);
    let sums = rows.flat_map(|row| {
        product.weights.chunks_exact(product.inputs).zip(&product.bias).map(|(weights, bias)| {
            let terms = row.iter().zip(weights);
            terms.map(|(x, w)| (i32::from(*x) - i32::from(from.zero)) * i32::from(*w)).sum::<i32>() + bias
        })
    });
    scaled(product, sums.enumerate().map(|(at, sum)| (at % product.outputs, sum)), to)
}

/// Sums of products, each with the index of its output: `sum × scale` in f32, and to bytes if they are asked for.
pub(super) fn scaled(
    product: &Convolution,
    sums: impl Iterator<Item = (usize, i32)>,
    to: Option<Quant>,
) -> Data {
    let steps = sums.map(|(output, sum)| sum as f32 * product.scale[output]);
    match to {
        Some(to) => Data::Bytes(steps.map(|steps| to_byte(steps, to, product.clamp)).collect()),
        None => Data::Real(steps.collect()),
    }
}

/// Sum or product of two tensors that broadcast.
///
/// Sum: `(a − za) × (sa ÷ so) + (b − zb) × (sb ÷ so)`; product: `((a − za) × (b − zb)) × (sa × sb ÷ so)`; each operation
/// rounded to f32.
pub(super) fn binary(
    binary: &Binary,
    (a, qa): ((&Shape, &Vec<u8>), Quant),
    (b, qb): ((&Shape, &Vec<u8>), Quant),
    shape: &Shape,
    to: Quant,
) -> Vec<u8> {
    let (ra, rb, rm) = (qa.scale / to.scale, qb.scale / to.scale, qa.scale * qb.scale / to.scale);
    let count: usize = shape.iter().product();
    let one = |at: usize| {
        let a = i32::from(a.1[broadcast(at, a.0, shape)]) - i32::from(qa.zero);
        let b = i32::from(b.1[broadcast(at, b.0, shape)]) - i32::from(qb.zero);
        let steps = match binary.arithmetic {
            Arithmetic::Add => a as f32 * ra + b as f32 * rb,
            Arithmetic::Multiply => (a * b) as f32 * rm,
        };
        to_byte(steps, to, binary.clamp)
    };
    (0..count).map(one).collect()
}

/// Where in a tensor of the shape `own` the value for the index `at` of `shape` stands.
fn broadcast(mut at: usize, own: &Shape, shape: &Shape) -> usize {
    let (mut index, mut stride) = (0, 1);
    for axis in (0..shape.len()).rev() {
        let position = at % shape[axis];
        at /= shape[axis];
        let Some(own_axis) = (axis + own.len()).checked_sub(shape.len()) else { break };
        if own[own_axis] > 1 {
            index += position * stride;
        }
        stride *= own[own_axis];
    }
    index
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_broadcast() {
        let shape = vec![2, 3, 4];
        let places = |own: &[usize]| -> Vec<usize> {
            [0, 5, 23].map(|at| broadcast(at, &own.to_vec(), &shape)).to_vec()
        };
        assert_eq!(places(&[2, 3, 4]), [0, 5, 23]);
        assert_eq!(places(&[3, 1]), [0, 1, 2]);
        assert_eq!(places(&[2, 1, 4]), [0, 1, 7]);
        assert_eq!(places(&[]), [0, 0, 0]);
    }
}
