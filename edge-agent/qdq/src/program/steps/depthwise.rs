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
    weights: Weights,
    /// A pixel of zero points.
    blank: Vec<u8>,
}

pub(super) fn build(build: &Build<'_>, convolution: &Convolution) -> Result<Box<dyn Step>, String> {
    let (from, to) = (build.input()?.image()?.clone(), build.output.image()?.clone());
    let quant = build.from()?;
    let taps = convolution.window.kernel[0] * convolution.window.kernel[1];
    let of = |channel: usize| &convolution.weights[channel * taps..][..taps];
    let bias = (0..convolution.outputs).map(|channel| {
        let sum: i32 = of(channel).iter().map(|weight| i32::from(*weight)).sum();
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
        window: convolution.window,
        begin: convolution.window.begin([from.grid.h, from.grid.w]),
        weights: Weights::pack(isa, convolution.outputs, taps, &requant, |channel, tap| of(channel)[tap]),
        blank: vec![quant.zero; convolution.outputs],
        from,
        to,
    }))
}

impl Step for Depthwise {
    fn lines(&self) -> usize {
        self.to.grid.rows()
    }

    fn work(&self) -> usize {
        self.to.shape.iter().product::<usize>() * self.weights.taps() / 12
    }

    fn run(&self, frame: &Frame<'_>, lines: Range<usize>, _: usize) {
        let Window { kernel, strides, dilations, .. } = self.window;
        let (from, to) = (self.from.grid, self.to.grid);
        // SAFETY: a step does not write what it reads.
        let input = unsafe { frame.bytes(&self.from) };
        for line in lines {
            let (n, y) = (line / to.h, line % to.h);
            let mut taps = [Tap { row: None, column: 0 }; MOST_TAPS];
            for (at, tap) in taps.iter_mut().enumerate().take(kernel[0] * kernel[1]) {
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
                    taps: &taps[..kernel[0] * kernel[1]],
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
