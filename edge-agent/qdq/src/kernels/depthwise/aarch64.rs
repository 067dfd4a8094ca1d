//! Any aarch64: bytes and weights of 16 channels are widened to 16 bits, and `smlal` adds their products to four vectors of
//! sums. A dot product would need bytes of four taps interleaved, which costs what it saves.

use std::arch::aarch64::*;

use super::Row;
use crate::kernels::BLOCK;
use crate::kernels::aarch64::{bytes, load, put};

/// # Safety
/// The row fits ([`Row::fits`]).
#[target_feature(enable = "neon")]
pub(super) unsafe fn row(row: &mut Row<'_>) {
    // SAFETY: the caller's; every tap points to a pixel of all channels.
    row.pixels(|row, x, taps| unsafe { pixel(row, x, &taps[..row.weights.taps()]) });
}

/// # Safety
/// The row fits and has the pixel; every tap points to a pixel of all channels.
#[target_feature(enable = "neon")]
unsafe fn pixel(row: &mut Row<'_>, x: usize, taps: &[*const u8]) {
    let weights = row.weights;
    let channels = weights.channels();
    let mut packed = weights.data.as_ptr();
    for first in (0..channels).step_by(BLOCK) {
        let outputs = (channels - first).min(BLOCK);
        // SAFETY: weights, biases and scales of whole blocks are there; of a pixel, the channels that it has.
        unsafe {
            let mut sums = load(weights.bias.as_ptr().add(first));
            for tap in taps {
                let bytes = some(tap.add(first), outputs);
                let [low, high] = [vmovl_u8(vget_low_u8(bytes)), vmovl_high_u8(bytes)]
                    .map(|words| vreinterpretq_s16_u16(words));
                let weights = vld1q_s8(packed);
                let (w_low, w_high) = (vmovl_s8(vget_low_s8(weights)), vmovl_high_s8(weights));
                sums[0] = vmlal_s16(sums[0], vget_low_s16(low), vget_low_s16(w_low));
                sums[1] = vmlal_high_s16(sums[1], low, w_low);
                sums[2] = vmlal_s16(sums[2], vget_low_s16(high), vget_low_s16(w_high));
                sums[3] = vmlal_high_s16(sums[3], high, w_high);
                packed = packed.add(BLOCK);
            }
            let bytes = bytes(sums, weights.scale.as_ptr().add(first), weights.zero, weights.clamp);
            put(&mut row.output[x * row.step + first..][..outputs], bytes);
        }
    }
}

/// The first bytes of 16.
///
/// # Safety
/// So many bytes are there.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn some(from: *const u8, count: usize) -> uint8x16_t {
    let mut all = [0; BLOCK];
    // SAFETY: the caller's, and 16 bytes.
    unsafe {
        if count == BLOCK {
            return vld1q_u8(from);
        }
        std::ptr::copy_nonoverlapping(from, all.as_mut_ptr(), count);
        vld1q_u8(all.as_ptr())
    }
}
