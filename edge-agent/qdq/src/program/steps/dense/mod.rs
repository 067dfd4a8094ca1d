//! Dense and grouped convolutions and matrix products.

mod axis;
mod build;

use std::ops::Range;

use axis::Axis;
pub(super) use build::{build, build_real, isa, scratch_bytes};

use super::digits::{DIGITS, Digits};
use super::{Build, Frame, SCRATCH_BANDS, Step};
use crate::Isa;
use crate::graph::Window;
use crate::kernels::dense::{self, Output, Panels, Row, Segments};
use crate::kernels::rows::{self, Sum};
use crate::kernels::{BLOCK, Requant};
use crate::program::place::{Grid, Image, Place, Reals};

/// Bytes of weights that are gone through for all rows of a band before the next: half of a second-level cache.
const CACHED_WEIGHTS: usize = 448 << 10;
/// Pixels at a time where rows are one long row: whole tiles, and few enough for threads to share a small image.
const PIXELS_A_LINE: usize = 24;
/// Of fewer pixels than this, threads share the outputs.
const FEW_PIXELS: usize = 24;

#[derive(Debug)]
struct Dense {
    isa: Isa,
    from: Image,
    to: Place,
    grid: Grid,
    window: Window,
    /// Rows and columns of the first window that are above and left of the image.
    begin: [usize; 2],
    /// Rows without what is around them: the image is one long row, cut into pieces.
    long: bool,
    /// Into how many parts the outputs are cut, where there are too few pixels to share: each is a line then.
    parts: usize,
    groups: Vec<Group>,
    rows: Axis,
    columns: Axis,
    /// `[row kinds][column kinds]`.
    kinds: Vec<Segments>,
    scratch: usize,
    scratch_bytes: usize,
    meaning: Meaning,
    residual: Option<Added>,
}

/// What is added to every row.
#[derive(Debug)]
struct Added {
    image: Image,
    sum: Sum,
    clamp: (u8, u8),
}

impl Added {
    fn of(build: &Build<'_>) -> Result<Option<Self>, String> {
        let Some(residual) = build.residual else { return Ok(None) };
        let image = build.inputs.get(1).ok_or("it has nothing to add")?.image()?.clone();
        let (other, to) =
            (build.from.get(1).copied().flatten().ok_or("what it adds is not quantized")?, build.to()?);
        let zeros = [residual.own.zero, other.zero];
        let sum = Sum { zeros, ratios: [residual.own.scale / to.scale, other.scale / to.scale] };
        Ok(Some(Self { image, sum, clamp: residual.clamp }))
    }
}

#[derive(Debug)]
struct Group {
    /// First channels in the input and the output.
    input: usize,
    output: usize,
    weights: Panels,
    /// For every kind.
    requants: Vec<Requant>,
}

/// What sums are as real numbers.
#[derive(Debug)]
enum Meaning {
    /// Of every output, its steps.
    Steps(Vec<f32>),
    /// Sums of [`DIGITS`] digits each.
    Digits(Digits),
}

impl Dense {
    /// Rows, or pieces of the one long row of each image.
    fn lines_an_image(&self) -> usize {
        if self.long { (self.grid.h * self.grid.w).div_ceil(PIXELS_A_LINE) } else { self.grid.h }
    }

    /// Calls a function with every span of a line: image, row, columns and kind of window.
    fn spans(&self, line: usize, mut span: impl FnMut(usize, usize, Range<usize>, usize)) {
        let lines = self.lines_an_image();
        let (n, y) = (line / lines, line % lines);
        if self.long {
            let pixels = self.grid.h * self.grid.w;
            return span(n, 0, y * pixels / lines..(y + 1) * pixels / lines, 0);
        }
        let row_kind = self.rows.kind_at(y) * self.columns.kinds.len();
        for (columns, kind) in &self.columns.spans {
            span(n, y, columns.clone(), row_kind + kind);
        }
    }

