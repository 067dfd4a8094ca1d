//! Depthwise convolutions: every channel by itself, one row of output pixels at a time. Taps outside of the image read a
//! blank pixel of zero points, so that any padding and dilation is the same to the kernels.

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

use std::ops::Range;

pub(crate) use pack::Weights;

use crate::Isa;

/// The most taps of a window, dots of four included.
pub(crate) const MOST_TAPS: usize = 64;

/// A tap of the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tap {
    /// Where the row that it reads begins in the input; none outside of the image.
    pub(crate) row: Option<usize>,
    /// Its column for output column 0; may lie outside.
    pub(crate) column: isize,
}

/// A row of output pixels.
#[derive(Debug)]
pub(crate) struct Row<'a> {
    pub(crate) input: &'a [u8],
    /// A row of zero points, as long as one of the input.
    pub(crate) blank: &'a [u8],
    /// Columns of the input.
    pub(crate) columns: usize,
    /// Bytes from a pixel of the input to the next.
    pub(crate) pixel: usize,
    /// Columns from an output's window to the next one's.
    pub(crate) stride: usize,
    /// As many as the weights have.
    pub(crate) taps: &'a [Tap],
    pub(crate) weights: &'a Weights,
    /// Output pixels.
    pub(crate) width: usize,
    pub(crate) output: &'a mut [u8],
    /// Bytes from an output pixel to the next.
    pub(crate) step: usize,
}

/// Where the taps of one pixel are; unused ones are blank.
type Pointers = [*const u8; MOST_TAPS];

impl Row<'_> {
    fn fits(&self) -> bool {
        let channels = self.weights.channels();
        let Some(last) = self.width.checked_sub(1) else { return true };
        let reach = self.columns.saturating_sub(1) * self.pixel + channels;
        self.taps.len() == self.weights.taps()
            && self.taps.len() <= MOST_TAPS
            && self.blank.len() >= reach
            && self.columns > 0
            && self.taps.iter().all(|tap| tap.row.is_none_or(|row| row + reach <= self.input.len()))
            && last * self.step + channels <= self.output.len()
    }

    /// The columns in which no tap leaves the image sideways.
    fn inside(&self) -> Range<usize> {
        let first = self.taps.iter().map(|tap| (-tap.column).max(0) as usize).max().unwrap_or(0);
        let ends = self.taps.iter().map(|tap| {
            let room = self.columns as isize - tap.column;
            if room <= 0 { 0 } else { (room as usize).div_ceil(self.stride) }
        });
        let first = first.div_ceil(self.stride).min(self.width);
        first..ends.min().unwrap_or(0).clamp(first, self.width)
    }

    /// The taps of a pixel.
    fn pointers(&self, x: usize) -> Pointers {
        let mut pointers = [self.blank.as_ptr(); MOST_TAPS];
        for (pointer, tap) in pointers.iter_mut().zip(self.taps) {
            let column = (x * self.stride) as isize + tap.column;
            if let Ok(column) = usize::try_from(column)
                && column < self.columns
            {
                let (row, start) = tap.row.map_or((self.blank, 0), |row| (self.input, row));
                *pointer = row[start + column * self.pixel..].as_ptr();
            }
        }
        pointers
    }

    /// Moves the taps of a pixel within [`Row::inside`] to the next one.
    #[inline(always)]
    fn advance(&self, pointers: &mut Pointers) {
        for pointer in &mut pointers[..self.taps.len()] {
            *pointer = pointer.wrapping_add(self.stride * self.pixel);
        }
    }

    /// Calls a function with every pixel and its taps.
    #[inline(always)]
    fn pixels(&mut self, mut pixel: impl FnMut(&mut Self, usize, &Pointers)) {
        let inside = self.inside();
        let mut pointers = self.pointers(0);
        for x in 0..self.width {
            if x > inside.start && x < inside.end {
                self.advance(&mut pointers);
            } else if x > 0 {
                pointers = self.pointers(x);
            }
            pixel(self, x, &pointers);
        }
    }
}

/// Computes a row.
///
/// # Panics
/// If the row does not fit into its slices.
pub(crate) fn row(isa: Isa, row: &mut Row<'_>) {
    assert!(row.fits(), "a row of a depthwise convolution leaves its tensors");
    assert_eq!(row.weights.isa(), isa, "weights are packed for the set that reads them");
    match isa {
        // SAFETY: a program is made for sets that this processor has (Program::new), and the row fits.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512Vnni => unsafe { avx512::row(row) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => unsafe { avx2::row(row) },
        // SAFETY: as above.
        #[cfg(target_arch = "aarch64")]
        Isa::Neon | Isa::Dotprod | Isa::I8mm => unsafe { aarch64::row(row) },
        _ => scalar::row(row),
    }
}
