//! Where tensors lie. Tensors of bytes lie as images of pixels with the channels last, whatever ONNX counts first; tensors of
//! real numbers lie as ONNX has them.

use std::ops::Range;

use crate::graph::Shape;

/// A tensor of bytes as images. Of a shape that is no `[n, c, h, w]`, the last dimension is the channels and all others are
/// columns of one row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Grid {
    pub(crate) n: usize,
    pub(crate) h: usize,
    pub(crate) w: usize,
    pub(crate) c: usize,
}

impl Grid {
    pub(crate) fn of(shape: &Shape) -> Self {
        match shape[..] {
            [n, c, h, w] => Self { n, h, w, c },
            _ => {
                let c = shape.last().copied().unwrap_or(1);
                Self { n: 1, h: 1, w: shape.iter().product::<usize>() / c.max(1), c }
            }
        }
    }

    /// Rows of all images.
    pub(crate) fn rows(&self) -> usize {
        self.n * self.h
    }

    /// Strides of the dimensions as ONNX counts them, given those from image to image, row to row and pixel to pixel.
    fn strides(self, shape: &Shape, [image, row, pixel]: [usize; 3]) -> Vec<usize> {
        if shape.len() == 4 {
            return vec![image, 1, row, pixel];
        }
        let mut strides = vec![1; shape.len()];
        let mut stride = pixel;
        for axis in (0..shape.len().saturating_sub(1)).rev() {
            strides[axis] = stride;
            stride *= shape[axis];
        }
        strides
    }
}

/// Whose memory it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Space {
    /// The workspace's.
    Arena,
    /// The program's, never written.
    Constants,
}

/// Where a tensor of bytes lies. Part of a concatenation, it lies between the pixels of a wider tensor.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Image {
    pub(crate) space: Space,
    /// All that belongs to the tensor, or to the concatenation that it is part of.
    pub(crate) span: Range<usize>,
    /// The first channel of the first pixel.
    pub(crate) start: usize,
    /// Bytes from image to image, row to row, pixel to pixel.
    pub(crate) image: usize,
    pub(crate) row: usize,
    pub(crate) pixel: usize,
    pub(crate) grid: Grid,
    pub(crate) shape: Shape,
    /// Pixels of zero points above, left, below and right.
    pub(crate) margins: [usize; 4],
    pub(crate) zero: u8,
    /// Whether nothing else lies between its pixels.
    pub(crate) alone: bool,
}

impl Image {
    /// Where a row begins.
    pub(crate) fn row_start(&self, n: usize, y: usize) -> usize {
        self.start + n * self.image + y * self.row
    }

    /// Bytes of a pixel that are its own.
    pub(crate) fn pixel_bytes(&self) -> usize {
        if self.alone { self.pixel } else { self.grid.c }
    }

    /// Whether a row is one run of channels.
    pub(crate) fn is_dense(&self) -> bool {
        self.alone || self.pixel == self.grid.c
    }

    /// Strides of the dimensions as ONNX counts them.
    pub(crate) fn strides(&self) -> Vec<usize> {
        self.grid.strides(&self.shape, [self.image, self.row, self.pixel])
    }
}

/// Where a tensor of real numbers lies, as ONNX has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RealSpace {
    /// The caller's tensor of this number.
    Input(usize),
    Output(usize),
    /// Bytes into the workspace.
    Arena(usize),
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Reals {
    pub(crate) space: RealSpace,
    pub(crate) shape: Shape,
}

impl Reals {
    pub(crate) fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Numbers from image to image, row to row, column to column and channel to channel.
    pub(crate) fn steps(&self) -> [usize; 4] {
        let grid = Grid::of(&self.shape);
        match self.shape.len() {
            4 => [grid.c * grid.h * grid.w, grid.w, 1, grid.h * grid.w],
            _ => [0, 0, grid.c, 1],
        }
    }
}

/// Where a tensor lies.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Place {
    Bytes(Image),
    Reals(Reals),
}

impl Place {
    pub(crate) fn image(&self) -> Result<&Image, String> {
        match self {
            Self::Bytes(image) => Ok(image),
            Self::Reals(_) => Err("it reads or writes real numbers".into()),
        }
    }

    pub(crate) fn reals(&self) -> Result<&Reals, String> {
        match self {
            Self::Reals(reals) => Ok(reals),
            Self::Bytes(_) => Err("it reads or writes bytes".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_come_last_and_other_shapes_are_rows_of_them() {
        assert_eq!(Grid::of(&vec![2, 3, 4, 5]), Grid { n: 2, h: 4, w: 5, c: 3 });
        assert_eq!(Grid::of(&vec![6, 7]), Grid { n: 1, h: 1, w: 6, c: 7 });
        assert_eq!(Grid::of(&vec![]), Grid { n: 1, h: 1, w: 1, c: 1 });
        assert_eq!(Grid::of(&vec![2, 3, 4]).strides(&vec![2, 3, 4], [999, 999, 16]), [48, 16, 1]);
        let reals = Reals { space: RealSpace::Input(0), shape: vec![2, 3, 4, 5] };
        assert_eq!((reals.len(), reals.steps()), (120, [60, 5, 1, 20]));
    }
}
