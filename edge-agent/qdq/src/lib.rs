#![doc = include_str!("../README.md")]
mod error;
mod graph;
mod isa;
mod kernels;
mod lower;
mod model;
mod onnx;
mod pool;
mod port;
#[doc(hidden)]
pub mod profile;
mod program;
#[cfg(test)]
mod reference;
mod report;
mod rewrite;
mod session;
mod tract;

pub use error::LowerError;
pub use isa::{Isa, IsaError};
pub use model::{LoweredModel, Options, lower};
pub use pool::Pool;
pub use port::{Sink, Source};
pub use report::{LeftNode, LoweredNode, Report};
pub use session::{Element, End, RunError, Session};
