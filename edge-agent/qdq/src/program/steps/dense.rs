//! Dense and grouped convolutions and matrix products.

use std::ops::Range;

use super::{Build, Frame, SCRATCH_BANDS, Step};
use crate::Isa;
use crate::graph::{Convolution, Window};
use crate::kernels::dense::{self, Output, Panels, Row, Segment, Segments};
use crate::kernels::{BLOCK, Requant};
use crate::program::layout::margin;
use crate::program::place::{Grid, Image, Place, Reals};

/// Bytes of weights that are gone through for all rows of a band before the next: half of a second-level cache.
const CACHED_WEIGHTS: usize = 448 << 10;
/// Pixels at a time where rows are one long row.
const PIXELS_A_LINE: usize = 96;
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
}

#[derive(Debug)]
struct Group {
    /// First channels in the input and the output.
    input: usize,
    output: usize,
    weights: Panels,
    /// For every kind.
    requants: Vec<Requant>,
    /// To real numbers: steps of the sums.
    scale: Vec<f32>,
}

/// Outputs along rows or columns whose windows lose the same taps outside of the image.
#[derive(Debug)]
struct Axis {
    spans: Vec<(Range<usize>, usize)>,
    /// Of every kind, the taps that are left.
    kinds: Vec<Range<usize>>,
}

impl Axis {
    /// All taps everywhere: margins hold what is outside.
    fn whole(outputs: usize, taps: usize) -> Self {
        Self { spans: vec![(0..outputs, 0)], kinds: std::iter::once(0..taps).collect() }
    }

    fn cut(window: &Window, side: usize, input: usize, outputs: usize, begin: usize) -> Self {
        let mut axis = Self { spans: Vec::new(), kinds: Vec::new() };
        let dilation = window.dilations[side];
        for output in 0..outputs {
            let start = output * window.strides[side];
            let first = begin.saturating_sub(start).div_ceil(dilation).min(window.kernel[side]);
            let end =
                (input + begin).saturating_sub(start).div_ceil(dilation).clamp(first, window.kernel[side]);
            let kind = axis.kinds.iter().position(|kind| *kind == (first..end)).unwrap_or_else(|| {
                axis.kinds.push(first..end);
                axis.kinds.len() - 1
            });
            match axis.spans.last_mut() {
                Some((span, last)) if *last == kind => span.end = output + 1,
                _ => axis.spans.push((output..output + 1, kind)),
            }
        }
        axis
    }

    fn kind_at(&self, output: usize) -> usize {
        self.spans.iter().find(|(span, _)| span.contains(&output)).map_or(0, |(_, kind)| *kind)
    }
}

