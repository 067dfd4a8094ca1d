//! Writes networks as ONNX files: opset 17, IR version 8, one static input `image` and one output `logits`.
//!
//! `proto` is the part of ONNX's protobuf schema that is needed, `builder` collects nodes and constants, `writer`
//! says what each [`Op`](crate::net::Op) becomes; `reader` takes weights back out of a file.

// Two attributes, because clippy takes a module for a test by a plain `cfg(test)` only.
#[cfg(test)]
#[cfg(feature = "torch")]
mod agreement;
mod builder;
pub mod proto;
mod reader;
mod writer;

pub use reader::{ReadError, read_convolutions};
pub use writer::{INPUT, ModelInfo, OUTPUT, OnnxError, write_f32, write_qdq};
