//! Loops over bytes, in every instruction set, each to the last bit what the scalar one computes.
//!
//! Convolutions are written by hand for each set. Everything else is one loop of plain Rust that the compiler makes vectors
//! of, once for each set ([`versions`]).

#[cfg(target_arch = "aarch64")]
mod aarch64;
pub(crate) mod dense;
pub(crate) mod depthwise;
mod requant;
pub(crate) mod rows;
pub(crate) mod stretch;
pub(crate) mod table;
mod versions;

pub(crate) use requant::Requant;
pub(crate) use versions::versions;

/// Channels that one vector of sums holds.
pub(crate) const BLOCK: usize = 16;
