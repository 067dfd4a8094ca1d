//! Sums and products of two tensors.

use std::ops::Range;

use super::{Build, Frame, Step};
use crate::Isa;
use crate::graph::{Arithmetic, Binary};
use crate::kernels::rows::{self, Mix, Sum};
use crate::program::place::Image;

#[derive(Debug)]
struct Pair {
    isa: Isa,
    inputs: [Image; 2],
    to: Image,
    mix: Mix,
    clamp: (u8, u8),
    /// Of each input, bytes for a step along each of the output's dimensions; 0 where it broadcasts. None: rows of the
    /// inputs go with rows of the output.
    strides: Option<[Vec<usize>; 2]>,
}

pub(super) fn build(build: &Build<'_>, binary: &Binary) -> Result<Box<dyn Step>, String> {
    let [a, b] = build.inputs[..] else { return Err("it has not two inputs".into()) };
    let (a, b, to) = (a.image()?.clone(), b.image()?.clone(), build.output.image()?.clone());
    let [Some(qa), Some(qb)] = build.from[..] else { return Err("its inputs are not quantized".into()) };
    let quant = build.to()?;
    let zeros = [qa.zero, qb.zero];
    let mix = match binary.arithmetic {
        Arithmetic::Add => Mix::Add(Sum { zeros, ratios: [qa.scale / quant.scale, qb.scale / quant.scale] }),
        Arithmetic::Multiply => Mix::Multiply { zeros, ratio: qa.scale * qb.scale / quant.scale },
    };
    let by_rows = [&a, &b].iter().all(|image| goes_by_rows(image, &to));
    let strides = (!by_rows).then(|| [broadcast(&a, &to), broadcast(&b, &to)]);
    Ok(Box::new(Pair { isa: build.isa, inputs: [a, b], to, mix, clamp: binary.clamp, strides }))
}

/// Whether an input's images, rows, columns and channels are those of the output, or one for all.
fn goes_by_rows(image: &Image, to: &Image) -> bool {
    let (own, out) = (image.grid, to.grid);
    let fits = |own: usize, out: usize| own == out || own == 1;
    let same = image.shape == to.shape;
    // A shape of fewer dimensions has channels where ONNX aligns it with columns, but for one channel or a vector of them.
    let aligned = image.shape.len() == to.shape.len() || to.shape.len() != 4 && image.shape.len() < 2;
    let flat = to.shape.len() == 4 || own.w == 1 || own.w == out.w;
    same || aligned
        && flat
        && fits(own.n, out.n)
        && fits(own.h, out.h)
        && fits(own.w, out.w)
        && fits(own.c, out.c)
}

/// Strides of an input along the dimensions of the output.
fn broadcast(image: &Image, to: &Image) -> Vec<usize> {
    let strides = image.strides();
    let missing = to.shape.len() - image.shape.len();
    let stride = |axis: usize| match axis.checked_sub(missing) {
        Some(own) if image.shape[own] > 1 => strides[own],
        _ => 0,
    };
    (0..to.shape.len()).map(stride).collect()
}

impl Pair {
    fn rows(&self, frame: &Frame<'_>, n: usize, y: usize) {
        // SAFETY: a step does not write what it reads, and the lines are this band's.
        let ([a, b], to) = unsafe {
            let rows = [0, 1].map(|input| {
                let image = &self.inputs[input];
                let start = image.row_start(n % image.grid.n, y % image.grid.h) - image.span.start;
                &frame.bytes(image)[start..]
            });
            (rows, frame.row_mut(&self.to, n, y))
        };
        let [ga, gb] = [0, 1].map(|input| &self.inputs[input]);
        let (w, c) = (self.to.grid.w, self.to.grid.c);
        let whole =
            |image: &Image| image.grid == self.to.grid && image.pixel == self.to.pixel && image.is_dense();
        if whole(ga) && whole(gb) && self.to.is_dense() {
            let bytes = to.len();
            return rows::mix(self.isa, to, &a[..bytes], &b[..bytes], self.mix, self.to.zero, self.clamp);
        }
        for x in 0..w {
            let pixel = |image: &Image| if image.grid.w == 1 { 0 } else { x * image.pixel };
            let (a, b) = (&a[pixel(ga)..][..ga.grid.c], &b[pixel(gb)..][..gb.grid.c]);
            let to = &mut to[x * self.to.pixel..][..c];
            rows::mix(self.isa, to, a, b, self.mix, self.to.zero, self.clamp);
        }
    }

    /// Any broadcast, value by value.
    fn values(&self, frame: &Frame<'_>, strides: &[Vec<usize>; 2], n: usize, y: usize) {
        // SAFETY: a step does not write what it reads, and the lines are this band's.
        let ([a, b], to) =
            unsafe { ([0, 1].map(|input| frame.bytes(&self.inputs[input])), frame.row_mut(&self.to, n, y)) };
        let (shape, grid) = (&self.to.shape, self.to.grid);
        let place = |input: usize, x: usize, channel: usize| {
            let image = &self.inputs[input];
            let start = image.start - image.span.start;
            let strides = &strides[input];
            if let [by_n, by_c, by_h, by_w] = strides[..] {
                return start + n * by_n + channel * by_c + y * by_h + x * by_w;
            }
            let mut rest = x;
            let mut at = start + strides.last().map_or(0, |stride| channel * stride);
            for axis in (0..shape.len().saturating_sub(1)).rev() {
                at += rest % shape[axis] * strides[axis];
                rest /= shape[axis];
            }
            at
        };
        for x in 0..grid.w {
            for channel in 0..grid.c {
                let (a, b) = (a[place(0, x, channel)], b[place(1, x, channel)]);
                let at = x * self.to.pixel + channel;
                rows::mix(Isa::Scalar, &mut to[at..=at], &[a], &[b], self.mix, self.to.zero, self.clamp);
            }
        }
    }
}

impl Step for Pair {
    fn lines(&self) -> usize {
        self.to.grid.rows()
    }

    fn work(&self) -> usize {
        self.to.shape.iter().product()
    }

    fn run(&self, frame: &Frame<'_>, lines: Range<usize>, _: usize) {
        for line in lines {
            let (n, y) = (line / self.to.grid.h, line % self.to.grid.h);
            match &self.strides {
                None => self.rows(frame, n, y),
                Some(strides) => self.values(frame, strides, n, y),
            }
            // SAFETY: the lines are this band's.
            unsafe { frame.fill_margins(&self.to, n, y) };
        }
    }
}
