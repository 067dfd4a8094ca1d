//! Settings of the way from image-level labels to pseudo-masks: classifier, saliency, IRNet.

use serde::{Deserialize, Serialize};

use super::{ConfigError, Fault, Stage, StageSpec};
use crate::irnet::{CrfSpec, WalkSpec};
use crate::net::ClassifierConfig;

/// An image-level label that the classifier learns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FindingConfig {
    /// Its name in the data sets' `findings`.
    pub label: String,
    /// The class whose pseudo-masks its saliency gives; none: it only helps the classifier to learn.
    #[serde(default)]
    pub class: Option<String>,
}

/// The classifier.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClassifierSpec {
    /// The network.
    pub network: ClassifierConfig,
    /// Draws every pair of source and labels equally often. Where one source is mostly positive, a classifier else
    /// learns to tell sources apart, and looks at their corners instead of the finding.
    pub balance_sources: bool,
    /// Share of the weak images' patients to validate on, 0..1; 0: validate on `strong_val`.
    pub holdout: f64,
    /// Length and optimizer. Design §5.1: Adam 1e-4, batch 16, the best by mean AUROC, the best few kept.
    pub training: StageSpec,
}

impl Default for ClassifierSpec {
    fn default() -> Self {
        let training =
            StageSpec { batch: 16, learning_rate: 1e-4, weight_decay: 0.0, keep: 3, ..StageSpec::default() };
        Self { network: ClassifierConfig::default(), balance_sources: false, holdout: 0.0, training }
    }
}

/// Where in the image a finding is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[derive(clap::ValueEnum)]
pub enum Saliency {
    /// Grad-CAM (Selvaraju et al. 2017, arXiv:1610.02391).
    GradCam,
    /// HiResCAM (Draelos & Carin 2020, arXiv:2011.08891).
    HiresCam,
    /// Grad-CAM++ (Chattopadhay et al. 2018, arXiv:1710.11063).
    GradCamPlusPlus,
}

/// Which images' maps become pseudo-masks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[derive(clap::ValueEnum)]
pub enum Gate {
    /// All images', whatever their label says, as in the paper.
    None,
    /// Those of images whose label is positive. A negative label gives an empty mask, an uncertain or unknown one
    /// none (design §5.2).
    #[default]
    Empty,
    /// Those of images whose label is positive; all others take no part. For labels that are no statement about
    /// presence, such as an enlarged heart: a heart of normal size is still there.
    Ignore,
}

/// Pseudo-masks of an arm of a study.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PseudoSpec {
    /// The saliency maps.
    pub saliency: Saliency,
    /// Whether IRNet refines them.
    #[serde(default)]
    pub irnet: bool,
    /// Which images take part.
    #[serde(default)]
    pub gate: Gate,
}

/// IRNet (design §5.3).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct IrnetSpec {
    /// From this share of the map's maximum on, a pixel is foreground before the CRF, 0..1.
    pub foreground: f32,
    /// Below this share, it is background, 0..1 and below `foreground`.
    pub background: f32,
    /// Distance on the edge map within which pairs of pixels teach, 2..=20.
    pub radius: usize,
    /// After the walk, a pixel is foreground above this share of the maximum, 0..1.
    pub threshold: f32,
    /// Draws seeds to the image's own borders.
    pub crf: CrfSpec,
    /// Spreads saliency up to edges.
    pub walk: WalkSpec,
    /// Length and optimizer of the edge net.
    pub training: StageSpec,
}

impl Default for IrnetSpec {
    fn default() -> Self {
        let training = StageSpec {
            steps: 300,
            optimizer: super::Method::Sgd,
            learning_rate: 0.01,
            weight_decay: 1e-4,
            ..StageSpec::default()
        };
        Self {
            foreground: 0.25,
            background: 0.10,
            radius: 10,
            threshold: 0.6,
            crf: CrfSpec::default(),
            walk: WalkSpec::default(),
            training,
        }
    }
}

impl ClassifierSpec {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        let bad = |field: &str, reason: &str| {
            let field = format!("classifier.{field}");
            Err(ConfigError::Field { field, reason: reason.to_owned() })
        };
        if let Some(reason) = self.network.fault() {
            return bad("network", reason);
        }
        if !(0.0..1.0).contains(&self.holdout) {
            return bad("holdout", "must lie in 0..1");
        }
        self.training.validate(Stage::Classifier)
    }
}

impl IrnetSpec {
    /// The first field that cannot work, and why.
    fn fault(&self) -> Option<Fault> {
        let share = |v: f32| v > 0.0 && v < 1.0;
        [
            ("foreground", share(self.foreground), "must lie above 0 and below 1"),
            ("background", share(self.background), "must lie above 0 and below 1"),
            ("background", self.background < self.foreground, "must be below foreground"),
            ("radius", (2..=20).contains(&self.radius), "must lie in 2..=20"),
            ("threshold", share(self.threshold), "must lie above 0 and below 1"),
        ]
        .into_iter()
        .find_map(|(field, holds, reason)| (!holds).then_some((field, reason)))
        .or_else(|| self.crf.fault())
        .or_else(|| self.walk.fault())
    }

    /// What shapes the edge net, beside its training: not what comes after it.
    pub(super) fn shaping(&self) -> serde_json::Value {
        serde_json::json!([self.foreground, self.background, self.radius, self.crf])
    }

    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        if let Some((field, reason)) = self.fault() {
            let field = format!("irnet.{field}");
            return Err(ConfigError::Field { field, reason: reason.to_owned() });
        }
        self.training.validate(Stage::Edges)
    }
}