    /// Where the window of an output begins, from the input's first byte: at the first of its taps that are left.
    fn window(&self, n: usize, y: usize, x: usize, kind: usize) -> usize {
        let kinds = [
            &self.rows.kinds[kind / self.columns.kinds.len()],
            &self.columns.kinds[kind % self.columns.kinds.len()],
        ];
        let place = |side: usize, output: usize| {
            (output * self.window.strides[side] + kinds[side].start * self.window.dilations[side]) as isize
                - self.begin[side] as isize
        };
        let start = self.from.row_start(n, 0) - self.from.span.start;
        let offset = place(0, y) * self.from.row as isize + place(1, x) * self.from.pixel as isize;
        // Without any tap it is of no account; else it lies in the tensor or its margins.
        start.saturating_add_signed(offset)
    }

    fn rows(
        &self,
        frame: &Frame<'_>,
        lines: &Range<usize>,
        group: &Group,
        blocks: &Range<usize>,
        band: usize,
    ) {
        // SAFETY: a step does not write what it reads.
        let input = unsafe { frame.bytes(&self.from) };
        for line in lines.clone() {
            self.spans(line, |n, y, columns, kind| {
                let mut row = Row {
                    input,
                    at: self.window(n, y, columns.start, kind) + group.input,
                    step: self.window.strides[1] * self.from.pixel,
                    segments: &self.kinds[kind],
                    weights: &group.weights,
                    requant: &group.requants[kind],
                    width: columns.len(),
                    blocks: blocks.clone(),
                    output: Output::Sums { sums: &mut [], step: 0 },
                };
                match &self.to {
                    Place::Bytes(to) => {
                        // SAFETY: the lines are this band's, or pieces of a row of which it has its own pixels.
                        let bytes = unsafe { frame.pixels_mut(to, n, y, columns.clone()) };
                        row.output = Output::Bytes { bytes: &mut bytes[group.output..], step: to.pixel };
                        dense::row(self.isa, &mut row);
                        if let Some(added) = &self.residual {
                            // SAFETY: as above; the residual is none of the output's.
                            unsafe { self.add(frame, added, to, blocks, (n, y, columns)) };
                        }
                    }
                    Place::Reals(to) => {
                        let step = group.weights.blocks() * BLOCK;
                        let own = self.scratch + band * self.scratch_bytes;
                        // SAFETY: the memory is this band's.
                        let sums = unsafe { frame.numbers_mut::<i32>(own, step * columns.len()) };
                        row.output = Output::Sums { sums, step };
                        dense::row(self.isa, &mut row);
                        self.reals(frame, to, group, blocks, (n, y, columns), own);
                    }
                }
            });
        }
    }

    /// Adds the residual to the outputs of some blocks.
    ///
    /// # Safety
    /// As [`Frame::pixels_mut`], and nothing writes the residual meanwhile.
    unsafe fn add(
        &self,
        frame: &Frame<'_>,
        added: &Added,
        to: &Image,
        blocks: &Range<usize>,
        (n, y, columns): (usize, usize, Range<usize>),
    ) {
        let image = &added.image;
        // SAFETY: the caller's.
        let (bytes, residual) = unsafe { (frame.pixels_mut(to, n, y, columns.clone()), frame.bytes(image)) };
        let residual = &residual[image.row_start(n, y) - image.span.start + columns.start * image.pixel..];
        let outputs = blocks.start * BLOCK..(blocks.end * BLOCK).min(to.grid.c);
        if outputs.len() == to.grid.c && to.is_dense() && image.is_dense() && to.pixel == image.pixel {
            let residual = &residual[..bytes.len()];
            return rows::add_into(self.isa, bytes, residual, added.sum, to.zero, added.clamp);
        }
        for x in 0..columns.len() {
            let bytes = &mut bytes[x * to.pixel..][outputs.clone()];
            let residual = &residual[x * image.pixel..][outputs.clone()];
            rows::add_into(self.isa, bytes, residual, added.sum, to.zero, added.clamp);
        }
    }

