//! Lowers QDQ graphs that tract-onnx loads to fused 8-bit operators. README.md beside this tells how to use it.

// Until the parts are joined.
#![allow(dead_code)]

mod error;
mod graph;
mod isa;
mod kernels;
mod lower;
mod onnx;
mod pool;
mod port;
mod program;

pub use error::LowerError;
pub use isa::{Isa, IsaError};
pub use pool::Pool;
