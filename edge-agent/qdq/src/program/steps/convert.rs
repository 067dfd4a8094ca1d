//! Between real numbers and bytes, and between the caller's tensors and ours.

use std::ops::Range;

use super::{Build, Frame, Step};
use crate::Isa;
use crate::graph::Quant;
use crate::kernels::rows;
use crate::program::place::{Grid, Image, Place, RealSpace, Reals};

#[derive(Debug)]
struct Quantize {
    isa: Isa,
    from: Reals,
    to: Image,
    quant: Quant,
}

pub(super) fn quantize(build: &Build<'_>) -> Result<Box<dyn Step>, String> {
    let (from, to) = (build.input()?.reals()?.clone(), build.output.image()?.clone());
    Ok(Box::new(Quantize { isa: build.isa, from, to, quant: build.to()? }))
}

impl Step for Quantize {
    fn lines(&self) -> usize {
        self.to.grid.rows()
    }

    fn work(&self) -> usize {
        self.from.len() * 2
    }

    fn run(&self, frame: &Frame<'_>, lines: Range<usize>, _: usize) {
        let Quant { scale, zero } = self.quant;
        let Grid { h, w, c, .. } = self.to.grid;
        let [image, row, column, channel] = self.from.steps();
        // SAFETY: a step does not write what it reads, and the lines are this band's.
        unsafe {
            let from = frame.reals(&self.from);
            for line in lines {
                let (n, y) = (line / h, line % h);
                let to = frame.row_mut(&self.to, n, y);
                let start = n * image + y * row;
                if column == 1 && self.to.pixel == c {
                    let planes = &from[start..start + (c - 1) * channel + w];
                    rows::quantize_pixels(self.isa, to, c, planes, channel, scale, zero);
                } else if column == 1 {
                    for i in 0..c {
                        let plane = &from[start + i * channel..][..w];
                        rows::quantize(self.isa, &mut to[i..], self.to.pixel, plane, scale, zero);
                    }
                } else {
                    for (x, pixel) in to.chunks_mut(self.to.pixel).enumerate() {
                        let values = &from[start + x * column..][..c];
                        rows::quantize(self.isa, &mut pixel[..c], 1, values, scale, zero);
                    }
                }
                frame.fill_margins(&self.to, n, y);
            }
        }
    }
}

#[derive(Debug)]
struct Dequantize {
    from: Image,
    to: Reals,
    quant: Quant,
}

pub(super) fn dequantize(build: &Build<'_>) -> Result<Box<dyn Step>, String> {
    let (from, to) = (build.input()?.image()?.clone(), build.output.reals()?.clone());
    Ok(Box::new(Dequantize { from, to, quant: build.from()? }))
}

impl Step for Dequantize {
    fn lines(&self) -> usize {
        self.from.grid.n * self.from.grid.c
    }

    fn work(&self) -> usize {
        self.to.len() * 2
    }

    fn run(&self, frame: &Frame<'_>, lines: Range<usize>, _: usize) {
        let Grid { h, w, c, .. } = self.from.grid;
        let [image, row, column, channel] = self.to.steps();
        // SAFETY: a step does not write what it reads, and the lines are this band's: each number is of one channel.
        unsafe {
            let from = frame.bytes(&self.from);
            for line in lines {
                let (n, i) = (line / c, line % c);
                for y in 0..h {
                    let start = self.from.row_start(n, y) - self.from.span.start + i;
                    let first = n * image + y * row + i * channel;
                    for x in 0..w {
                        let at = first + x * column;
                        frame.reals_mut(&self.to, at..at + 1)[0] =
                            self.quant.dequantize(from[start + x * self.from.pixel]);
                    }
                }
            }
        }
    }
}

/// Bytes of the caller's tensor.
#[derive(Debug)]
struct Enter {
    input: usize,
    to: Image,
    /// What turns signed bytes into ours: the highest bit.
    flip: u8,
}

/// The step that brings in bytes.
pub(in crate::program) fn enter(to: Image, input: usize, signed: bool) -> Box<dyn Step> {
    Box::new(Enter { input, to, flip: if signed { 0x80 } else { 0 } })
}

impl Step for Enter {
    fn lines(&self) -> usize {
        self.to.grid.rows()
    }

    fn work(&self) -> usize {
        2 * self.to.shape.iter().product::<usize>()
    }

    fn run(&self, frame: &Frame<'_>, lines: Range<usize>, _: usize) {
        let Grid { h, w, c, .. } = self.to.grid;
        let [image, row, column, channel] = steps(&self.to);
        let from = frame.source_bytes(self.input);
        for line in lines {
            let (n, y) = (line / h, line % h);
            // SAFETY: the lines are this band's.
            unsafe {
                let to = frame.row_mut(&self.to, n, y);
                for x in 0..w {
                    for i in 0..c {
                        to[x * self.to.pixel + i] =
                            from[n * image + y * row + x * column + i * channel] ^ self.flip;
                    }
                }
                frame.fill_margins(&self.to, n, y);
            }
        }
    }
}

/// Bytes to the caller's tensor.
#[derive(Debug)]
struct Leave {
    from: Image,
    output: usize,
    flip: u8,
}

/// The step that gives out a value, unless it is made where it shall be.
pub(in crate::program) fn leave(place: &Place, output: usize, signed: bool) -> Option<Box<dyn Step>> {
    match place {
        Place::Bytes(from) => {
            Some(Box::new(Leave { from: from.clone(), output, flip: if signed { 0x80 } else { 0 } }))
        }
        Place::Reals(reals) if reals.space == RealSpace::Output(output) => None,
        Place::Reals(reals) => Some(Box::new(Copy { from: reals.clone(), output })),
    }
}

impl Step for Leave {
    fn lines(&self) -> usize {
        self.from.grid.n
    }

    fn work(&self) -> usize {
        2 * self.from.shape.iter().product::<usize>()
    }

    fn run(&self, frame: &Frame<'_>, lines: Range<usize>, _: usize) {
        let Grid { h, w, c, .. } = self.from.grid;
        let [image, row, column, channel] = steps(&self.from);
        let size = h * w * c;
        for n in lines {
            // SAFETY: a step does not write what it reads, and the images are this band's.
            let (from, to) =
                unsafe { (frame.bytes(&self.from), frame.sink_bytes(self.output, n * size..(n + 1) * size)) };
            debug_assert!(n == 0 || image == size);
            for y in 0..h {
                let start = self.from.row_start(n, y) - self.from.span.start;
                for x in 0..w {
                    for i in 0..c {
                        to[y * row + x * column + i * channel] =
                            from[start + x * self.from.pixel + i] ^ self.flip;
                    }
                }
            }
        }
    }
}

/// Numbers that are another output, or an input, too.
#[derive(Debug)]
struct Copy {
    from: Reals,
    output: usize,
}

impl Step for Copy {
    fn lines(&self) -> usize {
        1
    }

    fn work(&self) -> usize {
        self.from.len()
    }

    fn run(&self, frame: &Frame<'_>, _: Range<usize>, _: usize) {
        let to = Reals { space: RealSpace::Output(self.output), shape: Vec::new() };
        // SAFETY: an output is no other output, nor an input.
        unsafe { frame.reals_mut(&to, 0..self.from.len()).copy_from_slice(frame.reals(&self.from)) };
    }
}

/// Steps from image to image, row to row, column to column and channel to channel as ONNX has a tensor.
fn steps(image: &Image) -> [usize; 4] {
    match image.shape[..] {
        [_, c, h, w] => [c * h * w, w, 1, h * w],
        _ => [0, 0, image.grid.c, 1],
    }
}
