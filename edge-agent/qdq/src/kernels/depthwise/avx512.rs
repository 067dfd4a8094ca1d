//! AVX-512 VNNI: the bytes of four taps are interleaved by unpacking, and `vpdpbusd` adds four products to each channel's sum.

use std::arch::x86_64::*;

use super::Row;

/// Channels that are computed together.
const CHUNK: usize = 64;
/// Taps of an instruction.
const GROUP: usize = 4;

/// # Safety
/// The processor has AVX-512 F, BW, VL and VNNI, and the row fits ([`Row::fits`]).
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub(super) unsafe fn row(row: &mut Row<'_>) {
    // SAFETY: the caller's; every tap points to a pixel of all channels.
    row.pixels(|row, x, taps| unsafe { pixel(row, x, &taps[..row.weights.taps().next_multiple_of(GROUP)]) });
}

/// # Safety
/// The row fits and has the pixel; every tap points to a pixel of all channels.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn pixel(row: &mut Row<'_>, x: usize, taps: &[*const u8]) {
    let weights = row.weights;
    let channels = weights.channels();
    let zero = _mm512_set1_epi16(i16::from(weights.zero));
    let least = _mm512_set1_epi8(weights.clamp.0 as i8);
    let most = _mm512_set1_epi8(weights.clamp.1 as i8);
    let mut packed = weights.data.as_ptr();
    for first in (0..channels).step_by(CHUNK) {
        let mask = if channels - first >= CHUNK { !0 } else { (1 << (channels - first)) - 1 };
        // SAFETY: weights, biases and scales of whole chunks are there; of a pixel, the channels that it has.
        unsafe {
            let bias = weights.bias.as_ptr().add(first);
            let mut sums: [__m512i; 4] = [0, 16, 32, 48].map(|at| _mm512_loadu_si512(bias.add(at).cast()));
            for taps in taps.as_chunks::<GROUP>().0 {
                let [a, b, c, d] = taps.map(|tap| _mm512_maskz_loadu_epi8(mask, tap.add(first).cast()));
                let (ab_low, ab_high) = (_mm512_unpacklo_epi8(a, b), _mm512_unpackhi_epi8(a, b));
                let (cd_low, cd_high) = (_mm512_unpacklo_epi8(c, d), _mm512_unpackhi_epi8(c, d));
                let bytes = [
                    _mm512_unpacklo_epi16(ab_low, cd_low),
                    _mm512_unpackhi_epi16(ab_low, cd_low),
                    _mm512_unpacklo_epi16(ab_high, cd_high),
                    _mm512_unpackhi_epi16(ab_high, cd_high),
                ];
                for (sum, bytes) in sums.iter_mut().zip(bytes) {
                    *sum = _mm512_dpbusd_epi32(*sum, bytes, _mm512_loadu_si512(packed.cast()));
                    packed = packed.add(64);
                }
            }
            let scale = weights.scale.as_ptr().add(first);
            let mut steps = [_mm512_setzero_si512(); 4];
            for (q, (steps, sum)) in steps.iter_mut().zip(sums).enumerate() {
                let scale = _mm512_loadu_ps(scale.add(16 * q));
                *steps = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_cvtepi32_ps(sum), scale));
            }
            let low = _mm512_adds_epi16(_mm512_packs_epi32(steps[0], steps[1]), zero);
            let high = _mm512_adds_epi16(_mm512_packs_epi32(steps[2], steps[3]), zero);
            let bytes = _mm512_min_epu8(_mm512_max_epu8(_mm512_packus_epi16(low, high), least), most);
            _mm512_mask_storeu_epi8(row.output.as_mut_ptr().add(x * row.step + first).cast(), mask, bytes);
        }
    }
}
