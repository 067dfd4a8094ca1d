//! Any aarch64, and two extensions of it. All take the same weights: a quad of a block is four vectors, each of four
//! outputs.

mod dotprod;
mod i8mm;
mod neon;

use std::arch::aarch64::*;

use super::{BLOCK, Output, Row, Segment, tiles};
use crate::Isa;
use crate::kernels::aarch64::{Sums, bytes, load, put};

/// # Safety
/// The processor has the set, one of NEON's, and the row fits ([`Row::fits`]).
pub(super) unsafe fn row(isa: Isa, row: &mut Row<'_>) {
    // SAFETY: the caller's.
    unsafe {
        match isa {
            Isa::I8mm => i8mm::row(row),
            Isa::Dotprod => dotprod::row(row),
            _ => neon::row(row),
        }
    }
}

/// Where a segment begins for a tile: its first pixel's bytes and its weights.
///
/// # Safety
/// The row fits and has the pixel and the block.
#[inline(always)]
unsafe fn begin(row: &Row<'_>, segment: &Segment, x: usize, block: usize) -> (*const u8, *const i8) {
    // SAFETY: the segment lies within the input and within the block's weights.
    unsafe {
        let bytes = row.input.as_ptr().add(row.at + x * row.step + segment.offset);
        (bytes, row.weights.block(block).as_ptr().add(segment.weights * BLOCK * 4))
    }
}

/// Four bytes of a pixel in every lane.
///
/// # Safety
/// Four bytes are there.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn quad(from: *const u8) -> uint32x4_t {
    // SAFETY: the caller's.
    vdupq_n_u32(unsafe { from.cast::<u32>().read_unaligned() })
}

/// The bias of a block.
///
/// # Safety
/// The row fits and has the block.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn bias(row: &Row<'_>, block: usize) -> Sums {
    // SAFETY: the biases of whole blocks are there.
    unsafe { load(row.requant.bias.as_ptr().add(block * BLOCK)) }
}

/// # Safety
/// The row fits and has the pixel and the block.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn store(row: &mut Row<'_>, x: usize, block: usize, sums: Sums) {
    let first = block * BLOCK;
    match &mut row.output {
        Output::Sums { sums: to, step } => {
            for (q, sums) in sums.into_iter().enumerate() {
                // SAFETY: whole blocks of the pixels fit.
                unsafe { vst1q_s32(to.as_mut_ptr().add(x * *step + first + 4 * q), sums) };
            }
        }
        Output::Bytes { bytes: to, step } => {
            let requant = row.requant;
            // SAFETY: the scales of whole blocks are there.
            let bytes =
                unsafe { bytes(sums, requant.scale.as_ptr().add(first), requant.zero, requant.clamp) };
            let outputs = (row.weights.outputs() - first).min(BLOCK);
            put(&mut to[x * *step + first..][..outputs], bytes);
        }
    }
}
