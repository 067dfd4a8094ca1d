//! What the NEON kernels share: sums of 16 outputs of a pixel, in four vectors.

use std::arch::aarch64::*;

use super::BLOCK;

/// Sums of a block.
pub(super) type Sums = [int32x4_t; 4];

/// # Safety
/// 16 numbers are there.
#[inline]
#[target_feature(enable = "neon")]
pub(super) unsafe fn load(from: *const i32) -> Sums {
    // SAFETY: the caller's.
    std::array::from_fn(|q| unsafe { vld1q_s32(from.add(4 * q)) })
}

/// The bytes of sums, as [`super::Requant::byte`] makes them. `fcvtns` rounds halves to even; it and the narrowing
/// instructions saturate, so that clamping afterwards is the same.
///
/// # Safety
/// 16 scales are there.
#[inline]
#[target_feature(enable = "neon")]
pub(super) unsafe fn bytes(sums: Sums, scale: *const f32, zero: u8, clamp: (u8, u8)) -> uint8x16_t {
    let words: [int16x4_t; 4] = std::array::from_fn(|q| {
        // SAFETY: the caller's.
        let scale = unsafe { vld1q_f32(scale.add(4 * q)) };
        vqmovn_s32(vcvtnq_s32_f32(vmulq_f32(vcvtq_f32_s32(sums[q]), scale)))
    });
    let zero = vdupq_n_s16(i16::from(zero));
    let low = vqaddq_s16(vcombine_s16(words[0], words[1]), zero);
    let high = vqaddq_s16(vcombine_s16(words[2], words[3]), zero);
    let bytes = vcombine_u8(vqmovun_s16(low), vqmovun_s16(high));
    vminq_u8(vmaxq_u8(bytes, vdupq_n_u8(clamp.0)), vdupq_n_u8(clamp.1))
}

/// Writes as many of 16 bytes as there is room for.
#[inline]
#[target_feature(enable = "neon")]
pub(super) fn put(to: &mut [u8], bytes: uint8x16_t) {
    if let Some(to) = to.first_chunk_mut::<BLOCK>() {
        // SAFETY: 16 bytes.
        unsafe { vst1q_u8(to.as_mut_ptr(), bytes) };
    } else {
        let mut all = [0; BLOCK];
        // SAFETY: 16 bytes.
        unsafe { vst1q_u8(all.as_mut_ptr(), bytes) };
        to.copy_from_slice(&all[..to.len()]);
    }
}
