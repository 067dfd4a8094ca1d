//! Loops over rows of pixels, written once in plain Rust. Their bodies are always inlined, into one function for each set
//! of instructions, so that the compiler makes vectors of them. Rust never joins a product and a sum into one rounding, so
//! all sets give the same.

use super::requant::round;
use super::stretch::between;
use super::versions;
use crate::graph::Tap;

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

/// Columns that are quantized before they are put between each other.
const COLUMNS: usize = 64;

versions! {
    /// Planes of real numbers, `plane` numbers apart, to pixels of as many bytes.
    pub(crate) fn quantize_pixels(to: &mut [u8], channels: usize, from: &[f32], plane: usize, scale: f32, zero: u8)
        = quantize_pixels_body
}

#[inline(always)]
fn quantize_pixels_body(to: &mut [u8], channels: usize, from: &[f32], plane: usize, scale: f32, zero: u8) {
    match channels {
        1 => quantize_body(to, 1, from, scale, zero),
        2 => quantize_between::<2>(to, from, plane, scale, zero),
        3 => quantize_between::<3>(to, from, plane, scale, zero),
        4 => quantize_between::<4>(to, from, plane, scale, zero),
        _ => {
            for i in 0..channels {
                quantize_body(&mut to[i..], channels, &from[i * plane..], scale, zero);
            }
        }
    }
}

/// Plane by plane into a buffer, and from there to pixels: both are loops that become vectors.
#[inline(always)]
fn quantize_between<const CHANNELS: usize>(to: &mut [u8], from: &[f32], plane: usize, scale: f32, zero: u8) {
    let pixels = to.as_chunks_mut::<CHANNELS>().0;
    for (part, pixels) in pixels.chunks_mut(COLUMNS).enumerate() {
        let mut bytes = [[0; COLUMNS]; CHANNELS];
        for (i, bytes) in bytes.iter_mut().enumerate() {
            let from = &from[i * plane + part * COLUMNS..][..pixels.len()];
            quantize_body(bytes, 1, from, scale, zero);
        }
        for (x, pixel) in pixels.iter_mut().enumerate() {
            *pixel = std::array::from_fn(|i| bytes[i][x]);
        }
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
        // A byte is the last bits of a number of 2²³ and more: or is cheaper than a conversion, and as exact.
        const HIGH: f32 = 8_388_608.0;
        let number = |byte: u8| f32::from_bits(HIGH.to_bits() | u32::from(byte));
        let ([za, zb], [ra, rb]) = (self.zeros.map(number), self.ratios);
        move |a, b| round((number(a) - za) * ra + (number(b) - zb) * rb, zero, clamp)
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
        // A division takes longer than a pixel's channels.
        let taps = |columns: usize| match self.dilation {
            1 => columns,
            dilation => columns.div_ceil(dilation),
        };
        let start = x * self.stride;
        let outside = taps(self.pad.saturating_sub(start));
        let end = taps((self.columns + self.pad).saturating_sub(start)).min(self.kernel);
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
        let (tap, rows) = (row.dilation * row.pixel, if seen.1 == 0 { 0 } else { row.rows });
        for first in (0..row.channels).step_by(CHUNK) {
            let output = &mut row.output[x * row.step + first..];
            let start = row.first + seen.0 * row.pixel + first;
            let starts = (0..rows).map(|at| start + at * row.row);
            let bytes = |start: usize, at: usize| &row.input[start + at * tap..];
            match output.first_chunk_mut::<CHUNK>() {
                Some(output) if row.channels - first >= CHUNK => {
                    *output = [0; CHUNK];
                    for start in starts {
                        // Mostly three columns: they are joined in a register.
                        if seen.1 == 3 {
                            let joined = greater(greater(*output, bytes(start, 0)), bytes(start, 1));
                            *output = greater(joined, bytes(start, 2));
                        } else {
                            (0..seen.1).for_each(|at| *output = greater(*output, bytes(start, at)));
                        }
                    }
                }
                _ => {
                    let output = &mut output[..row.channels - first];
                    output.fill(0);
                    for start in starts {
                        for at in 0..seen.1 {
                            let bytes = bytes(start, at);
                            output.iter_mut().zip(bytes).for_each(|(most, byte)| *most = (*most).max(*byte));
                        }
                    }
                }
            }
        }
    }
}

/// The greater one of each two of the first bytes.
#[inline(always)]
fn greater(mut most: [u8; CHUNK], bytes: &[u8]) -> [u8; CHUNK] {
    let bytes = &bytes[..CHUNK];
    for i in 0..CHUNK {
        most[i] = most[i].max(bytes[i]);
    }
    most
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Isa;

    #[test]
    fn pixels_are_quantized_as_their_planes_are() {
        for isa in Isa::ALL.into_iter().filter(|isa| isa.is_here()) {
            for (channels, width) in [(1, 70), (2, 64), (3, 1), (3, 63), (3, 65), (3, 200), (4, 130), (5, 70)]
            {
                let plane = width + 3;
                let value = |at: usize| if at % 31 == 7 { f32::NAN } else { (at as f32 * 0.7).sin() * 2.0 };
                let from: Vec<f32> = (0..(channels - 1) * plane + width).map(value).collect();
                let mut pixels = vec![77; channels * width];
                quantize_pixels(isa, &mut pixels, channels, &from, plane, 0.0123, 101);
                for i in 0..channels {
                    let mut bytes = vec![77; width];
                    quantize(Isa::Scalar, &mut bytes, 1, &from[i * plane..][..width], 0.0123, 101);
                    let own = pixels.iter().skip(i).step_by(channels);
                    assert!(own.eq(&bytes), "{isa}, {i} of {channels}, {width}");
                }
            }
        }
    }
}
