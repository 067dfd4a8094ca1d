//! Quality of masks, by the protocols of the field, with intervals.
//!
//! ```text
//! expert masks + predicted masks (source pixels) ─► ImageCounts (pixels, at source and at model size)
//! ImageCounts of a split ─► Statistic (protocol × metric × class) ─► bootstrap over patients ─► Report
//! ```
//!
//! Predictions come from a network through the device's own postprocessing, or from a folder of mask pictures
//! that the device wrote, so that a shipped graph is judged by what its engine really puts out.

mod bootstrap;
mod counts;
mod error;
mod mask_folder;
mod protocol;
mod report;
mod thresholds;

#[cfg(feature = "torch")]
mod predictor;

pub use bootstrap::{Interval, RESAMPLES, bootstrap};
pub use counts::{ClassCounts, Counts, ImageCounts, Judge};
pub use error::EvaluateError;
pub use mask_folder::MaskFolder;
pub use protocol::{Measure, Protocol, statistic};
pub use report::{ALL_SOURCES, MEAN_CLASS, Report, ReportRow};
pub use thresholds::{CANDIDATES, ThresholdSearch};

#[cfg(feature = "torch")]
pub use predictor::Predictor;
