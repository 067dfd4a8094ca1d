//! Settings of the losses beyond the supervised ones.

use serde::{Deserialize, Serialize};

use super::Fault;
use crate::dataset::ViewSpec;

/// How gradients become steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// AdamW (Loshchilov & Hutter, Decoupled Weight Decay Regularization, 2019, algorithm 2); Adam where the weight
    /// decay is 0.
    #[default]
    #[serde(rename = "adamw")]
    AdamW,
    /// Gradient descent with momentum 0.9, decoupled weight decay as above.
    Sgd,
}

/// How images without masks are used (UniMatch, Yang et al. 2023, arXiv:2208.09910).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConsistencySpec {
    /// Weight of the whole loss beside the supervised one.
    pub weight: f64,
    /// The teacher is sure of a pixel from this probability on, or up to 1 minus it; above 0.5, below 1.
    pub confidence: f64,
    /// Steps over which the weight rises from 0: at first the teacher knows nothing.
    pub ramp: u64,
    /// The classes that it is about, by label; empty: all. A rare or faint class is best left out: the teacher is seldom
    /// sure of its presence and often of its absence, until it is found nowhere.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<String>,
    /// Share of feature channels dropped in a stream of its own, 0..1; 0: no such stream.
    pub feature_dropout: f64,
    /// The images.
    pub views: ViewSpec,
}

impl Default for ConsistencySpec {
    fn default() -> Self {
        Self {
            weight: 0.5,
            confidence: 0.95,
            ramp: 100,
            classes: Vec::new(),
            feature_dropout: 0.5,
            views: ViewSpec::default(),
        }
    }
}

impl ConsistencySpec {
    /// The first field that cannot work, and why.
    pub(super) fn fault(&self) -> Option<Fault> {
        let [low, high] = self.views.cutmix_area;
        [
            ("weight", self.weight.is_finite() && self.weight >= 0.0, "must not be negative"),
            ("confidence", self.confidence > 0.5 && self.confidence < 1.0, "must lie above 0.5 and below 1"),
            ("feature_dropout", (0.0..1.0).contains(&self.feature_dropout), "must lie in 0..1"),
            ("views.batch", (2..=1024).contains(&self.views.batch), "must lie in 2..=1024"),
            ("views.views", (1..=8).contains(&self.views.views), "must lie in 1..=8"),
            ("views.cutmix", (0.0..=1.0).contains(&self.views.cutmix), "must lie in 0..=1"),
            ("views.cutmix_area", 0.0 < low && low <= high && high <= 1.0, "must be a rising pair in 0..=1"),
        ]
        .into_iter()
        .find_map(|(field, holds, reason)| (!holds).then_some((field, reason)))
    }
}

/// How a student imitates teachers (Hinton et al. 2015, arXiv:1503.02531).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DistillationSpec {
    /// Weight beside the supervised loss.
    pub weight: f64,
    /// Temperature T that logits are divided by, above 0.
    pub temperature: f64,
    /// Whether images without masks are imitated too, with `[consistency]`'s views and weight: every class by the
    /// teachers' probabilities as they are, instead of the sure ones alone as if they were masks.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub unlabeled: bool,
    /// The classes that are imitated, by label; empty: all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<String>,
}

impl Default for DistillationSpec {
    fn default() -> Self {
        Self { weight: 1.0, temperature: 2.0, unlabeled: false, classes: Vec::new() }
    }
}

impl DistillationSpec {
    /// The first field that cannot work, and why.
    pub(super) fn fault(&self) -> Option<Fault> {
        [
            ("weight", self.weight.is_finite() && self.weight >= 0.0, "must not be negative"),
            ("temperature", self.temperature.is_finite() && self.temperature > 0.0, "must be above 0"),
        ]
        .into_iter()
        .find_map(|(field, holds, reason)| (!holds).then_some((field, reason)))
    }
}