    /// A row's sums as real numbers.
    fn reals(
        &self,
        frame: &Frame<'_>,
        to: &Reals,
        group: &Group,
        blocks: &Range<usize>,
        (n, y, columns): (usize, usize, Range<usize>),
        own: usize,
    ) {
        let [image, row, column, channel] = to.steps();
        let step = group.weights.blocks() * BLOCK;
        let outputs = blocks.start * BLOCK..(blocks.end * BLOCK).min(group.weights.outputs());
        // SAFETY: the memory is this band's, and so are the numbers of its lines.
        let sums = unsafe { frame.numbers_mut::<i32>(own, step * columns.len()) };
        let place = |output: usize| n * image + y * row + columns.start * column + output * channel;
        // SAFETY: as above.
        let put = |output, sums: &[i32], value: &dyn Fn(&[i32], &mut [f32])| unsafe {
            if column == 1 {
                let start = place(output);
                value(sums, frame.reals_mut(to, start..start + columns.len()));
            } else {
                for (x, sums) in sums.chunks_exact(step).enumerate() {
                    let at = place(output) + x * column;
                    value(sums, frame.reals_mut(to, at..at + 1));
                }
            }
        };
        match &self.meaning {
            Meaning::Steps(scale) => outputs.for_each(|output| {
                let scale = scale[group.output + output];
                put(group.output + output, sums, &|sums, to| {
                    let pixels = sums.chunks_exact(step);
                    to.iter_mut().zip(pixels).for_each(|(to, sums)| *to = sums[output] as f32 * scale);
                });
            }),
            // All blocks are there: a row of sums is never cut where digits are joined.
            Meaning::Digits(digits) => (0..group.weights.outputs() / DIGITS).for_each(|output| {
                let all = group.output / DIGITS + output;
                put(all, sums, &|sums, to| {
                    let pixels = sums.chunks_exact(step);
                    let own = |sums: &[i32]| [0, 1, 2].map(|digit| sums[DIGITS * output + digit]);
                    to.iter_mut().zip(pixels).for_each(|(to, sums)| *to = digits.join(all, own(sums)));
                });
            }),
        }
    }
}

impl Step for Dense {
    fn lines(&self) -> usize {
        if self.parts > 1 { self.parts } else { self.grid.n * self.lines_an_image() }
    }

    fn work(&self) -> usize {
        // 64 products a cycle.
        let products: usize =
            self.groups.iter().map(|group| group.weights.block_bytes() * group.weights.blocks()).sum();
        products / 64 * self.grid.rows() * self.grid.w
    }

    fn most_bands(&self) -> usize {
        if matches!(self.to, Place::Reals(_)) { SCRATCH_BANDS } else { usize::MAX }
    }

    fn run(&self, frame: &Frame<'_>, lines: Range<usize>, band: usize) {
        for group in &self.groups {
            let all = group.weights.blocks();
            if self.parts > 1 {
                let part = |line: usize| line * all / self.parts;
                let pixels = 0..self.grid.n * self.lines_an_image();
                self.rows(frame, &pixels, group, &(part(lines.start)..part(lines.end)), band);
                continue;
            }
            // Pairs of blocks, as the kernels take them.
            let cached = if matches!(self.meaning, Meaning::Digits(_)) { usize::MAX } else { CACHED_WEIGHTS };
            let some = (cached / group.weights.block_bytes().max(1)).max(2) & !1;
            for first in (0..all).step_by(some) {
                self.rows(frame, &lines, group, &(first..(first + some).min(all)), band);
            }
        }
        if let Place::Bytes(to) = &self.to
            && !self.long
            && self.parts == 1
        {
            for line in lines {
                // SAFETY: the lines are this band's.
                unsafe { frame.fill_margins(to, line / self.grid.h, line % self.grid.h) };
            }
        }
    }
}
