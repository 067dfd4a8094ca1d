//! How fast training is: a step alone, the loader alone, both together, and the memory they take.
//!
//! [`Bench`] measures one part at a time, so that `benches/compare.py` can let it and PyTorch take turns: on a machine
//! with other work only figures that were taken side by side can be compared.

mod error;
mod memory;
mod report;
mod serve;
mod subject;

pub use error::BenchError;
pub use memory::Memory;
pub use report::{BenchReport, Figure, measure};
pub use serve::serve;
pub use subject::Bench;
