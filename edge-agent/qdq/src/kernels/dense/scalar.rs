//! The reference that every other set of instructions is compared with.

use super::{BLOCK, Output, Row};

pub(super) fn row(row: &mut Row<'_>) {
    for block in row.blocks.clone() {
        for x in 0..row.width {
            pixel(row, block, x);
        }
    }
}

/// One block of one pixel.
fn pixel(row: &mut Row<'_>, block: usize, x: usize) {
    let first = block * BLOCK;
    let mut sums: [i32; BLOCK] = std::array::from_fn(|lane| row.requant.bias[first + lane]);
    let weights = row.weights.block(block);
    for segment in row.segments.list() {
        let bytes = &row.input[row.at + x * row.step + segment.offset..][..4 * segment.quads];
        let weights = &weights[segment.weights * BLOCK * 4..][..segment.quads * BLOCK * 4];
        for (quad, weights) in bytes.as_chunks::<4>().0.iter().zip(weights.as_chunks::<{ 4 * BLOCK }>().0) {
            for (sum, weights) in sums.iter_mut().zip(weights.as_chunks::<4>().0) {
                for (byte, weight) in quad.iter().zip(weights) {
                    *sum += i32::from(*byte) * i32::from(*weight);
                }
            }
        }
    }
    let outputs = (row.weights.outputs() - first).min(BLOCK);
    match &mut row.output {
        Output::Bytes { bytes, step } => {
            for (lane, byte) in bytes[x * *step + first..][..outputs].iter_mut().enumerate() {
                *byte = row.requant.byte(first + lane, sums[lane]);
            }
        }
        Output::Sums { sums: to, step } => to[x * *step + first..][..BLOCK].copy_from_slice(&sums),
    }
}
