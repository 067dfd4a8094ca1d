//! From a convolution's definition to packed weights and the segments of its windows.

use std::ops::Range;

use super::axis::Axis;
use super::{Added, Dense, FEW_PIXELS, Group, Meaning};
use crate::Isa;
use crate::graph::{Convolution, RealConvolution, Window, magnitude};
use crate::kernels::dense::{Panels, Segment, Segments};
use crate::kernels::{BLOCK, Requant};
use crate::program::layout::margin;
use crate::program::place::{Grid, Image, Place, Reals};
use crate::program::steps::digits::Digits;
use crate::program::steps::{Build, Step, band_bytes};

pub(in crate::program::steps) fn build(
    build: &Build<'_>,
    convolution: &Convolution,
) -> Result<Box<dyn Step>, String> {
    dense(build, convolution, Meaning::Steps(convolution.scale.clone()))
}

/// A convolution with weights that are real numbers.
pub(in crate::program::steps) fn build_real(
    build: &Build<'_>,
    convolution: &RealConvolution,
) -> Result<Box<dyn Step>, String> {
    let digits = Digits::of(convolution, build.from()?.scale);
    let convolution = digits.convolution(convolution);
    dense(build, &convolution, Meaning::Digits(digits))
}

fn dense(build: &Build<'_>, convolution: &Convolution, meaning: Meaning) -> Result<Box<dyn Step>, String> {
    let from = build.input()?.image()?.clone();
    let quant = build.from()?;
    let Convolution { window, groups, outputs, inputs, .. } = convolution;
    let grid = match build.output {
        Place::Bytes(image) => image.grid,
        Place::Reals(Reals { shape, .. }) => Grid::of(shape),
    };
    let margins = if convolution.matrix { Some([0; 4]) } else { margin(window, from.grid, grid) };
    let begin = if convolution.matrix { [0; 2] } else { window.begin([from.grid.h, from.grid.w]) };
    let (rows, columns) = match margins {
        Some(_) => (Axis::whole(grid.h, window.kernel[0]), Axis::whole(grid.w, window.kernel[1])),
        None => (
            Axis::cut(window, 0, from.grid.h, grid.h, begin[0]),
            Axis::cut(window, 1, from.grid.w, grid.w, begin[1]),
        ),
    };
    let shape = Runs::of(convolution, &from, margins.is_some());
    let kinds: Vec<[Range<usize>; 2]> = rows
        .kinds
        .iter()
        .flat_map(|row| columns.kinds.iter().map(move |column| [row.clone(), column.clone()]))
        .collect();
    let sums: Vec<Vec<i32>> = kinds.iter().map(|taps| sums_of_weights(convolution, taps)).collect();
    let own_outputs = outputs / groups;
    let order = shape.order(convolution);
    let size = inputs * window.kernel[0] * window.kernel[1];
    let all = (0..*groups).map(|group| {
        let range = group * own_outputs..(group + 1) * own_outputs;
        let requant = |sums: &Vec<i32>| {
            // Bytes are taken as they are; what their zero point adds is taken off here.
            let off =
                |o: usize| convolution.bias[o].wrapping_sub(i32::from(quant.zero).wrapping_mul(sums[o]));
            let mut requant = Requant {
                bias: range.clone().map(off).collect(),
                scale: convolution.scale[range.clone()].to_vec(),
                zero: build.residual.map(|residual| residual.own).or(build.to).map_or(0, |own| own.zero),
                clamp: convolution.clamp,
            };
            let blocks = own_outputs.next_multiple_of(BLOCK);
            requant.bias.resize(blocks, 0);
            requant.scale.resize(blocks, 0.0);
            requant
        };
        Group {
            input: group * inputs,
            output: range.start,
            weights: Panels::pack(
                own_outputs,
                &convolution.weights[range.start * size..range.end * size],
                &order,
            ),
            requants: sums.iter().map(requant).collect(),
        }
    });
    let residual = Added::of(build)?;
    // Pads behind the image make more pixels of it.
    let same = (from.grid.h, from.grid.w) == (grid.h, grid.w);
    let unmoved = window.kernel == [1; 2] && window.strides == [1; 2] && begin == [0; 2] && same;
    let long = unmoved
        && is_tight(&from)
        && residual.as_ref().is_none_or(|added| is_tight(&added.image))
        && matches!(build.output, Place::Bytes(to) if is_tight(to) && to.margins == [0; 4]);
    let few = long && *groups == 1 && grid.rows() * grid.w < FEW_PIXELS;
    Ok(Box::new(Dense {
        isa: isa(build.isa, convolution),
        window: *window,
        groups: all.collect(),
        to: build.output.clone(),
        scratch: build.scratch,
        scratch_bytes: band_bytes(scratch_bytes(convolution.outputs, *groups, grid)),
        parts: if few { own_outputs.div_ceil(2 * BLOCK) } else { 1 },
        kinds: kinds.iter().map(|taps| shape.segments(window, &from, taps)).collect(),
        from,
        grid,
        begin,
        long,
        rows,
        columns,
        meaning,
        residual,
    }))
}

