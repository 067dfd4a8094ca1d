//! Bytes that only move, through a table perhaps.

use std::ops::Range;

use super::{Build, Frame, Step};
use crate::Isa;
use crate::graph::Shape;
use crate::kernels::table;
use crate::program::place::Image;

/// Pixels to pixels of the same grid.
#[derive(Debug)]
struct Pixels {
    isa: Isa,
    parts: Vec<Part>,
    /// What the parts lie in, if they lie above or beside each other: its margins are filled when all are there.
    whole: Option<Image>,
}

#[derive(Debug)]
struct Part {
    from: Image,
    /// A part of the output.
    to: Image,
    table: Option<Box<[u8; 256]>>,
}

pub(super) fn table(build: &Build<'_>, table: &[u8; 256]) -> Result<Box<dyn Step>, String> {
    let (from, to) = (build.input()?.image()?.clone(), build.output.image()?.clone());
    Ok(Box::new(Pixels {
        isa: build.isa,
        parts: vec![Part { from, to, table: Some(Box::new(*table)) }],
        whole: None,
    }))
}

/// Parts that do not lie in their place already.
pub(super) fn concat(
    build: &Build<'_>,
    axis: i64,
    tables: &[Option<Box<[u8; 256]>>],
) -> Result<Box<dyn Step>, String> {
    let whole = build.output.image()?;
    let rank = whole.shape.len();
    let axis = usize::try_from(if axis < 0 { axis + rank as i64 } else { axis }).unwrap_or(rank);
    let stride = *whole.strides().get(axis).ok_or("its axis is none")?;
    let mut parts = Vec::new();
    let mut first = 0;
    for (input, table) in build.inputs.iter().zip(tables) {
        let from = input.image()?.clone();
        let size = from.shape[axis];
        let to = part(whole, axis, size, whole.start + first * stride);
        first += size;
        if from.start != to.start || from.space != to.space {
            parts.push(Part { from, to, table: table.clone() });
        }
    }
    // Of other shapes, what lies along an axis is no part of the grid.
    let whole_rows = rank == 4 || axis + 1 == rank || axis == 0;
    if whole_rows {
        let beside = rank == 4 && axis >= 2;
        return Ok(Box::new(Pixels { isa: build.isa, parts, whole: beside.then(|| whole.clone()) }));
    }
    Ok(Box::new(Values { moves: parts.into_iter().map(Move::of).collect() }))
}

/// A tensor without all but some indices of an axis.
fn part(whole: &Image, axis: usize, size: usize, start: usize) -> Image {
    let mut part = whole.clone();
    part.shape[axis] = size;
    part.start = start;
    part.grid = super::Grid::of(&part.shape);
    part.alone = whole.alone && part.grid.c == whole.grid.c;
    if part.grid.h != whole.grid.h || part.grid.w != whole.grid.w {
        // Around rows and columns of a part lie others.
        part.margins = [0; 4];
    }
    part
}

impl Pixels {
    fn row(isa: Isa, frame: &Frame<'_>, part: &Part, n: usize, y: usize) {
        let Part { from, to, table } = part;
        // SAFETY: a step does not write what it reads, and the lines are this band's.
        let (input, output) = unsafe { (frame.bytes(from), frame.row_mut(to, n, y)) };
        let input = &input[from.row_start(n, y) - from.span.start..];
        let channels = from.grid.c;
        let dense = from.is_dense() && to.is_dense() && from.pixel == to.pixel;
        let (runs, bytes) = if dense { (1, output.len()) } else { (from.grid.w, channels) };
        for x in 0..runs {
            let from = &input[x * from.pixel..][..bytes];
            let to = &mut output[x * to.pixel..][..bytes];
            match table {
                None => to.copy_from_slice(from),
                Some(table) => table::look_up(isa, to, from, table),
            }
        }
    }
}

impl Step for Pixels {
    fn lines(&self) -> usize {
        match self.whole {
            Some(_) => 1,
            None => self.parts.iter().map(|part| part.to.grid.rows()).max().unwrap_or(0),
        }
    }

