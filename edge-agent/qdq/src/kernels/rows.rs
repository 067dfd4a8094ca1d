//! Loops over rows of pixels, written once in plain Rust. Their bodies are always inlined, into one function for each set
//! of instructions, so that the compiler makes vectors of them. Rust never joins a product and a sum into one rounding, so
//! all sets give the same.

use super::requant::round;
use super::versions;

/// Channels that are computed together.
const CHUNK: usize = 32;

versions! {
    /// Real numbers to bytes: `round(x / scale) + zero`, `step` bytes apart.
    pub(crate) fn quantize(to: &mut [u8], step: usize, from: &[f32], scale: f32, zero: u8) = quantize_body
}

#[inline(always)]
fn quantize_body(to: &mut [u8], step: usize, from: &[f32], scale: f32, zero: u8) {
    let byte = |x: f32| {
        let steps = x / scale;
        round(if steps.is_nan() { 0.0 } else { steps }, zero, (0, 255))
    };
    if step == 1 {
        to.iter_mut().zip(from).for_each(|(to, x)| *to = byte(*x));
    } else {
        to.iter_mut().step_by(step).zip(from).for_each(|(to, x)| *to = byte(*x));
    }
}

/// How the bytes of a sum or product come about.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Mix {
    Add(Sum),
    /// `(a − zero_a) × (b − zero_b) × ratio`
    Multiply {
        zeros: [u8; 2],
        ratio: f32,
    },
}

/// `(a − zero_a) × ratio_a + (b − zero_b) × ratio_b`
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Sum {
    pub(crate) zeros: [u8; 2],
    pub(crate) ratios: [f32; 2],
}

impl Sum {
    #[inline(always)]
    fn of(self, zero: u8, clamp: (u8, u8)) -> impl Fn(u8, u8) -> u8 {
        let ([za, zb], [ra, rb]) = (self.zeros.map(f32::from), self.ratios);
        move |a, b| round((f32::from(a) - za) * ra + (f32::from(b) - zb) * rb, zero, clamp)
    }
}

versions! {
    /// Bytes of two tensors to those of a third; an input of one byte goes with all of the other's.
    pub(crate) fn mix(to: &mut [u8], a: &[u8], b: &[u8], mix: Mix, zero: u8, clamp: (u8, u8)) = mix_body
}

versions! {
    /// Adds bytes to others, in place.
    pub(crate) fn add_into(to: &mut [u8], other: &[u8], sum: Sum, zero: u8, clamp: (u8, u8)) = add_into_body
}

#[inline(always)]
fn add_into_body(to: &mut [u8], other: &[u8], sum: Sum, zero: u8, clamp: (u8, u8)) {
    let byte = sum.of(zero, clamp);
    to.iter_mut().zip(other).for_each(|(a, b)| *a = byte(*a, *b));
}

#[inline(always)]
fn mix_body(to: &mut [u8], a: &[u8], b: &[u8], mix: Mix, zero: u8, clamp: (u8, u8)) {
    match mix {
        Mix::Add(sum) => each(to, a, b, sum.of(zero, clamp)),
        Mix::Multiply { zeros: [za, zb], ratio } => {
            let (za, zb) = (f32::from(za), f32::from(zb));
            each(to, a, b, |a, b| round((f32::from(a) - za) * (f32::from(b) - zb) * ratio, zero, clamp));
        }
    }
}

#[inline(always)]
fn each(to: &mut [u8], a: &[u8], b: &[u8], byte: impl Fn(u8, u8) -> u8) {
    match (a, b) {
        ([a], b) if b.len() != 1 => to.iter_mut().zip(b).for_each(|(to, b)| *to = byte(*a, *b)),
        (a, [b]) if a.len() != 1 => to.iter_mut().zip(a).for_each(|(to, a)| *to = byte(*a, *b)),
        _ => to.iter_mut().zip(a).zip(b).for_each(|((to, a), b)| *to = byte(*a, *b)),
    }
}

/// A row of output pixels of a pool.
#[derive(Debug)]
pub(crate) struct PoolRow<'a> {
    pub(crate) input: &'a [u8],
    /// Where the first of the input's rows begins that windows see, bytes to the next, and how many they are.
    pub(crate) first: usize,
    pub(crate) row: usize,
    pub(crate) rows: usize,
    /// Columns of the input, and bytes from one to the next.
    pub(crate) columns: usize,
    pub(crate) pixel: usize,
    pub(crate) channels: usize,
    /// Columns of a window, from one to the next, from window to window, and how far the first reaches out of the image.
    pub(crate) kernel: usize,
    pub(crate) dilation: usize,
    pub(crate) stride: usize,
    pub(crate) pad: usize,
    /// Output pixels.
    pub(crate) width: usize,
    pub(crate) output: &'a mut [u8],
    pub(crate) step: usize,
}

