//! AVX2: bytes and weights are widened to 16 bits and multiplied in pairs by `vpmaddwd`, since `vpmaddubsw` saturates. A
//! vector holds two partial sums for each of four outputs, joined at the end.

use std::arch::x86_64::*;

use super::{BLOCK, Output, Row, tiles};

/// Pixels of a tile: with two vectors of outputs, 12 of 16 registers hold sums.
const PIXELS: usize = 6;
/// Outputs of a tile.
const OUTPUTS: usize = 8;

/// # Safety
/// The processor has AVX2, and the row fits ([`Row::fits`]).
#[target_feature(enable = "avx2")]
pub(super) unsafe fn row(row: &mut Row<'_>) {
    for (x, pixels) in tiles(row.width, PIXELS) {
        for block in row.blocks.clone() {
            for half in 0..BLOCK / OUTPUTS {
                macro_rules! tiles {
                    ($($pixels:literal)*) => {
                        // SAFETY: pixels, segments and blocks of a row that fits.
                        unsafe { match pixels { $($pixels => tile::<$pixels>(row, x, block, half),)* _ => unreachable!("a tile has 1 to 6 pixels") } }
                    };
                }
                tiles!(1 2 3 4 5 6);
            }
        }
    }
}

/// # Safety
/// The row fits, and has the pixels from `x` on and the block.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn tile<const WIDTH: usize>(row: &mut Row<'_>, x: usize, block: usize, half: usize) {
    let first = block * BLOCK + half * OUTPUTS;
    let step = row.step;
    let step3 = 3 * step;
    let mut sums = [[_mm256_setzero_si256(); 2]; WIDTH];
    // SAFETY: every weight of the block, and every byte that the segments of the pixels reach, lies in its slice.
    unsafe {
        let weights = row.weights.block(block).as_ptr().add(half * OUTPUTS * 4);
        // Without segments it may lie anywhere, and is not read.
        let window = row.input.as_ptr().wrapping_add(row.at + x * step);
        for segment in row.segments.list() {
            let mut weights = weights.add(segment.weights * BLOCK * 4);
            let mut pixels0 = window.add(segment.offset);
            let mut pixels4 = pixels0.wrapping_add(4 * step);
            let end = pixels0.add(4 * segment.quads);
            while pixels0 < end {
                let low = _mm256_cvtepi8_epi16(_mm_loadu_si128(weights.cast()));
                let high = _mm256_cvtepi8_epi16(_mm_loadu_si128(weights.add(BLOCK).cast()));
                for (i, sums) in sums.iter_mut().enumerate() {
                    let from = if i < 4 { pixels0 } else { pixels4 };
                    let at = match i % 4 {
                        0 => from,
                        1 => from.add(step),
                        2 => from.add(2 * step),
                        _ => from.add(step3),
                    };
                    let quad = _mm_set1_epi32(at.cast::<i32>().read_unaligned());
                    let bytes = _mm256_cvtepu8_epi16(quad);
                    sums[0] = _mm256_add_epi32(sums[0], _mm256_madd_epi16(bytes, low));
                    sums[1] = _mm256_add_epi32(sums[1], _mm256_madd_epi16(bytes, high));
                }
                weights = weights.add(BLOCK * 4);
                pixels0 = pixels0.add(4);
                pixels4 = pixels4.wrapping_add(4);
            }
        }
        let bias = _mm256_loadu_si256(row.requant.bias.as_ptr().add(first).cast());
        for (i, [low, high]) in sums.iter().enumerate() {
            // hadd joins pairs within halves: outputs 0 1 4 5 | 2 3 6 7.
            let joined = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_hadd_epi32(*low, *high));
            store(row, x + i, first, _mm256_add_epi32(joined, bias));
        }
    }
}

/// # Safety
/// The row fits and has the pixel and the outputs.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn store(row: &mut Row<'_>, x: usize, first: usize, sums: __m256i) {
    match &mut row.output {
        // SAFETY: whole blocks of the pixels fit.
        Output::Sums { sums: to, step } => unsafe {
            _mm256_storeu_si256(to.as_mut_ptr().add(x * *step + first).cast(), sums);
        },
        Output::Bytes { bytes, step } => {
            let requant = row.requant;
            // SAFETY: the scales of whole blocks are there.
            let scale = unsafe { _mm256_loadu_ps(requant.scale.as_ptr().add(first)) };
            let steps = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_cvtepi32_ps(sums), scale));
            let words = _mm_packs_epi32(_mm256_castsi256_si128(steps), _mm256_extracti128_si256::<1>(steps));
            let words = _mm_adds_epi16(words, _mm_set1_epi16(i16::from(requant.zero)));
            let packed = _mm_packus_epi16(words, words);
            let least = _mm_set1_epi8(requant.clamp.0 as i8);
            let most = _mm_set1_epi8(requant.clamp.1 as i8);
            let packed = _mm_min_epu8(_mm_max_epu8(packed, least), most);
            let outputs = row.weights.outputs().saturating_sub(first).min(OUTPUTS);
            let to = &mut bytes[x * *step..];
            if outputs == OUTPUTS {
                // SAFETY: the outputs of every pixel fit.
                unsafe { _mm_storel_epi64(to.as_mut_ptr().add(first).cast(), packed) };
            } else if outputs > 0 {
                let mut all = [0; 16];
                // SAFETY: 16 bytes.
                unsafe { _mm_storeu_si128(all.as_mut_ptr().cast(), packed) };
                to[first..first + outputs].copy_from_slice(&all[..outputs]);
            }
        }
    }
}
