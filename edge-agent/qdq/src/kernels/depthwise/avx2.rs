//! AVX2: bytes of two taps are widened to 16 bits and interleaved, and `vpmaddwd` adds their products.

use std::arch::x86_64::*;

use super::Row;

/// Channels that are computed together.
const CHUNK: usize = 16;
/// Taps of an instruction.
const GROUP: usize = 2;

/// # Safety
/// The processor has AVX2, and the row fits ([`Row::fits`]).
#[target_feature(enable = "avx2")]
pub(super) unsafe fn row(row: &mut Row<'_>) {
    // SAFETY: the caller's; every tap points to a pixel of all channels.
    row.pixels(|row, x, taps| unsafe { pixel(row, x, &taps[..row.weights.taps().next_multiple_of(GROUP)]) });
}

/// # Safety
/// The row fits and has the pixel; every tap points to a pixel of all channels.
#[target_feature(enable = "avx2")]
unsafe fn pixel(row: &mut Row<'_>, x: usize, taps: &[*const u8]) {
    let weights = row.weights;
    let channels = weights.channels();
    let zero = _mm256_set1_epi16(i16::from(weights.zero));
    let least = _mm_set1_epi8(weights.clamp.0 as i8);
    let most = _mm_set1_epi8(weights.clamp.1 as i8);
    let mut packed = weights.data.as_ptr();
    for first in (0..channels).step_by(CHUNK) {
        let outputs = (channels - first).min(CHUNK);
        // SAFETY: weights, biases and scales of whole chunks are there; of a pixel, the channels that it has.
        unsafe {
            let bias = weights.bias.as_ptr().add(first);
            let mut sums = [0, 8].map(|at| _mm256_loadu_si256(bias.add(at).cast()));
            for taps in taps.as_chunks::<GROUP>().0 {
                let [a, b] = taps.map(|tap| _mm256_cvtepu8_epi16(load(tap.add(first), outputs)));
                for (sum, bytes) in
                    sums.iter_mut().zip([_mm256_unpacklo_epi16(a, b), _mm256_unpackhi_epi16(a, b)])
                {
                    let weights = _mm256_cvtepi8_epi16(_mm_loadu_si128(packed.cast()));
                    *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(bytes, weights));
                    packed = packed.add(16);
                }
            }
            let scale = weights.scale.as_ptr().add(first);
            let steps: [__m256i; 2] = std::array::from_fn(|q| {
                let scale = _mm256_loadu_ps(scale.add(8 * q));
                _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_cvtepi32_ps(sums[q]), scale))
            });
            // Packing undoes what unpacking did: the channels are in order again.
            let words = _mm256_adds_epi16(_mm256_packs_epi32(steps[0], steps[1]), zero);
            let bytes = _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256::<1>(words));
            let bytes = _mm_min_epu8(_mm_max_epu8(bytes, least), most);
            let to = &mut row.output[x * row.step + first..][..outputs];
            if outputs == CHUNK {
                _mm_storeu_si128(to.as_mut_ptr().cast(), bytes);
            } else {
                let mut all = [0; CHUNK];
                _mm_storeu_si128(all.as_mut_ptr().cast(), bytes);
                to.copy_from_slice(&all[..outputs]);
            }
        }
    }
}

/// The first bytes of 16.
///
/// # Safety
/// So many bytes are there.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn load(from: *const u8, count: usize) -> __m128i {
    if count == CHUNK {
        // SAFETY: 16 bytes are there.
        return unsafe { _mm_loadu_si128(from.cast()) };
    }
    let mut all = [0u8; CHUNK];
    // SAFETY: the caller's; fewer than 16.
    unsafe {
        std::ptr::copy_nonoverlapping(from, all.as_mut_ptr(), count);
        _mm_loadu_si128(all.as_ptr().cast())
    }
}