impl PoolRow<'_> {
    /// The first column that a window sees, and how many.
    #[inline(always)]
    fn seen(&self, x: usize) -> (usize, usize) {
        let start = x * self.stride;
        let outside = self.pad.saturating_sub(start).div_ceil(self.dilation);
        let end = (self.columns + self.pad).saturating_sub(start).div_ceil(self.dilation).min(self.kernel);
        (start + outside * self.dilation - self.pad, end.saturating_sub(outside))
    }

    /// Where the channels from `first` on of every pixel begin that a window sees.
    #[inline(always)]
    fn window(&self, (column, count): (usize, usize), first: usize) -> impl Iterator<Item = usize> + use<> {
        let start = self.first + column * self.pixel + first;
        let (row, tap) = (self.row, self.dilation * self.pixel);
        (0..if count == 0 { 0 } else { self.rows })
            .flat_map(move |at| (0..count).map(move |column| start + at * row + column * tap))
    }

    /// Folds the channels from `first` on of every pixel that a window sees. A whole chunk is a loop of known length, which
    /// becomes vectors.
    #[inline(always)]
    fn fold<T: Copy>(
        &self,
        seen: (usize, usize),
        first: usize,
        from: T,
        join: impl Fn(T, u8) -> T,
    ) -> [T; CHUNK] {
        let mut folded = [from; CHUNK];
        let channels = self.channels - first;
        for start in self.window(seen, first) {
            if channels >= CHUNK {
                let bytes: [u8; CHUNK] = std::array::from_fn(|i| self.input[start..start + CHUNK][i]);
                for i in 0..CHUNK {
                    folded[i] = join(folded[i], bytes[i]);
                }
            } else {
                for (folded, byte) in folded.iter_mut().zip(&self.input[start..][..channels]) {
                    *folded = join(*folded, *byte);
                }
            }
        }
        folded
    }
}

versions! {
    /// The greatest byte of every window; 0 where a window sees nothing.
    pub(crate) fn max_pool(row: &mut PoolRow<'_>) = max_pool_body
}

#[inline(always)]
fn max_pool_body(row: &mut PoolRow<'_>) {
    for x in 0..row.width {
        let seen = row.seen(x);
        for first in (0..row.channels).step_by(CHUNK) {
            let channels = (row.channels - first).min(CHUNK);
            let most = row.fold(seen, first, 0, u8::max);
            row.output[x * row.step + first..][..channels].copy_from_slice(&most[..channels]);
        }
    }
}

/// What a mean is made of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Mean {
    pub(crate) from_zero: u8,
    /// The scales of input and output.
    pub(crate) scales: [f32; 2],
    pub(crate) zero: u8,
}

versions! {
    /// The mean of every window, over so many rows and, for each output, so many columns.
    pub(crate) fn average_pool(row: &mut PoolRow<'_>, mean: Mean, rows: usize, columns: &[usize])
        = average_pool_body
}

#[inline(always)]
fn average_pool_body(row: &mut PoolRow<'_>, mean: Mean, rows: usize, columns: &[usize]) {
    for (x, columns) in columns.iter().enumerate() {
        let seen = row.seen(x);
        let factor = mean.scales[0] / (rows * columns) as f32 / mean.scales[1];
        let offset = i32::from(mean.from_zero) * (row.rows * seen.1) as i32;
        for first in (0..row.channels).step_by(CHUNK) {
            let channels = (row.channels - first).min(CHUNK);
            let sums = row.fold(seen, first, 0, |sum: i32, byte| sum + i32::from(byte));
            let output = &mut row.output[x * row.step + first..][..channels];
            for (byte, sum) in output.iter_mut().zip(sums) {
                *byte = round((sum - offset) as f32 * factor, mean.zero, (0, 255));
            }
        }
    }
}

/// Between two columns: `first × (1 − weight) + second × weight`.
pub(crate) use crate::graph::Tap;

#[inline(always)]
fn between(first: f32, second: f32, weight: f32) -> f32 {
    first * (1.0 - weight) + second * weight
}

versions! {
    /// Pixels of bytes, above their zero point, between columns: `[columns][channels]`.
    pub(crate) fn widen_bytes(to: &mut [f32], from: &[u8], pixel: usize, channels: usize, zero: u8, columns: &[Tap])
        = widen_bytes_body
}

#[inline(always)]
fn widen_bytes_body(to: &mut [f32], from: &[u8], pixel: usize, channels: usize, zero: u8, columns: &[Tap]) {
    let zero = f32::from(zero);
    for (to, tap) in to.chunks_exact_mut(channels).zip(columns) {
        let first = &from[tap.first * pixel..][..channels];
        let second = &from[tap.second * pixel..][..channels];
        for ((to, a), b) in to.iter_mut().zip(first).zip(second) {
            *to = between(f32::from(*a) - zero, f32::from(*b) - zero, tap.weight);
        }
    }
}

versions! {
    /// Between two rows, to bytes.
    pub(crate) fn blend_bytes(to: &mut [u8], first: &[f32], second: &[f32], weight: f32, ratio: f32, zero: u8)
        = blend_bytes_body
}

#[inline(always)]
fn blend_bytes_body(to: &mut [u8], first: &[f32], second: &[f32], weight: f32, ratio: f32, zero: u8) {
    for ((to, a), b) in to.iter_mut().zip(first).zip(second) {
        *to = round(between(*a, *b, weight) * ratio, zero, (0, 255));
    }
}

versions! {
    /// Between two rows, times a scale.
    pub(crate) fn blend_reals(to: &mut [f32], first: &[f32], second: &[f32], weight: f32, scale: f32)
        = blend_reals_body
}

#[inline(always)]
fn blend_reals_body(to: &mut [f32], first: &[f32], second: &[f32], weight: f32, scale: f32) {
    if scale == 1.0 {
        for ((to, a), b) in to.iter_mut().zip(first).zip(second) {
            *to = between(*a, *b, weight);
        }
    } else {
        for ((to, a), b) in to.iter_mut().zip(first).zip(second) {
            *to = between(*a, *b, weight) * scale;
        }
    }
}

/// Between columns of a row of numbers.
pub(crate) fn widen_reals(to: &mut [f32], columns: &[Tap], from: impl Fn(usize) -> f32) {
    for (to, tap) in to.iter_mut().zip(columns) {
        *to = between(from(tap.first), from(tap.second), tap.weight);
    }
}
