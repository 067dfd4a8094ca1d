//! AVX-512 VNNI: `vpdpbusd` adds four products to each of 16 sums. Tiles of up to 12 pixels by two blocks keep 24 vectors
//! of sums in registers, so that a byte is read once for 32 outputs and a weight once for 12 pixels.

use std::arch::x86_64::*;

use super::{BLOCK, Output, Requant, Row, tiles};

/// Pixels of a tile.
const PIXELS: usize = 12;

/// # Safety
/// The processor has AVX-512 F, BW, VL and VNNI, and the row fits ([`Row::fits`]).
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub(super) unsafe fn row(row: &mut Row<'_>) {
    for (x, pixels) in tiles(row.width, PIXELS) {
        let mut block = row.blocks.start;
        while block < row.blocks.end {
            let blocks = (row.blocks.end - block).min(2);
            // SAFETY: pixels, segments and blocks of a row that fits.
            unsafe {
                match blocks {
                    1 => tile_of::<1>(row, x, pixels, block),
                    _ => tile_of::<2>(row, x, pixels, block),
                }
            }
            block += blocks;
        }
    }
}

/// # Safety
/// As [`tile`].
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn tile_of<const BLOCKS: usize>(row: &mut Row<'_>, x: usize, pixels: usize, block: usize) {
    macro_rules! tiles {
        ($($pixels:literal)*) => {
            // SAFETY: the caller's.
            unsafe { match pixels { $($pixels => tile::<$pixels, BLOCKS>(row, x, block),)* _ => unreachable!("a tile has 1 to 12 pixels") } }
        };
    }
    tiles!(1 2 3 4 5 6 7 8 9 10 11 12);
}

/// # Safety
/// The row fits, and has the pixels from `x` on and the blocks from `block` on.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn tile<const WIDTH: usize, const BLOCKS: usize>(row: &mut Row<'_>, x: usize, block: usize) {
    let stride = row.weights.block_bytes();
    let weights = row.weights.block(block).as_ptr();
    let step = row.step;
    let step3 = 3 * step;
    let mut sums = [[_mm512_setzero_si512(); WIDTH]; BLOCKS];
    // SAFETY: every bias and weight of the blocks, and every byte that the segments of the pixels reach, lies in its slice:
    // the row fits.
    unsafe {
        for (n, sums) in sums.iter_mut().enumerate() {
            let bias = _mm512_loadu_si512(row.requant.bias.as_ptr().add((block + n) * BLOCK).cast());
            *sums = [bias; WIDTH];
        }
        // Without segments it may lie anywhere, and is not read.
        let window = row.input.as_ptr().wrapping_add(row.at + x * step);
        for segment in row.segments.list() {
            let mut weights = weights.add(segment.weights * BLOCK * 4);
            // Three pointers and multiples of a step address 12 pixels; a pointer for each would not stay in registers.
            let mut pixels0 = window.add(segment.offset);
            let mut pixels4 = pixels0.wrapping_add(4 * step);
            let mut pixels8 = pixels0.wrapping_add(8 * step);
            let end = pixels0.add(4 * segment.quads);
            while pixels0 < end {
                let mut quads = [_mm512_setzero_si512(); BLOCKS];
                for (n, quad) in quads.iter_mut().enumerate() {
                    *quad = _mm512_loadu_si512(weights.add(n * stride).cast());
                }
                // Not over the sums of one block: both blocks take the pixel's bytes.
                #[allow(clippy::needless_range_loop)]
                for i in 0..WIDTH {
                    let from = match i / 4 {
                        0 => pixels0,
                        1 => pixels4,
                        _ => pixels8,
                    };
                    let at = match i % 4 {
                        0 => from,
                        1 => from.add(step),
                        2 => from.add(2 * step),
                        _ => from.add(step3),
                    };
                    let bytes = _mm512_set1_epi32(at.cast::<i32>().read_unaligned());
                    for n in 0..BLOCKS {
                        sums[n][i] = _mm512_dpbusd_epi32(sums[n][i], bytes, quads[n]);
                    }
                }
                weights = weights.add(BLOCK * 4);
                pixels0 = pixels0.add(4);
                pixels4 = pixels4.wrapping_add(4);
                pixels8 = pixels8.wrapping_add(4);
            }
        }
        // A copy: sums whose address is taken would not stay in registers above.
        store(row, x, block, sums);
    }
}

