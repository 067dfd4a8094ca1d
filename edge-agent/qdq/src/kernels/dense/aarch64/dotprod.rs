//! The dot product extension: `sdot` adds four products to each of four sums, with the bytes taken from a lane.
//!
//! It wants both signed, so that bytes become `byte − 128` and sums start from the bias and 128 times the weights that the
//! row's segments have. That is one pass over a block's weights for a row: as much as one pixel more.

use std::arch::aarch64::*;
use std::arch::asm;

use super::{BLOCK, Row, Sums, begin, bias, quad, store, tiles};

/// Pixels of a tile: 20 of 32 registers hold sums, 5 their bytes.
const PIXELS: usize = 5;

/// # Safety
/// The processor has the extension, and the row fits ([`Row::fits`]).
#[target_feature(enable = "neon,dotprod")]
pub(super) unsafe fn row(row: &mut Row<'_>) {
    if row.width == 0 {
        return;
    }
    for block in row.blocks.clone() {
        // SAFETY: a block of a row that fits and has a pixel.
        let start = unsafe { start(row, block) };
        for (x, pixels) in tiles(row.width, PIXELS) {
            // SAFETY: pixels and blocks of a row that fits.
            unsafe {
                match pixels {
                    1 => tile::<1>(row, x, block, start),
                    2 => tile::<2>(row, x, block, start),
                    3 => tile::<3>(row, x, block, start),
                    4 => tile::<4>(row, x, block, start),
                    _ => tile::<PIXELS>(row, x, block, start),
                }
            }
        }
    }
}

/// What sums of bytes that lack 128 start from.
///
/// # Safety
/// The row fits, and has a pixel and the block.
#[inline]
#[target_feature(enable = "neon,dotprod")]
unsafe fn start(row: &Row<'_>, block: usize) -> Sums {
    let mut lacking = [[vdupq_n_s32(0); 4]];
    // SAFETY: every weight of the block lies in its slice.
    unsafe {
        for segment in row.segments.list() {
            let (_, weights) = begin(row, segment, 0, block);
            for at in 0..segment.quads {
                add::<0, 1>(&mut lacking, &[vdupq_n_s8(-128)], weights.add(at * BLOCK * 4));
            }
        }
        let bias = bias(row, block);
        std::array::from_fn(|q| vsubq_s32(bias[q], lacking[0][q]))
    }
}

/// # Safety
/// The row fits, and has the pixels from `x` on and the block.
#[inline]
#[target_feature(enable = "neon,dotprod")]
unsafe fn tile<const WIDTH: usize>(row: &mut Row<'_>, x: usize, block: usize, start: Sums) {
    let signed = |bytes| vreinterpretq_s8_u8(veorq_u8(bytes, vdupq_n_u8(128)));
    let mut sums = [start; WIDTH];
    // SAFETY: every weight of the block, and every byte that the segments of the pixels reach, lies in its slice.
    unsafe {
        let step = row.step;
        for segment in row.segments.list() {
            let (pixels, weights) = begin(row, segment, x, block);
            let fours = segment.quads / 4 * 4;
            for at in (0..fours).step_by(4) {
                let bytes = std::array::from_fn(|i| signed(vld1q_u8(pixels.add(i * step + 4 * at))));
                let weights = weights.add(at * BLOCK * 4);
                add::<0, WIDTH>(&mut sums, &bytes, weights);
                add::<1, WIDTH>(&mut sums, &bytes, weights.add(BLOCK * 4));
                add::<2, WIDTH>(&mut sums, &bytes, weights.add(2 * BLOCK * 4));
                add::<3, WIDTH>(&mut sums, &bytes, weights.add(3 * BLOCK * 4));
            }
            for at in fours..segment.quads {
                let bytes = std::array::from_fn(|i| {
                    signed(vreinterpretq_u8_u32(quad(pixels.add(i * step + 4 * at))))
                });
                add::<0, WIDTH>(&mut sums, &bytes, weights.add(at * BLOCK * 4));
            }
        }
        for (i, sums) in sums.into_iter().enumerate() {
            store(row, x + i, block, sums);
        }
    }
}

/// Adds the products of each pixel's quad in a lane with a quad's weights.
///
/// # Safety
/// The weights of a quad of a block are there.
#[inline]
#[target_feature(enable = "neon,dotprod")]
unsafe fn add<const LANE: i32, const WIDTH: usize>(
    sums: &mut [Sums; WIDTH],
    bytes: &[int8x16_t; WIDTH],
    weights: *const i8,
) {
    for q in 0..4 {
        // SAFETY: the caller's.
        let weights = unsafe { vld1q_s8(weights.add(BLOCK * q)) };
        for (sums, bytes) in sums.iter_mut().zip(bytes) {
            sums[q] = sdot::<LANE>(sums[q], weights, *bytes);
        }
    }
}

/// `vdotq_laneq_s32`, which stable Rust does not have yet.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn sdot<const LANE: i32>(mut sum: int32x4_t, weights: int8x16_t, bytes: int8x16_t) -> int32x4_t {
    // SAFETY: an instruction that this function may use; it touches its operands only.
    unsafe {
        asm!(
            "sdot {sum:v}.4s, {weights:v}.16b, {bytes:v}.4b[{lane}]",
            sum = inout(vreg) sum,
            weights = in(vreg) weights,
            bytes = in(vreg) bytes,
            lane = const LANE,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sum
}
