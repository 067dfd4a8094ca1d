//! A run's memory, as steps see it. The one place where parts of it are lent out.

use std::marker::PhantomData;
use std::ops::Range;

use super::place::{Image, RealSpace, Reals, Space};
use crate::port::{Sink, Source};

/// Memory of a run that several threads write at once.
///
/// The plan keeps apart what may not meet ([`super::layout`]): what a step writes shares no byte with what it reads, unless
/// both are parts of one concatenation, which the layout refuses; and no two bands of a step write one row.
#[derive(Debug)]
pub(crate) struct Frame<'a> {
    arena: *mut u8,
    arena_bytes: usize,
    constants: &'a [u8],
    inputs: &'a [Source<'a>],
    outputs: &'a [Out],
    lent: PhantomData<&'a mut [u8]>,
}

/// A caller's tensor that is written.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Out {
    Real(*mut f32, usize),
    Bytes(*mut u8, usize),
}

// SAFETY: it is a place only; what is done there is the frame's affair.
unsafe impl Send for Out {}

// SAFETY: threads reach the memory through the methods below only, whose callers keep to the plan.
unsafe impl Sync for Frame<'_> {}

impl<'a> Frame<'a> {
    pub(crate) fn new(
        arena: &'a mut [u8],
        constants: &'a [u8],
        inputs: &'a [Source<'a>],
        sinks: &'a mut [Sink<'_>],
        outputs: &'a mut Vec<Out>,
    ) -> Self {
        outputs.clear();
        outputs.extend(sinks.iter_mut().map(|sink| match sink {
            Sink::Real(real) => Out::Real(real.as_mut_ptr(), real.len()),
            Sink::Bytes(bytes) => Out::Bytes(bytes.as_mut_ptr(), bytes.len()),
        }));
        let (arena_bytes, arena) = (arena.len(), arena.as_mut_ptr());
        Self { arena, arena_bytes, constants, inputs, outputs, lent: PhantomData }
    }

    /// The bytes of a caller's tensor.
    pub(crate) fn source_bytes(&self, input: usize) -> &[u8] {
        match self.inputs[input] {
            Source::Bytes(bytes) => bytes,
            Source::Real(_) => &[],
        }
    }

    /// # Safety
    /// Nothing else uses this part of the caller's tensor meanwhile.
    #[allow(clippy::mut_from_ref, reason = "bands share the frame, and each writes its own part")]
    pub(crate) unsafe fn sink_bytes(&self, output: usize, range: Range<usize>) -> &mut [u8] {
        let Out::Bytes(to, len) = self.outputs[output] else { return &mut [] };
        assert!(range.start <= range.end && range.end <= len, "a band leaves the output");
        // SAFETY: within the tensor, and nobody else's by the caller's word.
        unsafe { std::slice::from_raw_parts_mut(to.add(range.start), range.len()) }
    }

    /// A tensor with all that lies around and between its pixels; places in it count from its span's start.
    ///
    /// # Safety
    /// No byte of it is written meanwhile.
    pub(crate) unsafe fn bytes(&self, image: &Image) -> &[u8] {
        match image.space {
            Space::Constants => &self.constants[image.span.clone()],
            Space::Arena => {
                assert!(image.span.end <= self.arena_bytes, "a tensor leaves the workspace");
                // SAFETY: within the arena, and not written by the caller's word.
                unsafe { std::slice::from_raw_parts(self.arena.add(image.span.start), image.span.len()) }
            }
        }
    }

    /// A row of a tensor, from its first pixel on.
    ///
    /// # Safety
    /// Nothing else uses this row meanwhile, nor what lies between its pixels.
    #[allow(clippy::mut_from_ref, reason = "bands share the frame, and each writes its own rows")]
    pub(crate) unsafe fn row_mut(&self, image: &Image, n: usize, y: usize) -> &mut [u8] {
        // SAFETY: the caller's.
        unsafe { self.pixels_mut(image, n, y, 0..image.grid.w) }
    }

    /// Some pixels of a row.
    ///
    /// # Safety
    /// As [`Frame::row_mut`], for these pixels.
    #[allow(clippy::mut_from_ref, reason = "bands share the frame, and each writes its own rows")]
    pub(crate) unsafe fn pixels_mut(
        &self,
        image: &Image,
        n: usize,
        y: usize,
        columns: Range<usize>,
    ) -> &mut [u8] {
        let start = image.row_start(n, y) + columns.start * image.pixel;
        let bytes = columns.len().saturating_sub(1) * image.pixel + image.pixel_bytes();
        // SAFETY: the caller's.
        unsafe { self.arena_mut(start..start + bytes) }
    }

    /// A whole tensor with all that lies around and between its pixels; places in it count from its span's start.
    ///
    /// # Safety
    /// Nothing else uses any of it meanwhile.
    #[allow(clippy::mut_from_ref, reason = "bands share the frame, and one of them has it all")]
    pub(crate) unsafe fn image_mut(&self, image: &Image) -> &mut [u8] {
        // SAFETY: the caller's.
        unsafe { self.arena_mut(image.span.clone()) }
    }

    /// # Safety
    /// Nothing else uses these bytes meanwhile.
    #[allow(clippy::mut_from_ref, reason = "bands share the frame, and each writes its own part")]
    unsafe fn arena_mut(&self, range: Range<usize>) -> &mut [u8] {
        assert!(range.start <= range.end && range.end <= self.arena_bytes, "a tensor leaves the workspace");
        // SAFETY: within the arena, and nobody else's by the caller's word.
        unsafe { std::slice::from_raw_parts_mut(self.arena.add(range.start), range.len()) }
    }

    /// Numbers in the workspace, beginning at a byte.
    ///
    /// # Safety
    /// Nothing else uses them meanwhile.
    #[allow(clippy::mut_from_ref, reason = "bands share the frame, and each writes its own part")]
    pub(crate) unsafe fn numbers_mut<T: Number>(&self, start: usize, count: usize) -> &mut [T] {
        // SAFETY: the caller's.
        let bytes = unsafe { self.arena_mut(start..start + count * size_of::<T>()) };
        // SAFETY: every pattern of bits is a number of these types.
        let (before, numbers, _) = unsafe { bytes.align_to_mut::<T>() };
        assert!(before.is_empty(), "numbers are aligned");
        numbers
    }

    /// All numbers of a tensor.
    ///
    /// # Safety
    /// None of them is written meanwhile.
    pub(crate) unsafe fn reals(&self, reals: &Reals) -> &[f32] {
        match reals.space {
            RealSpace::Input(index) => match self.inputs[index] {
                Source::Real(values) => values,
                Source::Bytes(_) => &[],
            },
            // SAFETY: the caller's.
            _ => unsafe { self.reals_mut(reals, 0..reals.len()) },
        }
    }

    /// Some numbers of a tensor.
    ///
    /// # Safety
    /// Nothing else uses them meanwhile, and it is none of the inputs.
    #[allow(clippy::mut_from_ref, reason = "bands share the frame, and each writes its own part")]
    pub(crate) unsafe fn reals_mut(&self, reals: &Reals, range: Range<usize>) -> &mut [f32] {
        match reals.space {
            RealSpace::Input(_) => &mut [],
            RealSpace::Output(index) => {
                let Out::Real(to, len) = self.outputs[index] else { return &mut [] };
                assert!(range.start <= range.end && range.end <= len, "a band leaves the output");
                // SAFETY: within the tensor, and nobody else's by the caller's word.
                unsafe { std::slice::from_raw_parts_mut(to.add(range.start), range.len()) }
            }
            // SAFETY: the caller's.
            RealSpace::Arena(start) => unsafe { self.numbers_mut(start + 4 * range.start, range.len()) },
        }
    }

    /// Fills what lies around a row with zero points; above the first row and below the last, whole rows of them.
    ///
    /// # Safety
    /// As [`Frame::row_mut`]; the band that has the first row has what is above it, and likewise the last.
    pub(crate) unsafe fn fill_margins(&self, image: &Image, n: usize, y: usize) {
        let [top, left, bottom, right] = image.margins;
        if image.margins == [0; 4] {
            return;
        }
        let row = image.row_start(n, y);
        let (wide, pixel) = (image.grid.w + left + right, image.pixel);
        // SAFETY: the margins of a row, and of rows above the first and below the last, are this band's; the layout has
        // room for them.
        unsafe {
            self.fill(image, row - left * pixel, left);
            self.fill(image, row + image.grid.w * pixel, right);
            if y == 0 {
                (1..=top).for_each(|up| self.fill(image, row - left * pixel - up * image.row, wide));
            }
            if y + 1 == image.grid.h {
                (1..=bottom).for_each(|down| self.fill(image, row - left * pixel + down * image.row, wide));
            }
        }
    }

    /// # Safety
    /// Nothing else uses these pixels' channels meanwhile.
    unsafe fn fill(&self, image: &Image, start: usize, pixels: usize) {
        let (runs, bytes) = if image.is_dense() { (1, pixels * image.pixel) } else { (pixels, image.grid.c) };
        for run in 0..runs.min(pixels) {
            // SAFETY: the caller's.
            unsafe { self.arena_mut(start + run * image.pixel..start + run * image.pixel + bytes) }
                .fill(image.zero);
        }
    }
}

/// Numbers of which every pattern of bits is one.
pub(crate) trait Number: Copy {}
impl Number for f32 {}
impl Number for i32 {}