/// # Safety
/// As [`tile`].
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn store<const WIDTH: usize, const BLOCKS: usize>(
    row: &mut Row<'_>,
    x: usize,
    block: usize,
    sums: [[__m512i; WIDTH]; BLOCKS],
) {
    let first = block * BLOCK;
    match &mut row.output {
        Output::Sums { sums: to, step } => {
            for (n, sums) in sums.iter().enumerate() {
                for (i, sums) in sums.iter().enumerate() {
                    let at = (x + i) * *step + first + n * BLOCK;
                    // SAFETY: whole blocks of the pixels fit.
                    unsafe { _mm512_storeu_si512(to.as_mut_ptr().add(at).cast(), *sums) };
                }
            }
        }
        Output::Bytes { bytes, step } => {
            // What is beyond the last output is masked.
            let outputs = (row.weights.outputs() - first).min(BLOCKS * BLOCK);
            let mask = if outputs == 32 { !0 } else { (1 << outputs) - 1 };
            // Four vectors become one: two pixels of two blocks, or four pixels of one.
            for i in (0..WIDTH).step_by(4 / BLOCKS) {
                let packed = pack(row.requant, first, &sums, i);
                for j in 0..(4 / BLOCKS).min(WIDTH - i) {
                    // SAFETY: the outputs of every pixel fit.
                    unsafe {
                        let to: *mut i8 = bytes.as_mut_ptr().add((x + i + j) * *step + first).cast();
                        if BLOCKS == 1 {
                            let pixel = match j {
                                0 => _mm512_castsi512_si128(packed),
                                1 => _mm512_extracti32x4_epi32::<1>(packed),
                                2 => _mm512_extracti32x4_epi32::<2>(packed),
                                _ => _mm512_extracti32x4_epi32::<3>(packed),
                            };
                            _mm_mask_storeu_epi8(to, mask as u16, pixel);
                        } else {
                            let pixel = match j {
                                0 => _mm512_castsi512_si256(packed),
                                _ => _mm512_extracti64x4_epi64::<1>(packed),
                            };
                            if mask == !0 {
                                _mm256_storeu_si256(to.cast(), pixel);
                            } else {
                                _mm256_mask_storeu_epi8(to, mask, pixel);
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The bytes of the pixels from `i` on, pixel after pixel.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn pack<const WIDTH: usize, const BLOCKS: usize>(
    requant: &Requant,
    first: usize,
    sums: &[[__m512i; WIDTH]; BLOCKS],
    i: usize,
) -> __m512i {
    let steps = |at: usize| {
        let (n, j) = (at % BLOCKS, at / BLOCKS);
        // SAFETY: the scales of whole blocks are there.
        let scale = unsafe { _mm512_loadu_ps(requant.scale.as_ptr().add(first + n * BLOCK)) };
        _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_cvtepi32_ps(sums[n][(i + j).min(WIDTH - 1)]), scale))
    };
    let (low, high) = (_mm512_packs_epi32(steps(0), steps(1)), _mm512_packs_epi32(steps(2), steps(3)));
    // Packing saturates, which is all the clamping that most layers need; those behind a Relu have no zero point either.
    let packed = if requant.zero == 0 && requant.clamp == (0, 255) {
        _mm512_packus_epi16(low, high)
    } else {
        let zero = _mm512_set1_epi16(i16::from(requant.zero));
        let packed = _mm512_packus_epi16(_mm512_adds_epi16(low, zero), _mm512_adds_epi16(high, zero));
        let least = _mm512_set1_epi8(requant.clamp.0 as i8);
        let most = _mm512_set1_epi8(requant.clamp.1 as i8);
        _mm512_min_epu8(_mm512_max_epu8(packed, least), most)
    };
    _mm512_permutexvar_epi32(_mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15), packed)
}
