//! CheXlocalize's JSON files and the figures of its `eval.py`, to the last digit.
//!
//! Facts from <https://github.com/rajpurkarlab/cheXlocalize> at revision a9619f8 (Saporta et al. 2022, Nature
//! Machine Intelligence 4:867):
//!
//! - Ground truth and predictions are JSON: image id → pathology → COCO run-length code.
//! - IoU by image. With `true_pos_only` (protocol `chexlocalize`): over the images of the ground truth, without
//!   those where either mask is empty. Without (`chexlocalize-full`): over the images of either file, without
//!   those where both masks are empty. An image that a file lacks has an empty mask there.
//! - 1000 replicates draw that many images, in the order of their ids, with
//!   `numpy.random.choice(n, size=n, replace=True)` from seed 0. The ends of the interval are the 25th and the
//!   975th replicate in order; replicates without a figure come last. The script prints the mean of the
//!   replicates rounded to three digits, which is [`Estimate::bootstrap_mean`] here.
//! - Hit rate: over images whose ground truth is not empty, the share where the most salient point (or any of
//!   several) lies in it.
//!
//! What the script does not have: Dice, the mean over pathologies, and the protocol `dataset` (ΣI/ΣU over the
//! images of either file, at their own resolution). These are bootstrapped by the same replicates.

mod error;
mod estimate;
mod hits;
mod json;
mod resample;
mod scores;
mod segmentations;

pub use error::ChexlocalizeError;
pub use estimate::{CHEXLOCALIZE_RESAMPLES, Estimate};
pub use hits::{HitRates, HitRow, SalientPoints, hit_rates};
pub use scores::{ScoreRow, Scores, score};
pub use segmentations::Segmentations;

/// An image and one of its pathologies.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Entry {
    /// Id of the image.
    pub image: String,
    /// Pathology.
    pub pathology: String,
}
