//! Operators that see a window of an image.

use super::{Data, arithmetic, to_byte};
use crate::graph::{Convolution, Quant, RealConvolution, Shape, Window};

/// `i32` sum over the pixels inside the image of `(x − zero) × w`, and the bias; padding counts nothing.
pub(super) fn convolution(
    c: &Convolution,
    (shape, bytes): (&Shape, &Vec<u8>),
    to_shape: &Shape,
    from: Quant,
    to: Option<Quant>,
) -> Data {
    let values: Vec<i32> = bytes.iter().map(|x| i32::from(*x) - i32::from(from.zero)).collect();
    let weights: Vec<i32> = c.weights.iter().map(|w| i32::from(*w)).collect();
    let sizes = Sizes { groups: c.groups, inputs: c.inputs, outputs: c.outputs };
    let sums = windows(&c.window, sizes, (shape, &values), to_shape, &weights, &c.bias);
    let area = to_shape[2] * to_shape[3];
    let sums = sums.into_iter().enumerate();
    arithmetic::scaled(c, sums.map(|(at, sum)| (at / area % c.outputs, sum)), to)
}

/// The same over real numbers. The order of the sums is not part of the definition.
pub(super) fn real_convolution(
    c: &RealConvolution,
    (shape, bytes): (&Shape, &Vec<u8>),
    to_shape: &Shape,
    from: Quant,
) -> Vec<f32> {
    let values: Vec<f32> = bytes.iter().map(|byte| from.dequantize(*byte)).collect();
    let sizes = Sizes { groups: c.groups, inputs: c.inputs, outputs: c.outputs };
    windows(&c.window, sizes, (shape, &values), to_shape, &c.weights, &c.bias)
}

#[derive(Clone, Copy)]
struct Sizes {
    groups: usize,
    /// Of a group.
    inputs: usize,
    outputs: usize,
}

fn windows<T: Copy + std::ops::Mul<Output = T> + std::ops::AddAssign>(
    window: &Window,
    sizes: Sizes,
    (shape, values): (&Shape, &[T]),
    to_shape: &Shape,
    weights: &[T],
    bias: &[T],
) -> Vec<T> {
    let Sizes { groups, inputs, outputs } = sizes;
    let [h, w] = [shape[2], shape[3]];
    let area = to_shape[2] * to_shape[3];
    let taps = window.kernel[0] * window.kernel[1];
    let mut sums = Vec::with_capacity(shape[0] * outputs * area);
    for image in 0..shape[0] {
        for output in 0..outputs {
            let mut plane = vec![bias[output]; area];
            let group = output / (outputs / groups);
            for input in 0..inputs {
                let channel = (image * groups + group) * inputs + input;
                let source = &values[channel * h * w..][..h * w];
                let weights = &weights[(output * inputs + input) * taps..][..taps];
                for_runs(window, [h, w], to_shape, |run| {
                    run.pixels().for_each(|(at, from)| plane[at] += source[from] * weights[run.tap]);
                });
            }
            sums.extend(plane);
        }
    }
    sums
}

/// Pixels of the output in a row, and those of the input that one tap of their windows sees.
struct Run {
    tap: usize,
    /// The first pixel of the output.
    at: usize,
    /// The pixel of the input that it sees; the next one's is `stride` further.
    from: usize,
    stride: usize,
    count: usize,
}

impl Run {
    /// Pixels of the output with those of the input.
    fn pixels(&self) -> impl Iterator<Item = (usize, usize)> {
        (self.at..self.at + self.count).zip((self.from..).step_by(self.stride))
    }
}

/// Calls for all pixels of the output and all of the input that their windows see.
fn for_runs(window: &Window, [h, w]: [usize; 2], to_shape: &Shape, mut call: impl FnMut(&Run)) {
    let begin = window.begin([h, w]);
    let inside = |side: usize, out: usize, tap: usize, size: usize| {
        let at = out * window.strides[side] + tap * window.dilations[side];
        at.checked_sub(begin[side]).filter(|at| *at < size)
    };
    let columns: Vec<(usize, Option<usize>, usize)> = (0..window.kernel[1])
        .map(|tap| {
            let seen = |column: &usize| inside(1, *column, tap, w).is_some();
            let first = (0..to_shape[3]).find(seen).unwrap_or(0);
            (first, inside(1, first, tap, w), (0..to_shape[3]).filter(seen).count())
        })
        .collect();
    for tap_row in 0..window.kernel[0] {
        for row in 0..to_shape[2] {
            let Some(from_row) = inside(0, row, tap_row, h) else { continue };
            for (tap_column, (first, from, count)) in columns.iter().enumerate() {
                let Some(from) = from else { continue };
                call(&Run {
                    tap: tap_row * window.kernel[1] + tap_column,
                    at: row * to_shape[3] + first,
                    from: from_row * w + from,
                    stride: window.strides[1],
                    count: *count,
                });
            }
        }
    }
}

/// The greatest byte inside the image.
pub(super) fn max_pool(window: &Window, (shape, bytes): (&Shape, &Vec<u8>), to_shape: &Shape) -> Vec<u8> {
    let size = [shape[2], shape[3]];
    let planes = bytes.chunks_exact(size[0] * size[1]).flat_map(|plane| {
        let mut most = vec![0; to_shape[2] * to_shape[3]];
        for_runs(window, size, to_shape, |run| {
            run.pixels().for_each(|(at, from)| most[at] = plane[from].max(most[at]));
        });
        most
    });
    planes.collect()
}

/// `sum × (s_in ÷ count ÷ s_out)` with the `i32` sum of `x − zero` over the pixels inside the image, cut and rounded to a
/// byte; the factor is computed once in f32, in this order. `count` is the number of pixels inside the image or, with
/// `count_pads`, inside the padded one.
pub(super) fn average_pool(
    window: &Window,
    count_pads: bool,
    (shape, bytes): (&Shape, &[u8]),
    to_shape: &Shape,
    from: Quant,
    to: Quant,
) -> Vec<u8> {
    let size = [shape[2], shape[3]];
    let counts: [Vec<usize>; 2] =
        [0, 1].map(|side| window.counts(side, size[side], to_shape[2 + side], count_pads));
    let planes = bytes.chunks_exact(size[0] * size[1]).flat_map(|plane| {
        let mut sums = vec![0; to_shape[2] * to_shape[3]];
        for_runs(window, size, to_shape, |run| {
            run.pixels().for_each(|(at, seen)| sums[at] += i32::from(plane[seen]) - i32::from(from.zero));
        });
        for (at, sum) in sums.iter_mut().enumerate() {
            let count = counts[0][at / to_shape[3]] * counts[1][at % to_shape[3]];
            *sum = i32::from(mean(*sum, count, from, to));
        }
        sums.into_iter().map(|byte| byte as u8)
    });
    planes.collect()
}

pub(super) fn global_average_pool((shape, bytes): (&Shape, &Vec<u8>), from: Quant, to: Quant) -> Vec<u8> {
    let area = shape[2] * shape[3];
    let planes = bytes.chunks_exact(area);
    let sum = |plane: &[u8]| plane.iter().map(|x| i32::from(*x) - i32::from(from.zero)).sum();
    planes.map(|plane| mean(sum(plane), area, from, to)).collect()
}

fn mean(sum: i32, count: usize, from: Quant, to: Quant) -> u8 {
    // A window that lies in the padding alone sums up to nothing.
    let factor = from.scale / (count.max(1) as f32) / to.scale;
    to_byte(sum as f32 * factor, to, (0, 255))
}
