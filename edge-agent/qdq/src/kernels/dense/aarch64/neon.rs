//! Base ARMv8-A: bytes and weights are widened to 16 bits, and `smlal` adds products of one byte with four outputs'
//! weights. `ld4` gathers the weights of each of a quad's bytes.

use std::arch::aarch64::*;

use super::{BLOCK, Row, Sums, begin, bias, quad, store, tiles};

/// Pixels of a tile: 16 of 32 registers hold sums.
const PIXELS: usize = 4;

/// # Safety
/// The row fits ([`Row::fits`]).
#[target_feature(enable = "neon")]
pub(super) unsafe fn row(row: &mut Row<'_>) {
    for block in row.blocks.clone() {
        for (x, pixels) in tiles(row.width, PIXELS) {
            // SAFETY: pixels and blocks of a row that fits.
            unsafe {
                match pixels {
                    1 => tile::<1>(row, x, block),
                    2 => tile::<2>(row, x, block),
                    3 => tile::<3>(row, x, block),
                    _ => tile::<PIXELS>(row, x, block),
                }
            }
        }
    }
}

/// # Safety
/// The row fits, and has the pixels from `x` on and the block.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn tile<const WIDTH: usize>(row: &mut Row<'_>, x: usize, block: usize) {
    // SAFETY: every weight of the block, and every byte that the segments of the pixels reach, lies in its slice.
    unsafe {
        let mut sums = [bias(row, block); WIDTH];
        let step = row.step;
        for segment in row.segments.list() {
            let (pixels, weights) = begin(row, segment, x, block);
            for at in 0..segment.quads {
                let weights = vld4q_s8(weights.add(at * BLOCK * 4));
                let bytes = std::array::from_fn(|i| {
                    let bytes = vreinterpretq_u8_u32(quad(pixels.add(i * step + 4 * at)));
                    vreinterpret_s16_u16(vget_low_u16(vmovl_u8(vget_low_u8(bytes))))
                });
                add::<0, WIDTH>(&mut sums, &bytes, weights.0);
                add::<1, WIDTH>(&mut sums, &bytes, weights.1);
                add::<2, WIDTH>(&mut sums, &bytes, weights.2);
                add::<3, WIDTH>(&mut sums, &bytes, weights.3);
            }
        }
        for (i, sums) in sums.into_iter().enumerate() {
            store(row, x + i, block, sums);
        }
    }
}

/// Adds the products of each pixel's byte in a lane with the 16 outputs' weights.
#[inline]
#[target_feature(enable = "neon")]
fn add<const LANE: i32, const WIDTH: usize>(
    sums: &mut [Sums; WIDTH],
    bytes: &[int16x4_t; WIDTH],
    weights: int8x16_t,
) {
    let low = vmovl_s8(vget_low_s8(weights));
    let high = vmovl_high_s8(weights);
    for (sums, bytes) in sums.iter_mut().zip(bytes) {
        sums[0] = vmlal_lane_s16::<LANE>(sums[0], vget_low_s16(low), *bytes);
        sums[1] = vmlal_high_lane_s16::<LANE>(sums[1], low, *bytes);
        sums[2] = vmlal_lane_s16::<LANE>(sums[2], vget_low_s16(high), *bytes);
        sums[3] = vmlal_high_lane_s16::<LANE>(sums[3], high, *bytes);
    }
}
