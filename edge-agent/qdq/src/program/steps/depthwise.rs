//! Depthwise convolutions.

use std::ops::Range;

use super::{Build, Frame, Step};
use crate::Isa;
use crate::graph::{Convolution, Window};
use crate::kernels::Requant;
use crate::kernels::depthwise::{self, MOST_TAPS, Row, Tap, Weights};
use crate::program::place::Image;

#[derive(Debug)]
struct Depthwise {
    isa: Isa,
    from: Image,
    to: Image,
    window: Window,
    /// Rows and columns of the first window that are above and left of the image.
    begin: [usize; 2],
    /// Taps of the window that see the image anywhere; others add nothing.
    taps: Vec<usize>,
    weights: Weights,
    /// A row of zero points.
    blank: Vec<u8>,
}

pub(super) fn build(build: &Build<'_>, convolution: &Convolution) -> Result<Box<dyn Step>, String> {
    let (from, to) = (build.input()?.image()?.clone(), build.output.image()?.clone());
    let quant = build.from()?;
    let Convolution { window, weights, .. } = convolution;
    let begin = window.begin([from.grid.h, from.grid.w]);
    let size = window.kernel[0] * window.kernel[1];
    // Taps that see the image anywhere.
    let sees = |side: usize, tap: usize, input: usize, outputs: usize| {
        let at = |output: usize| {
            (output * window.strides[side] + tap * window.dilations[side]).checked_sub(begin[side])
        };
        (0..outputs).any(|output| at(output).is_some_and(|at| at < input))
    };
    let taps: Vec<usize> = (0..size)
        .filter(|tap| {
            sees(0, tap / window.kernel[1], from.grid.h, to.grid.h)
                && sees(1, tap % window.kernel[1], from.grid.w, to.grid.w)
        })
        .collect();
    let weight = |channel: usize, tap: usize| weights[channel * size + taps[tap]];
    let bias = (0..convolution.outputs).map(|channel| {
        let sum: i32 = (0..taps.len()).map(|tap| i32::from(weight(channel, tap))).sum();
        convolution.bias[channel].wrapping_sub(i32::from(quant.zero) * sum)
    });
    let requant = Requant {
        bias: bias.collect(),
        scale: convolution.scale.clone(),
        zero: build.to()?.zero,
        clamp: convolution.clamp,
    };
    let isa = super::dense::isa(build.isa, convolution);
    Ok(Box::new(Depthwise {
        isa,
        window: *window,
        begin,
        weights: Weights::pack(isa, convolution.outputs, taps.len(), &requant, weight),
        blank: vec![quant.zero; from.grid.w * from.pixel],
        taps,
        from,
        to,
    }))
}

impl Step for Depthwise {
    fn lines(&self) -> usize {
        self.to.grid.rows()
    }

    fn work(&self) -> usize {
        // What follows a sum takes as long as some taps.
        self.to.shape.iter().product::<usize>() * (self.weights.taps() + 6) / 16
    }

    fn run(&self, frame: &Frame<'_>, lines: Range<usize>, _: usize) {
        let Window { kernel, strides, dilations, .. } = self.window;
        let (from, to) = (self.from.grid, self.to.grid);
        // SAFETY: a step does not write what it reads.
        let input = unsafe { frame.bytes(&self.from) };
        for line in lines {
            let (n, y) = (line / to.h, line % to.h);
            let mut taps = [Tap { row: None, column: 0 }; MOST_TAPS];
            for (tap, at) in taps.iter_mut().zip(&self.taps) {
                let row = (y * strides[0] + at / kernel[1] * dilations[0]).checked_sub(self.begin[0]);
                let row = row.filter(|row| *row < from.h);
                tap.row = row.map(|row| self.from.row_start(n, row) - self.from.span.start);
                tap.column = (at % kernel[1] * dilations[1]) as isize - self.begin[1] as isize;
            }
            // SAFETY: the lines are this band's.
            unsafe {
                let mut row = Row {
                    input,
                    blank: &self.blank,
                    columns: from.w,
                    pixel: self.from.pixel,
                    stride: strides[1],
                    taps: &taps[..self.taps.len()],
                    weights: &self.weights,
                    width: to.w,
                    output: frame.row_mut(&self.to, n, y),
                    step: self.to.pixel,
                };
                depthwise::row(self.isa, &mut row);
                frame.fill_margins(&self.to, n, y);
            }
        }
    }
}
