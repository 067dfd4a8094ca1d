//! The contract between CheXseg Edge's trainer and agent.
//!
//! Everything that crosses a wire or a disk ([`message`], [`topic`], [`manifest`], [`bundle`]) and every
//! number that turns pixels into a tensor and logits into masks ([`pixel`], [`preprocess`], [`postprocess`],
//! [`mask`]) stands here once, with what is derived from masks ([`anatomy`], [`measure`], [`quality`]); training
//! and device call the same functions. [`phantom`] draws synthetic
//! radiographs with exact masks for tests, the demo and pretraining.
//!
//! No async runtime, network client, DICOM parser or inference engine may enter this crate.

pub mod anatomy;
pub mod bundle;
pub mod manifest;
pub mod mask;
pub mod measure;
pub mod message;
pub mod phantom;
pub mod pixel;
pub mod postprocess;
pub mod preprocess;
pub mod quality;
pub mod schema;
pub mod topic;
pub mod uid;

/// Counts every change of the arithmetic in [`pixel`], [`preprocess`] and [`postprocess`] that can move a
/// mask. It is part of a result's identity ([`message::result_id`]) and a bundle names the one it was
/// calibrated with. It counts from the first release on.
pub const PIPELINE_VERSION: u32 = 1;
