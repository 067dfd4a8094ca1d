//! Pools.

use std::ops::Range;

use super::{Build, Frame, Step};
use crate::Isa;
use crate::graph::{Pads, Window};
use crate::kernels::rows::{self, Mean, PoolRow};
use crate::program::place::Image;

#[derive(Debug)]
struct Pool {
    isa: Isa,
    from: Image,
    to: Image,
    window: Window,
    begin: [usize; 2],
    mean: Option<(Mean, [Vec<usize>; 2])>,
}

pub(super) fn maximum(build: &Build<'_>, window: &Window) -> Result<Box<dyn Step>, String> {
    pool(build, *window, None)
}

pub(super) fn average(build: &Build<'_>, window: &Window, count_pads: bool) -> Result<Box<dyn Step>, String> {
    pool(build, *window, Some(count_pads))
}

/// A mean of all pixels is one over a window of all.
pub(super) fn global(build: &Build<'_>) -> Result<Box<dyn Step>, String> {
    let grid = build.input()?.image()?.grid;
    let kernel = [grid.h, grid.w];
    let pads = Pads::Explicit([0; 4]);
    pool(build, Window { kernel, strides: [1; 2], dilations: [1; 2], pads, ceil: false }, Some(false))
}

/// A maximum, or a mean that counts padding or not.
fn pool(build: &Build<'_>, window: Window, count_pads: Option<bool>) -> Result<Box<dyn Step>, String> {
    let (from, to) = (build.input()?.image()?.clone(), build.output.image()?.clone());
    let sizes = [(from.grid.h, to.grid.h), (from.grid.w, to.grid.w)];
    let mean = match count_pads {
        None => None,
        Some(count_pads) => {
            let (own, out) = (build.from()?, build.to()?);
            let mean = Mean { from_zero: own.zero, scales: [own.scale, out.scale], zero: out.zero };
            let counts = [0, 1].map(|side| window.counts(side, sizes[side].0, sizes[side].1, count_pads));
            Some((mean, counts))
        }
    };
    let begin = window.begin([from.grid.h, from.grid.w]);
    Ok(Box::new(Pool { isa: build.isa, from, to, window, begin, mean }))
}

impl Step for Pool {
    fn lines(&self) -> usize {
        self.to.grid.rows()
    }

    fn work(&self) -> usize {
        self.to.shape.iter().product::<usize>() * self.window.kernel[0] * self.window.kernel[1] / 16
    }

    fn run(&self, frame: &Frame<'_>, lines: Range<usize>, _: usize) {
        let Window { kernel, strides, dilations, .. } = self.window;
        let (from, to) = (self.from.grid, self.to.grid);
        // SAFETY: a step does not write what it reads.
        let input = unsafe { frame.bytes(&self.from) };
        for line in lines {
            let (n, y) = (line / to.h, line % to.h);
            let start = y * strides[0];
            let outside = self.begin[0].saturating_sub(start).div_ceil(dilations[0]);
            let end = (from.h + self.begin[0]).saturating_sub(start).div_ceil(dilations[0]).min(kernel[0]);
            let first = (start + outside * dilations[0] - self.begin[0]).min(from.h);
            // SAFETY: the lines are this band's.
            unsafe {
                let mut row = PoolRow {
                    input,
                    first: self.from.row_start(n, first) - self.from.span.start,
                    row: dilations[0] * self.from.row,
                    rows: end.saturating_sub(outside),
                    columns: from.w,
                    pixel: self.from.pixel,
                    channels: to.c,
                    kernel: kernel[1],
                    dilation: dilations[1],
                    stride: strides[1],
                    pad: self.begin[1],
                    width: to.w,
                    output: frame.row_mut(&self.to, n, y),
                    step: self.to.pixel,
                };
                match &self.mean {
                    None => rows::max_pool(self.isa, &mut row),
                    Some((mean, counts)) => {
                        rows::average_pool(self.isa, &mut row, *mean, counts[0][y], &counts[1]);
                    }
                }
                frame.fill_margins(&self.to, n, y);
            }
        }
    }
}
