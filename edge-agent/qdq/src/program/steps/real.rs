//! Convolutions of bytes with weights that are real numbers: heads that were left unquantized.

use std::ops::Range;

use super::{Build, Frame, SCRATCH_BANDS, Step, band_bytes};
use crate::Isa;
use crate::graph::{Quant, RealConvolution, Window};
use crate::kernels::rows::{self, LANES};
use crate::program::place::{Grid, Image, Reals};

#[derive(Debug)]
struct Real {
    isa: Isa,
    from: Image,
    to: Reals,
    quant: Quant,
    window: Window,
    begin: [usize; 2],
    groups: usize,
    /// Inputs of a group.
    inputs: usize,
    /// `[outputs][taps][inputs filled up to whole lanes]`.
    weights: Vec<f32>,
    bias: Vec<f32>,
    scratch: usize,
    scratch_bytes: usize,
}

pub(super) fn build(build: &Build<'_>, convolution: &RealConvolution) -> Result<Box<dyn Step>, String> {
    let (from, to) = (build.input()?.image()?.clone(), build.output.reals()?.clone());
    let RealConvolution { window, groups, outputs, inputs, .. } = convolution;
    let taps = window.kernel[0] * window.kernel[1];
    let filled = inputs.next_multiple_of(LANES);
    let mut weights = vec![0.0; outputs * taps * filled];
    for (at, to) in weights.iter_mut().enumerate() {
        let (output, tap, input) = (at / filled / taps, at / filled % taps, at % filled);
        if input < *inputs {
            *to = convolution.weights[(output * inputs + input) * taps + tap];
        }
    }
    Ok(Box::new(Real {
        isa: build.isa,
        quant: build.from()?,
        window: *window,
        begin: window.begin([from.grid.h, from.grid.w]),
        groups: *groups,
        inputs: *inputs,
        weights,
        bias: convolution.bias.clone(),
        scratch: build.scratch,
        scratch_bytes: band_bytes(scratch_bytes(convolution)),
        from,
        to,
    }))
}

/// A window's numbers, and the outputs of a pixel.
pub(super) fn scratch_bytes(convolution: &RealConvolution) -> usize {
    let taps = convolution.window.kernel[0] * convolution.window.kernel[1];
    4 * (taps * convolution.inputs.next_multiple_of(LANES) + convolution.outputs)
}

impl Real {
    /// The numbers of a group that the window of an output sees; 0 outside of the image.
    fn fill(&self, numbers: &mut [f32], input: &[u8], group: usize, [n, y, x]: [usize; 3]) {
        let Window { kernel, strides, dilations, .. } = self.window;
        let Grid { h, w, .. } = self.from.grid;
        let filled = self.inputs.next_multiple_of(LANES);
        for (tap, numbers) in numbers.chunks_exact_mut(filled).enumerate() {
            let place = |side: usize, output: usize, tap: usize| {
                (output * strides[side] + tap * dilations[side]).checked_sub(self.begin[side])
            };
            let row = place(0, y, tap / kernel[1]).filter(|row| *row < h);
            let column = place(1, x, tap % kernel[1]).filter(|column| *column < w);
            let numbers = &mut numbers[..self.inputs];
            match (row, column) {
                (Some(row), Some(column)) => {
                    let start = self.from.row_start(n, row) - self.from.span.start + column * self.from.pixel;
                    let bytes = &input[start + group * self.inputs..][..self.inputs];
                    rows::dequantize(self.isa, numbers, bytes, self.quant.scale, self.quant.zero);
                }
                _ => numbers.fill(0.0),
            }
        }
    }
}

impl Step for Real {
    fn lines(&self) -> usize {
        let grid = Grid::of(&self.to.shape);
        grid.rows()
    }

    fn work(&self) -> usize {
        let grid = Grid::of(&self.to.shape);
        grid.rows() * grid.w * self.weights.len() / self.groups / 4
    }

    fn most_bands(&self) -> usize {
        SCRATCH_BANDS
    }

    fn run(&self, frame: &Frame<'_>, lines: Range<usize>, band: usize) {
        let grid = Grid::of(&self.to.shape);
        let outputs = self.bias.len() / self.groups;
        let size = self.weights.len() / self.bias.len().max(1);
        let [image, row, column, channel] = self.to.steps();
        let own = self.scratch + band * self.scratch_bytes;
        // SAFETY: a step does not write what it reads, and the memory is this band's.
        let (input, own) =
            unsafe { (frame.bytes(&self.from), frame.numbers_mut::<f32>(own, size + outputs)) };
        let (numbers, results) = own.split_at_mut(size);
        numbers.fill(0.0);
        for line in lines {
            let (n, y) = (line / grid.h, line % grid.h);
            for x in 0..grid.w {
                for group in 0..self.groups {
                    self.fill(numbers, input, group, [n, y, x]);
                    let range = group * outputs..(group + 1) * outputs;
                    let weights = &self.weights[range.start * size..range.end * size];
                    rows::products(self.isa, results, numbers, weights, &self.bias[range.clone()]);
                    for (output, value) in range.zip(&*results) {
                        let at = n * image + y * row + x * column + output * channel;
                        // SAFETY: the lines are this band's.
                        unsafe { frame.reals_mut(&self.to, at..at + 1)[0] = *value };
                    }
                }
            }
        }
    }
}