pub(super) fn build(build: &Build<'_>, convolution: &Convolution) -> Result<Box<dyn Step>, String> {
    let from = build.input()?.image()?.clone();
    let quant = build.from()?;
    let Convolution { window, groups, outputs, inputs, .. } = convolution;
    let grid = match build.output {
        Place::Bytes(image) => image.grid,
        Place::Reals(Reals { shape, .. }) => Grid::of(shape),
    };
    let (own_outputs, taps) = (outputs / groups, window.kernel[0] * window.kernel[1]);
    let margins = if convolution.matrix { Some([0; 4]) } else { margin(window, from.grid, grid) };
    let [top, left] = if convolution.matrix { [0; 2] } else { window.begin([from.grid.h, from.grid.w]) };
    let (rows, columns) = match margins {
        Some(_) => (Axis::whole(grid.h, window.kernel[0]), Axis::whole(grid.w, window.kernel[1])),
        None => {
            (Axis::cut(window, 0, from.grid.h, grid.h, top), Axis::cut(window, 1, from.grid.w, grid.w, left))
        }
    };
    // Columns of a window are one run of bytes where nothing lies between pixels.
    let runs = margins.is_some() && window.dilations[1] == 1 && from.pixel == *inputs;
    let run = if runs { window.kernel[1] * inputs } else { *inputs };
    let (quads, runs_a_row) = (run.div_ceil(4), if runs { 1 } else { window.kernel[1] });
    let weight = |group: usize, output: usize, at: usize| {
        let (run_index, byte) = (at / (4 * quads), at % (4 * quads));
        if byte >= run {
            return 0;
        }
        let row = run_index / runs_a_row;
        let (column, channel) =
            if runs { (byte / inputs, byte % inputs) } else { (run_index % runs_a_row, byte) };
        let output = group * own_outputs + output;
        convolution.weights
            [((output * inputs + channel) * window.kernel[0] + row) * window.kernel[1] + column]
    };
    let mut kinds = Vec::new();
    let mut sums_of_weights: Vec<Vec<i32>> = Vec::new();
    for row_taps in &rows.kinds {
        for column_taps in &columns.kinds {
            let mut list = Vec::new();
            for row in row_taps.clone() {
                let across = if runs { 0..1 } else { column_taps.clone() };
                for column in across {
                    let place = |tap: usize, side: usize, step: usize| tap * window.dilations[side] * step;
                    // From the first tap that is left.
                    let from_first = place(row - row_taps.start, 0, from.row)
                        + if runs { 0 } else { place(column - column_taps.start, 1, from.pixel) };
                    let weights = (row * runs_a_row + column) * quads;
                    list.push(Segment { offset: from_first, quads, weights });
                }
            }
            kinds.push(Segments::new(list));
            let sum = |output: usize| {
                let weights = &convolution.weights[output * inputs * taps..][..inputs * taps];
                let left = |(at, _): &(usize, &i8)| {
                    let tap = at % taps;
                    row_taps.contains(&(tap / window.kernel[1]))
                        && column_taps.contains(&(tap % window.kernel[1]))
                };
                weights.iter().enumerate().filter(left).map(|(_, weight)| i32::from(*weight)).sum()
            };
            sums_of_weights.push((0..*outputs).map(sum).collect());
        }
    }
    let all = (0..*groups).map(|group| {
        let range = group * own_outputs..(group + 1) * own_outputs;
        let requant = |sums: &Vec<i32>| {
            let blocks = own_outputs.next_multiple_of(BLOCK);
            // Bytes are taken as they are; what their zero point adds is taken off here.
            let bias = range
                .clone()
                .map(|o| convolution.bias[o].wrapping_sub(i32::from(quant.zero).wrapping_mul(sums[o])));
            let mut requant = Requant {
                bias: bias.collect(),
                scale: convolution.scale[range.clone()].to_vec(),
                zero: build.to.map_or(0, |to| to.zero),
                clamp: convolution.clamp,
            };
            requant.bias.resize(blocks, 0);
            requant.scale.resize(blocks, 0.0);
            requant
        };
        Group {
            input: group * inputs,
            output: range.start,
            weights: Panels::pack(own_outputs, quads * runs_a_row * window.kernel[0], |output, at| {
                weight(group, output, at)
            }),
            requants: sums_of_weights.iter().map(requant).collect(),
            scale: convolution.scale[range.clone()].to_vec(),
        }
    });
    let tight = |row: usize, pixel: usize, grid: Grid| grid.h == 1 || row == grid.w * pixel;
    let long = taps == 1
        && window.strides == [1; 2]
        && [top, left] == [0; 2]
        && tight(from.row, from.pixel, from.grid)
        && match build.output {
            Place::Bytes(to) => tight(to.row, to.pixel, to.grid) && to.margins == [0; 4],
            Place::Reals(_) => false,
        };
    let few = grid.rows() * grid.w < FEW_PIXELS
        && *groups == 1
        && matches!(build.output, Place::Bytes(to) if to.margins == [0; 4]);
    Ok(Box::new(Dense {
        isa: isa(build.isa, convolution),
        window: *window,
        begin: [top, left],
        groups: all.collect(),
        to: build.output.clone(),
        scratch: build.scratch,
        scratch_bytes: super::band_bytes(scratch_bytes(convolution, grid)),
        parts: if few && long { own_outputs.div_ceil(2 * BLOCK) } else { 1 },
        from,
        grid,
        long,
        rows,
        columns,
        kinds,
    }))
}

/// Vectors round by a conversion that knows i32 only: sums that leave it are left to the scalar kernel.
pub(super) fn isa(isa: Isa, convolution: &Convolution) -> Isa {
    let size = convolution.weights.len() / convolution.outputs.max(1);
    let greatest = |output: usize| {
        let weights = &convolution.weights[output * size..][..size];
        let sum: f64 = weights.iter().map(|weight| f64::from(*weight).abs() * 255.0).sum();
        (2.0 * sum + f64::from(convolution.bias[output]).abs()) * f64::from(convolution.scale[output])
    };
    let all = (0..convolution.outputs).all(|output| greatest(output) < f64::from(i32::MAX) / 2.0);
    if all { isa } else { Isa::Scalar }
}

/// Real numbers are made of a row's sums.
pub(super) fn scratch_bytes(convolution: &Convolution, output: Grid) -> usize {
    4 * (convolution.outputs / convolution.groups.max(1)).next_multiple_of(BLOCK) * output.w
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
                        let bytes = unsafe { frame.pixels_mut(to, n, y, columns) };
                        row.output = Output::Bytes { bytes: &mut bytes[group.output..], step: to.pixel };
                        dense::row(self.isa, &mut row);
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
        for output in outputs {
            for (x, sums) in columns.clone().zip(sums.chunks_exact(step)) {
                let at = n * image + y * row + x * column + (group.output + output) * channel;
                // SAFETY: as above.
                unsafe { frame.reals_mut(to, at..at + 1)[0] = sums[output] as f32 * group.scale[output] };
            }
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
            let some = (CACHED_WEIGHTS / group.weights.block_bytes().max(1)).max(2) / 2 * 2;
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
