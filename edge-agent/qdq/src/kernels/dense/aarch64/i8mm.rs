//! 8-bit matrix products: `usmmla` adds eight products to each of two pixels' sums of two outputs, of unsigned bytes and
//! signed weights as they are.

use std::arch::aarch64::*;
use std::arch::asm;

use super::{BLOCK, Row, Sums, begin, bias, store, tiles};

/// Pixels of a tile: 16 of 32 registers hold sums. With 24, the compiler runs out of them.
const PIXELS: usize = 4;

/// # Safety
/// The processor has the extension, and the row fits ([`Row::fits`]).
#[target_feature(enable = "neon,i8mm")]
pub(super) unsafe fn row(row: &mut Row<'_>) {
    for block in row.blocks.clone() {
        for (x, pixels) in tiles(row.width, PIXELS) {
            // SAFETY: pixels and blocks of a row that fits.
            unsafe {
                match pixels {
                    1 | 2 => tile::<1>(row, x, pixels, block),
                    _ => tile::<{ PIXELS / 2 }>(row, x, pixels, block),
                }
            }
        }
    }
}

/// Computes pairs of pixels; the last one of an odd number twice.
///
/// # Safety
/// The row fits, and has so many pixels from `x` on and the block. They are twice the pairs, or one less.
#[inline]
#[target_feature(enable = "neon,i8mm")]
unsafe fn tile<const PAIRS: usize>(row: &mut Row<'_>, x: usize, pixels: usize, block: usize) {
    let mut sums = [[vdupq_n_s32(0); 8]; PAIRS];
    let last = pixels - 1;
    let step = row.step;
    // SAFETY: every weight of the block, and every byte that the segments of the pixels reach, lies in its slice.
    unsafe {
        for segment in row.segments.list() {
            let (first, weights) = begin(row, segment, x, block);
            let pairs = segment.quads / 2 * 2;
            for at in (0..pairs).step_by(2) {
                let bytes = std::array::from_fn(|pair| {
                    let [a, b] = [2 * pair, (2 * pair + 1).min(last)].map(|i| first.add(i * step + 4 * at));
                    vcombine_u8(vld1_u8(a), vld1_u8(b))
                });
                add::<true, PAIRS>(&mut sums, &bytes, weights.add(at * BLOCK * 4));
            }
            if pairs < segment.quads {
                let bytes = std::array::from_fn(|pair| {
                    let [a, b] = [2 * pair, (2 * pair + 1).min(last)]
                        .map(|i| first.add(i * step + 4 * pairs).cast::<u32>().read_unaligned());
                    vreinterpretq_u8_u64(vcombine_u64(vcreate_u64(u64::from(a)), vcreate_u64(u64::from(b))))
                });
                add::<false, PAIRS>(&mut sums, &bytes, weights.add(pairs * BLOCK * 4));
            }
        }
        let bias = bias(row, block);
        for (pair, sums) in sums.into_iter().enumerate() {
            let wide = sums.map(|sums| vreinterpretq_s64_s32(sums));
            let add_bias = |sums: [int64x2_t; 4]| -> Sums {
                std::array::from_fn(|q| vaddq_s32(vreinterpretq_s32_s64(sums[q]), bias[q]))
            };
            let even = add_bias(std::array::from_fn(|q| vtrn1q_s64(wide[2 * q], wide[2 * q + 1])));
            store(row, x + 2 * pair, block, even);
            if 2 * pair < last {
                let odd = add_bias(std::array::from_fn(|q| vtrn2q_s64(wide[2 * q], wide[2 * q + 1])));
                store(row, x + 2 * pair + 1, block, odd);
            }
        }
    }
}

/// Adds the products of two quads of each pair of pixels; of one quad, with zeros for the other, if not `BOTH`.
///
/// # Safety
/// The weights of as many quads of a block are there.
#[inline]
#[target_feature(enable = "neon,i8mm")]
unsafe fn add<const BOTH: bool, const PAIRS: usize>(
    sums: &mut [[int32x4_t; 8]; PAIRS],
    bytes: &[uint8x16_t; PAIRS],
    weights: *const i8,
) {
    for q in 0..4 {
        // SAFETY: the caller's.
        let a = vreinterpretq_s32_s8(unsafe { vld1q_s8(weights.add(BLOCK * q)) });
        let b = match BOTH {
            // SAFETY: the caller's.
            true => vreinterpretq_s32_s8(unsafe { vld1q_s8(weights.add(BLOCK * (4 + q))) }),
            false => vdupq_n_s32(0),
        };
        // Eight bytes of an output next to each other.
        let [low, high] = [vzip1q_s32(a, b), vzip2q_s32(a, b)].map(|pair| vreinterpretq_s8_s32(pair));
        for (sums, bytes) in sums.iter_mut().zip(bytes) {
            sums[2 * q] = usmmla(sums[2 * q], *bytes, low);
            sums[2 * q + 1] = usmmla(sums[2 * q + 1], *bytes, high);
        }
    }
}

/// `vusmmlaq_s32`, which stable Rust does not have yet.
#[inline]
#[target_feature(enable = "neon,i8mm")]
fn usmmla(mut sum: int32x4_t, bytes: uint8x16_t, weights: int8x16_t) -> int32x4_t {
    // SAFETY: an instruction that this function may use; it touches its operands only.
    unsafe {
        asm!(
            "usmmla {sum:v}.4s, {bytes:v}.16b, {weights:v}.16b",
            sum = inout(vreg) sum,
            bytes = in(vreg) bytes,
            weights = in(vreg) weights,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sum
}
