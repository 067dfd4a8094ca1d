use shared::preprocess::PreprocessSpec;

use crate::config::{Config, Stage, StageSpec};
use crate::net::Graph;

/// What is trained and how long, apart from the images.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    /// The stage.
    pub stage: Stage,
    /// Length and optimizer.
    pub spec: StageSpec,
    /// The network.
    pub graph: Graph,
    /// Parameters whose names begin so stay as they are.
    pub frozen: Option<&'static str>,
    /// What each score of a validation is of.
    pub labels: Vec<String>,
    /// What the scores are, for headings: `iou` or `auroc`.
    pub metric: &'static str,
    /// Seed of weights, order, augmentation and dropout.
    pub seed: u64,
    /// Networks that are imitated; for the record.
    pub teachers: usize,
    /// Whether pseudo-masks teach; for the record.
    pub pseudo_masks: bool,
    /// A checkpoint goes on only under the digest that it was written under.
    pub digest: String,
    /// How pixels become the network's input.
    pub preprocess: PreprocessSpec,
    /// The configuration, to be kept beside the weights.
    pub config: String,
}

impl Job {
    /// The job of a stage.
    pub fn new(config: &Config, stage: Stage) -> Self {
        let (frozen, metric) = match stage {
            Stage::Pretrain | Stage::Train => (None, "iou"),
            Stage::Classifier => (None, "auroc"),
            Stage::Edges => (Some("encoder."), "score"),
        };
        Self {
            stage,
            spec: config.stage(stage).clone(),
            graph: config.graph_of(stage),
            frozen,
            labels: config.labels_of(stage),
            metric,
            seed: config.seed,
            teachers: 0,
            pseudo_masks: false,
            digest: config.digest(stage),
            preprocess: config.preprocess.clone(),
            config: toml::to_string_pretty(config)
                .expect("a configuration that was read from TOML goes back into it"),
        }
    }
}
