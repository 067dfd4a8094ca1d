//! Operators that only move values.

use super::{Data, Tensor};
use crate::graph::{Shape, axis_of};

/// Parts one after the other; none if one of them is of real numbers.
pub(super) fn concat(
    axis: i64,
    tables: &[Option<Box<[u8; 256]>>],
    parts: &[&Tensor],
    shape: &Shape,
) -> Result<Option<Vec<u8>>, String> {
    let axis = axis_of(axis, shape.len())?;
    let inner: usize = shape[axis + 1..].iter().product();
    let outer: usize = shape[..axis].iter().product();
    let mut joined = Vec::with_capacity(shape.iter().product());
    for block in 0..outer {
        for (part, table) in parts.iter().zip(tables) {
            let Data::Bytes(bytes) = &part.data else { return Ok(None) };
            let size = part.shape[axis] * inner;
            let bytes = &bytes[block * size..][..size];
            joined.extend(
                bytes.iter().map(|byte| table.as_ref().map_or(*byte, |table| table[usize::from(*byte)])),
            );
        }
    }
    Ok(Some(joined))
}

pub(super) fn transpose(order: &[usize], shape: &Shape, bytes: &[u8]) -> Vec<u8> {
    let stride = |axis: usize| shape[axis + 1..].iter().product::<usize>();
    let axes: Vec<(usize, usize)> = order.iter().map(|axis| (shape[*axis], stride(*axis))).collect();
    (0..bytes.len())
        .map(|mut at| {
            let mut source = 0;
            for (size, stride) in axes.iter().rev() {
                source += at % size * stride;
                at /= size;
            }
            bytes[source]
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_move() {
        let bytes: Vec<u8> = (0..6).collect();
        assert_eq!(transpose(&[1, 0], &vec![2, 3], &bytes), [0, 3, 1, 4, 2, 5]);
        let part = |shape: &[usize], bytes: &[u8]| Tensor {
            shape: shape.to_vec(),
            data: Data::Bytes(bytes.to_vec()),
        };
        let (a, b) = (part(&[2, 1], &[1, 2]), part(&[2, 2], &[3, 4, 5, 6]));
        let double: Option<Box<[u8; 256]>> =
            Some(Box::new(std::array::from_fn(|byte| (byte as u8).wrapping_mul(2))));
        let joined = concat(-1, &[None, double], &[&a, &b], &vec![2, 3]).unwrap();
        assert_eq!(joined.unwrap(), [1, 6, 8, 2, 10, 12]);
    }
}
