//! Quality of masks, by the protocols of the field, with intervals.
//!
//! ```text
//! expert masks + predicted masks (source pixels) ─► ImageCounts (pixels, at source and at model size)
//! ImageCounts of a split ─► Figure (protocol × measure × classes) ─► bootstrap over patients ─► Report
//! ```
//!
//! Counts can be stored ([`write_counts`]), so that two models are compared later, patient by patient
//! ([`paired_bootstrap`]). Files of CheXlocalize's form are scored by [`chexlocalize`].
//!
//! Predictions come from a network through the device's own postprocessing, or from a folder of mask pictures
//! that the device wrote, so that a shipped graph is judged by what its engine really puts out.

mod bootstrap;
pub mod chexlocalize;
mod counts;
mod counts_file;
mod error;
mod figure;
#[cfg(feature = "torch")]
mod gate;
mod mask_folder;
mod paired;
mod protocol;
mod ranking;
mod reliability;
mod report;
mod subgroups;
mod surface;
mod temperature;
mod thresholds;

#[cfg(feature = "torch")]
mod predictor;

pub use bootstrap::{Bounds, Interval, MIN_PATIENTS, RESAMPLES, bootstrap};
pub use counts::{ClassCounts, Counts, ImageCounts, Judge};
pub use counts_file::{StoredCounts, read_counts, write_counts};
pub use error::EvaluateError;
pub use figure::Figure;
pub use mask_folder::MaskFolder;
pub use paired::{Paired, mean_bootstrap, paired_bootstrap};
pub use protocol::{Measure, Protocol, statistic};
pub use ranking::{CALIBRATION_BINS, Calibration, ReliabilityBin, auroc, calibration};
pub use reliability::{ClassReliability, Reliability};
pub use report::{ALL_SOURCES, MEAN_CLASS, Report, ReportRow, count_images};
pub use subgroups::{SUBGROUP_MIN, subgroups};
pub use surface::{SURFACE_TOLERANCE, SurfaceCounts, surface_tolerance};
pub use temperature::TemperatureSearch;
pub use thresholds::{CANDIDATES, ThresholdCurve, ThresholdSearch, threshold_logits};

#[cfg(feature = "torch")]
pub use predictor::{Fitted, Predictor};