    fn work(&self) -> usize {
        let work =
            |part: &Part| part.to.shape.iter().product::<usize>() / if part.table.is_some() { 1 } else { 8 };
        self.parts.iter().map(work).sum()
    }

    fn run(&self, frame: &Frame<'_>, lines: Range<usize>, _: usize) {
        for part in &self.parts {
            let grid = part.to.grid;
            let lines =
                if self.whole.is_some() { 0..grid.rows() } else { lines.start..lines.end.min(grid.rows()) };
            for line in lines {
                let (n, y) = (line / grid.h, line % grid.h);
                Self::row(self.isa, frame, part, n, y);
                // SAFETY: the lines are this band's.
                unsafe { frame.fill_margins(&part.to, n, y) };
            }
        }
        if let Some(whole) = &self.whole {
            // SAFETY: there is one band.
            (0..whole.grid.rows()).for_each(|line| unsafe {
                frame.fill_margins(whole, line / whole.grid.h, line % whole.grid.h);
            });
        }
    }
}

/// Values to values in the order of ONNX, one by one.
#[derive(Debug)]
struct Values {
    moves: Vec<Move>,
}

#[derive(Debug)]
struct Move {
    from: Image,
    to: Image,
    from_walk: Walk,
    to_walk: Walk,
    table: Option<Box<[u8; 256]>>,
}

/// Sizes and strides of dimensions.
#[derive(Clone, Debug)]
struct Walk {
    shape: Shape,
    strides: Vec<usize>,
}

impl Walk {
    fn of(image: &Image) -> Self {
        Self { shape: image.shape.clone(), strides: image.strides() }
    }

    /// Where the value of an index in row-major order lies.
    fn at(&self, index: usize) -> usize {
        let mut rest = index;
        let mut at = 0;
        for (size, stride) in self.shape.iter().zip(&self.strides).rev() {
            at += rest % size * stride;
            rest /= size;
        }
        at
    }
}

impl Move {
    fn of(part: Part) -> Self {
        let Part { from, to, table } = part;
        Self { from_walk: Walk::of(&from), to_walk: Walk::of(&to), from, to, table }
    }
}

pub(super) fn transpose(build: &Build<'_>, order: &[usize]) -> Result<Box<dyn Step>, String> {
    let (from, to) = (build.input()?.image()?.clone(), build.output.image()?.clone());
    let own = Walk::of(&from);
    let from_walk = Walk {
        shape: order.iter().map(|axis| own.shape[*axis]).collect(),
        strides: order.iter().map(|axis| own.strides[*axis]).collect(),
    };
    Ok(Box::new(Values { moves: vec![Move { from_walk, to_walk: Walk::of(&to), from, to, table: None }] }))
}

pub(super) fn reshape(build: &Build<'_>) -> Result<Box<dyn Step>, String> {
    let (from, to) = (build.input()?.image()?.clone(), build.output.image()?.clone());
    Ok(Box::new(Values { moves: vec![Move::of(Part { from, to, table: None })] }))
}

impl Step for Values {
    fn lines(&self) -> usize {
        1
    }

    fn work(&self) -> usize {
        self.moves.iter().map(|part| 8 * part.to.shape.iter().product::<usize>()).sum()
    }

    fn run(&self, frame: &Frame<'_>, _: Range<usize>, _: usize) {
        for Move { from, to, from_walk, to_walk, table } in &self.moves {
            // SAFETY: a step does not write what it reads, and there is one band.
            let (input, output) = unsafe { (frame.bytes(from), frame.image_mut(to)) };
            let (start, end) = (from.start - from.span.start, to.start - to.span.start);
            for index in 0..to.shape.iter().product() {
                let byte = input[start + from_walk.at(index)];
                output[end + to_walk.at(index)] =
                    table.as_ref().map_or(byte, |table| table[usize::from(byte)]);
            }
            for line in 0..to.grid.rows() {
                // SAFETY: as above.
                unsafe { frame.fill_margins(to, line / to.grid.h, line % to.grid.h) };
            }
        }
    }
}
