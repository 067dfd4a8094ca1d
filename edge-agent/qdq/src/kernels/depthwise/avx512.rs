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
    if row.taps.len() == TAPS {
        let inside = row.inside();
        for x in (0..inside.start).chain(inside.end..row.width) {
            // SAFETY: the caller's; every tap points to a pixel of all channels.
            unsafe { run(row, x, 1) };
        }
        if !inside.is_empty() {
            // SAFETY: as above, and the taps of every pixel within stay in their rows.
            unsafe { run(row, inside.start, inside.len()) };
        }
        return;
    }
    // SAFETY: the caller's; every tap points to a pixel of all channels.
    row.pixels(|row, x, taps| unsafe { pixel(row, x, &taps[..row.weights.taps().next_multiple_of(GROUP)]) });
}

/// Taps of the window that nearly all depthwise convolutions have, 3 × 3: its weights stay in registers. A group of them is
/// a column ([`super::pack`]).
const TAPS: usize = 9;
const COLUMNS: usize = 3;

/// # Safety
/// The row fits and has the pixels, whose windows of 9 taps are one step apart in the input.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn run(row: &mut Row<'_>, x: usize, count: usize) {
    let weights = row.weights;
    let channels = weights.channels();
    let taps = row.pointers(x);
    let advance = row.stride * row.pixel;
    // Whether a pixel's second and third column are the first and second of the next pixel.
    let shared = [0, 1, 3, 4, 6, 7].into_iter().all(|tap| taps[tap].wrapping_add(advance) == taps[tap + 1]);
    for (chunk, first) in (0..channels).step_by(CHUNK).enumerate() {
        let mask = mask(channels - first);
        // SAFETY: weights, biases and scales of whole chunks are there; of a pixel, the channels that it has.
        unsafe {
            let packed = weights.data.as_ptr().add(chunk * COLUMNS * 256);
            let packed: [[__m512i; 4]; COLUMNS] = std::array::from_fn(|group| {
                std::array::from_fn(|q| _mm512_loadu_si512(packed.add(256 * group + 64 * q).cast()))
            });
            let column = |i: usize, column: usize| {
                let load =
                    |tap: usize| _mm512_maskz_loadu_epi8(mask, taps[tap].add(i * advance + first).cast());
                let none = _mm512_setzero_si512();
                interleave([load(column), load(column + 3), load(column + 6), none])
            };
            let pixel = |row: &mut Row<'_>, i: usize, columns: [[__m512i; 4]; COLUMNS]| {
                let mut sums = bias(row, first);
                for (bytes, packed) in columns.iter().zip(&packed) {
                    for q in 0..4 {
                        sums[q] = _mm512_dpbusd_epi32(sums[q], bytes[q], packed[q]);
                    }
                }
                store(row, x + i, first, mask, sums);
            };
            if shared {
                let (mut a, mut b) = (column(0, 0), column(0, 1));
                for i in 0..count {
                    let c = column(i, 2);
                    pixel(row, i, [a, b, c]);
                    (a, b) = (b, c);
                }
            } else {
                (0..count).for_each(|i| pixel(row, i, [column(i, 0), column(i, 1), column(i, 2)]));
            }
        }
    }
}

/// The channels of a chunk that there are.
fn mask(channels: usize) -> u64 {
    if channels >= CHUNK { !0 } else { (1 << channels) - 1 }
}

/// # Safety
/// The row fits and has the chunk.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn bias(row: &Row<'_>, first: usize) -> [__m512i; 4] {
    // SAFETY: biases of whole chunks are there.
    unsafe {
        let bias = row.weights.bias.as_ptr().add(first);
        [0, 16, 32, 48].map(|at| _mm512_loadu_si512(bias.add(at).cast()))
    }
}

/// The bytes of four taps next to each other for every channel.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn interleave([a, b, c, d]: [__m512i; 4]) -> [__m512i; 4] {
    let (ab_low, ab_high) = (_mm512_unpacklo_epi8(a, b), _mm512_unpackhi_epi8(a, b));
    let (cd_low, cd_high) = (_mm512_unpacklo_epi8(c, d), _mm512_unpackhi_epi8(c, d));
    [
        _mm512_unpacklo_epi16(ab_low, cd_low),
        _mm512_unpackhi_epi16(ab_low, cd_low),
        _mm512_unpacklo_epi16(ab_high, cd_high),
        _mm512_unpackhi_epi16(ab_high, cd_high),
    ]
}

/// # Safety
/// The row fits and has the pixel and the chunk.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn store(row: &mut Row<'_>, x: usize, first: usize, mask: u64, sums: [__m512i; 4]) {
    let weights = row.weights;
    let zero = _mm512_set1_epi16(i16::from(weights.zero));
    let least = _mm512_set1_epi8(weights.clamp.0 as i8);
    let most = _mm512_set1_epi8(weights.clamp.1 as i8);
    // SAFETY: scales of whole chunks are there; of the pixel, the channels that it has.
    unsafe {
        let scale = weights.scale.as_ptr().add(first);
        let mut steps = [_mm512_setzero_si512(); 4];
        for (q, (steps, sum)) in steps.iter_mut().zip(sums).enumerate() {
            let scale = _mm512_loadu_ps(scale.add(16 * q));
            *steps = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_cvtepi32_ps(sum), scale));
        }
        let (low, high) = (_mm512_packs_epi32(steps[0], steps[1]), _mm512_packs_epi32(steps[2], steps[3]));
        // Packing saturates, which is all the clamping that layers behind a Relu need.
        let bytes = if weights.zero == 0 && weights.clamp == (0, 255) {
            _mm512_packus_epi16(low, high)
        } else {
            let bytes = _mm512_packus_epi16(_mm512_adds_epi16(low, zero), _mm512_adds_epi16(high, zero));
            _mm512_min_epu8(_mm512_max_epu8(bytes, least), most)
        };
        _mm512_mask_storeu_epi8(row.output.as_mut_ptr().add(x * row.step + first).cast(), mask, bytes);
    }
}

/// # Safety
/// The row fits and has the pixel; every tap points to a pixel of all channels.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn pixel(row: &mut Row<'_>, x: usize, taps: &[*const u8]) {
    let weights = row.weights;
    let channels = weights.channels();
    let mut packed = weights.data.as_ptr();
    for first in (0..channels).step_by(CHUNK) {
        let mask = mask(channels - first);
        // SAFETY: weights of whole chunks are there; of a pixel, the channels that it has.
        unsafe {
            let mut sums = bias(row, first);
            for taps in taps.as_chunks::<GROUP>().0 {
                let bytes = interleave(taps.map(|tap| _mm512_maskz_loadu_epi8(mask, tap.add(first).cast())));
                for (sum, bytes) in sums.iter_mut().zip(bytes) {
                    *sum = _mm512_dpbusd_epi32(*sum, bytes, _mm512_loadu_si512(packed.cast()));
                    packed = packed.add(64);
                }
            }
            store(row, x, first, mask, sums);
        }
    }
}
