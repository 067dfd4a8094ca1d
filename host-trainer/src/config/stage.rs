use std::fmt;

use serde::{Deserialize, Serialize};

use super::{ConfigError, Method};

/// A part of the training with its own images, length and learning rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Phantoms only.
    Pretrain,
    /// Expert masks and pseudo-masks, with a share of phantoms.
    Train,
    /// Image-level labels.
    Classifier,
    /// IRNet's edges.
    Edges,
}

impl Stage {
    /// Those that train a segmenter.
    pub const SEGMENTERS: [Self; 2] = [Self::Pretrain, Self::Train];

    /// Where its settings stand in a configuration.
    pub fn key(self) -> &'static str {
        match self {
            Self::Pretrain => "pretrain",
            Self::Train => "train",
            Self::Classifier => "classifier.training",
            Self::Edges => "irnet.training",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pretrain => "pretrain",
            Self::Train => "train",
            Self::Classifier => "classifier",
            Self::Edges => "edges",
        })
    }
}

/// Length, optimizer and loss of a stage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StageSpec {
    /// Optimizer steps.
    pub steps: u64,
    /// Images a step.
    pub batch: usize,
    /// Share of draws that are phantoms, 0..=1. The stage `pretrain` draws phantoms only.
    pub phantom_share: f64,
    /// Probability that a radiograph is one with an expert's mask, where there are pseudo-masks too, 0..=1.
    pub strong_weight: f64,
    /// Whether weak images whose label says that a class is absent teach an empty mask of it (design §5.2's gating,
    /// without saliency). They are drawn as images with pseudo-masks are, by `strong_weight`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub negatives: bool,
    /// Probability that devices of a phantom are drawn onto a radiograph whose mask of that class is known, 0..=1.
    #[serde(skip_serializing_if = "is_zero")]
    pub drawn_devices: f64,
    /// How gradients become steps.
    pub optimizer: Method,
    /// Highest learning rate.
    pub learning_rate: f64,
    /// Learning rate at the end, as a share of the highest.
    pub final_share: f64,
    /// Steps of linear warm-up.
    pub warmup: u64,
    /// Decoupled weight decay (AdamW), of convolution weights only.
    pub weight_decay: f64,
    /// Largest norm of the whole gradient.
    pub clip_norm: f64,
    /// Decay of the moving average of weights that is validated and exported.
    pub ema_decay: f64,
    /// Weight of the binary cross-entropy.
    pub bce_weight: f64,
    /// Weight of the Dice loss.
    pub dice_weight: f64,
    /// Weight of the auxiliary head's loss, where the network has that head.
    pub auxiliary_weight: f64,
    /// Validations without a better one after which the training ends; 0: it goes on to the last step.
    pub patience: u64,
    /// How many of the best models are kept.
    pub keep: usize,
    /// Half precision where the device is a GPU.
    pub amp: bool,
    /// Steps between validations.
    pub validate_every: u64,
    /// Steps between checkpoints.
    pub checkpoint_every: u64,
    /// Steps between lines of progress.
    pub log_every: u64,
}

impl Default for StageSpec {
    fn default() -> Self {
        Self {
            steps: 1000,
            batch: 8,
            phantom_share: 0.0,
            strong_weight: 0.9,
            negatives: false,
            drawn_devices: 0.0,
            optimizer: Method::AdamW,
            learning_rate: 1e-3,
            final_share: 0.01,
            warmup: 50,
            weight_decay: 0.01,
            clip_norm: 5.0,
            ema_decay: 0.99,
            bce_weight: 1.0,
            dice_weight: 1.0,
            auxiliary_weight: 0.1,
            patience: 0,
            keep: 1,
            amp: false,
            validate_every: 100,
            checkpoint_every: 50,
            log_every: 10,
        }
    }
}

impl StageSpec {
    pub(super) fn validate(&self, stage: Stage) -> Result<(), ConfigError> {
        let share = |v: f64| (0.0..=1.0).contains(&v);
        let positive = |v: f64| v.is_finite() && v > 0.0;
        let not_negative = |v: f64| v.is_finite() && v >= 0.0;
        let rules: [(&str, bool, &str); 16] = [
            ("steps", self.steps > 0, "must be above 0"),
            (
                "batch",
                (2..=1024).contains(&self.batch),
                "must be 2..=1024; batch normalization needs two images",
            ),
            ("phantom_share", share(self.phantom_share), "must lie in 0..=1"),
            ("strong_weight", share(self.strong_weight), "must lie in 0..=1"),
            ("drawn_devices", share(self.drawn_devices), "must lie in 0..=1"),
            ("auxiliary_weight", not_negative(self.auxiliary_weight), "must not be negative"),
            ("keep", (1..=100).contains(&self.keep), "must lie in 1..=100"),
            ("learning_rate", positive(self.learning_rate), "must be above 0"),
            ("final_share", share(self.final_share), "must lie in 0..=1"),
            ("weight_decay", not_negative(self.weight_decay), "must not be negative"),
            ("clip_norm", positive(self.clip_norm), "must be above 0"),
            ("ema_decay", (0.0..1.0).contains(&self.ema_decay), "must lie in 0..1"),
            ("bce_weight", not_negative(self.bce_weight), "must not be negative"),
            ("dice_weight", not_negative(self.dice_weight), "must not be negative"),
            ("bce_weight + dice_weight", self.bce_weight + self.dice_weight > 0.0, "must be above 0"),
            (
                "validate_every, checkpoint_every, log_every",
                self.validate_every.min(self.checkpoint_every).min(self.log_every) > 0,
                "must be above 0",
            ),
        ];
        match rules.into_iter().chain(self.idle(stage)).find(|(_, holds, _)| !holds) {
            Some((field, _, reason)) => Err(ConfigError::Field {
                field: format!("{}.{field}", stage.key()),
                reason: reason.to_owned(),
            }),
            None => Ok(()),
        }
    }

    /// Settings that a stage has no use for must be left alone: who writes one expects something of it.
    fn idle(&self, stage: Stage) -> Vec<(&'static str, bool, &'static str)> {
        let usual = Self::default();
        let mixing = [
            ("phantom_share", self.phantom_share == usual.phantom_share),
            ("strong_weight", self.strong_weight == usual.strong_weight),
            ("negatives", self.negatives == usual.negatives),
            ("drawn_devices", self.drawn_devices == usual.drawn_devices),
        ];
        let losses = [
            ("bce_weight", self.bce_weight == usual.bce_weight),
            ("dice_weight", self.dice_weight == usual.dice_weight),
            ("auxiliary_weight", self.auxiliary_weight == usual.auxiliary_weight),
        ];
        let patience = [("patience", self.patience == usual.patience)];
        let idle: Vec<(&str, bool)> = match stage {
            Stage::Train => Vec::new(),
            Stage::Pretrain => mixing.to_vec(),
            Stage::Classifier => [&mixing[..], &losses].concat(),
            // Nothing is validated.
            Stage::Edges => [&mixing[..], &losses, &patience].concat(),
        };
        idle.into_iter()
            .map(|(field, usual)| (field, usual, "has no effect in this stage; remove it"))
            .collect()
    }

    /// Without the fields that do not touch the weights.
    pub(super) fn shaping(&self) -> Self {
        // Not `validate_every`: it says which weights can become the best.
        let Self { checkpoint_every, log_every, keep, .. } = Self::default();
        Self { checkpoint_every, log_every, keep, ..self.clone() }
    }
}

fn is_zero(value: &f64) -> bool {
    *value == 0.0
}
