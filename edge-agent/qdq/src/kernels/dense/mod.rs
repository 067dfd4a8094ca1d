//! Dense convolutions and matrix products, one row of output pixels at a time.
//!
//! A pixel's window is a list of [`Segment`]s: bytes that lie next to each other in the input. There is no im2col: the kernels
//! read the input where it lies. Weights are packed in the order in which segments are read, four bytes of every output of a
//! block next to each other, as the dot product instructions take them.

mod pack;
mod scalar;
#[cfg(test)]
mod tests;

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;

pub(crate) use pack::Panels;

use super::{BLOCK, Requant};
use crate::Isa;

/// Bytes next to each other that a window sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    /// From the window's first byte.
    pub(crate) offset: usize,
    /// Times four bytes.
    pub(crate) quads: usize,
    /// Where its weights begin in a block, in quads.
    pub(crate) weights: usize,
}

/// The segments of a window, and how far they reach.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Segments {
    list: Vec<Segment>,
    reach: usize,
}

impl Segments {
    pub(crate) fn new(list: Vec<Segment>) -> Self {
        let reach = list.iter().map(|segment| segment.offset + 4 * segment.quads).max().unwrap_or(0);
        Self { list, reach }
    }

    pub(crate) fn list(&self) -> &[Segment] {
        &self.list
    }
}

/// A row of output pixels.
#[derive(Debug)]
pub(crate) struct Row<'a> {
    pub(crate) input: &'a [u8],
    /// Where the first pixel's window begins in `input`.
    pub(crate) at: usize,
    /// From one pixel's window to the next one's, in bytes.
    pub(crate) step: usize,
    pub(crate) segments: &'a Segments,
    pub(crate) weights: &'a Panels,
    pub(crate) requant: &'a Requant,
    /// Pixels.
    pub(crate) width: usize,
    /// Which blocks of outputs.
    pub(crate) blocks: std::ops::Range<usize>,
    pub(crate) output: Output<'a>,
}

/// Where a row goes. Outputs of all blocks lie next to each other, pixels a step apart.
#[derive(Debug)]
pub(crate) enum Output<'a> {
    Bytes {
        bytes: &'a mut [u8],
        step: usize,
    },
    /// Sums with the bias, of whole blocks.
    Sums {
        sums: &'a mut [i32],
        step: usize,
    },
}

impl Row<'_> {
    /// Whether everything that the kernels touch is there. Kernels that read past the slices' checks rely on it.
    fn fits(&self) -> bool {
        let Some(last) = self.width.checked_sub(1) else { return true };
        let blocks = self.weights.blocks();
        let outputs = self.weights.outputs();
        let room = match &self.output {
            Output::Bytes { bytes, step } => last * step + outputs <= bytes.len(),
            Output::Sums { sums, step } => {
                last * step + blocks * BLOCK <= sums.len() && *step >= blocks * BLOCK
            }
        };
        let segments = self.segments.list.iter();
        let weights = segments.map(|s| s.weights + s.quads).max().unwrap_or(0) <= self.weights.quads();
        room && weights
            && self.blocks.end <= blocks
            && self.requant.bias.len() >= blocks * BLOCK
            && self.requant.scale.len() >= blocks * BLOCK
            && (self.segments.list.is_empty()
                || self.at + last * self.step + self.segments.reach <= self.input.len())
    }
}

/// Computes a row.
///
/// # Panics
/// If the row does not fit into its slices.
pub(crate) fn row(isa: Isa, row: &mut Row<'_>) {
    assert!(row.fits(), "a row of a convolution leaves its tensors");
    match isa {
        // SAFETY: a program is made for sets that this processor has (Program::new), and the row fits.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512Vnni => unsafe { avx512::row(row) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => unsafe { avx2::row(row) },
        // SAFETY: as above.
        #[cfg(target_arch = "aarch64")]
        Isa::Neon | Isa::Dotprod | Isa::I8mm => unsafe { aarch64::row(isa, row) },
        _ => scalar::row(row),
    }
}

/// Pixels in tiles of nearly the same size, at most `most`: first pixel and number of each.
fn tiles(width: usize, most: usize) -> impl Iterator<Item = (usize, usize)> {
    let count = width.div_ceil(most);
    (0..count).map(move |tile| {
        let (from, to) = (tile * width / count, (tile + 1) * width / count);
        (from, to - from)
    })
}