/// Whether nothing lies between the rows of an image.
fn is_tight(image: &Image) -> bool {
    image.grid.h == 1 || image.row == image.grid.w * image.pixel
}

/// Runs of bytes that a window sees: of a pixel's channels each, or of all columns where nothing lies between pixels.
struct Runs {
    /// Bytes of a run, and quads.
    bytes: usize,
    quads: usize,
    /// Runs of a row of the window.
    in_row: usize,
}

impl Runs {
    fn of(convolution: &Convolution, from: &Image, whole: bool) -> Self {
        let Convolution { window, inputs, .. } = convolution;
        let joined = whole && window.dilations[1] == 1 && from.pixel == *inputs;
        let (bytes, in_row) =
            if joined { (window.kernel[1] * inputs, 1) } else { (*inputs, window.kernel[1]) };
        Self { bytes, quads: bytes.div_ceil(4), in_row }
    }

    /// For every byte of a window's runs, which of an output's weights it takes; [`u32::MAX`] for what fills up the last quad.
    fn order(&self, convolution: &Convolution) -> Vec<[u32; 4]> {
        let Convolution { window: Window { kernel, .. }, inputs, .. } = convolution;
        let weight = |at: usize| {
            let (run, byte) = (at / (4 * self.quads), at % (4 * self.quads));
            let (row, column, channel) = match self.in_row {
                1 => (run, byte / inputs, byte % inputs),
                _ => (run / self.in_row, run % self.in_row, byte),
            };
            if byte < self.bytes {
                ((channel * kernel[0] + row) * kernel[1] + column) as u32
            } else {
                u32::MAX
            }
        };
        (0..self.quads * self.in_row * kernel[0])
            .map(|quad| [0, 1, 2, 3].map(|byte| weight(4 * quad + byte)))
            .collect()
    }

    /// The runs of some rows and columns of taps, from the first of them.
    fn segments(&self, window: &Window, from: &Image, [rows, columns]: &[Range<usize>; 2]) -> Segments {
        let joined = self.in_row == 1 && window.kernel[1] > 1;
        let across = || if joined { 0..1 } else { columns.clone() };
        let segment = |row: usize, column: usize| Segment {
            offset: (row - rows.start) * window.dilations[0] * from.row
                + if joined { 0 } else { (column - columns.start) * window.dilations[1] * from.pixel },
            quads: self.quads,
            weights: (row * self.in_row + column) * self.quads,
        };
        Segments::new(
            rows.clone()
                .flat_map(|row| across().map(move |column| (row, column)))
                .map(|(row, column)| segment(row, column))
                .collect(),
        )
    }
}

/// Of every output, the sum of its weights for some rows and columns of taps.
fn sums_of_weights(convolution: &Convolution, [rows, columns]: &[Range<usize>; 2]) -> Vec<i32> {
    let [kernel_rows, kernel_columns] = convolution.window.kernel;
    let taps = kernel_rows * kernel_columns;
    let whole = (rows, columns) == (&(0..kernel_rows), &(0..kernel_columns));
    let left = |at: usize| {
        let tap = at % taps;
        rows.contains(&(tap / kernel_columns)) && columns.contains(&(tap % kernel_columns))
    };
    let each = convolution.weights.chunks_exact(convolution.inputs * taps);
    let sum = |weights: &[i8]| -> i32 {
        if whole {
            return weights.iter().map(|weight| i32::from(*weight)).sum();
        }
        weights.iter().enumerate().filter(|(at, _)| left(*at)).map(|(_, weight)| i32::from(*weight)).sum()
    };
    each.map(sum).collect()
}

/// Vectors round by a conversion that knows i32 only: sums that leave it are left to the scalar kernel.
pub(in crate::program::steps) fn isa(isa: Isa, convolution: &Convolution) -> Isa {
    let size = convolution.weights.len() / convolution.outputs.max(1);
    let greatest = |output: usize| {
        let sum = magnitude(&convolution.weights[output * size..][..size]);
        (2.0 * 255.0 * sum as f64 + f64::from(convolution.bias[output]).abs())
            * f64::from(convolution.scale[output])
    };
    let all = (0..convolution.outputs).all(|output| greatest(output) < f64::from(i32::MAX) / 2.0);
    if all { isa } else { Isa::Scalar }
}

/// Real numbers are made of a row's sums.
pub(in crate::program::steps) fn scratch_bytes(outputs: usize, groups: usize, output: Grid) -> usize {
    4 * (outputs / groups.max(1)).next_multiple_of(BLOCK) * output.w
}
