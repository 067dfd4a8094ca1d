//! The workstation: from radiographs with masks to a bundle for the edge agent.
//!
//! [`config`] says what to do; [`dataset`] imports, draws and varies images; [`net`] describes networks, once for
//! training, folding and export; `train` trains them; [`evaluate`] measures; [`quantize`] finds integer ranges;
//! [`onnx`] writes the graph; `export` makes the bundle, [`bundle`] signs it, `examine` puts it on trial, and [`report`]
//! makes the tables and curves around it all.
//!
//! Whatever runs a network needs libtorch and the feature `torch`; the rest builds without.

#[cfg(feature = "torch")]
pub mod bench;
pub mod bundle;
#[cfg(feature = "torch")]
pub mod classify;
#[cfg(feature = "torch")]
pub mod cli;
pub mod config;
pub mod dataset;
pub mod evaluate;
#[cfg(feature = "torch")]
pub mod examine;
#[cfg(feature = "torch")]
pub mod export;
pub mod irnet;
pub mod net;
pub mod onnx;
#[cfg(feature = "torch")]
pub mod pipeline;
pub mod pseudo;
pub mod quantize;
pub mod report;
#[cfg(feature = "torch")]
pub mod saliency;
pub mod train;
