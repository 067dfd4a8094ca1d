use std::path::Path;

use serde::{Deserialize, Serialize};
use shared::manifest::TrainingRecord;
use shared::preprocess::PreprocessSpec;

use super::CheckpointError;
use super::tensors::{load_with_metadata, save_with_metadata};
use crate::config::{Config, Stage};
use crate::net::{Graph, Params};

const WHAT: &str = "model";

/// What a trained network is, beside its weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelInfo {
    /// The network.
    pub graph: Graph,
    /// Labels of its outputs.
    pub labels: Vec<String>,
    /// How pixels become its input.
    pub preprocess: PreprocessSpec,
    /// The stage that trained it last.
    pub stage: Stage,
    /// Steps of that stage.
    pub step: u64,
    /// Steps of all stages.
    pub total_steps: u64,
    /// Seed of the run.
    pub seed: u64,
    /// Networks that it imitated in that stage.
    #[serde(default)]
    pub teachers: usize,
    /// Whether pseudo-masks taught it in that stage.
    #[serde(default)]
    pub pseudo_masks: bool,
    /// Averaged with the weights that the stage began with: the share of those that it ended with; none: not averaged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<f64>,
    /// How the weights came about, where no training here ended with them: what the bundle says that they were taken out of, or
    /// what is known of an ensemble's members.
    #[serde(default, alias = "recovered", skip_serializing_if = "Option::is_none")]
    pub record: Option<TrainingRecord>,
    /// Scores on the validation images by label: dataset-level IoU at the best threshold (in models before 0.2 at 0.5), or a classifier's AUROC; none:
    /// no image allows one.
    #[serde(alias = "validation_iou")] // its name in models of 0.1.0 before classifiers
    pub validation: Vec<Option<f64>>,
}

/// Weights (the moving average) with all that is needed to run them: one self-describing safetensors file.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelFile {
    /// What it is.
    pub info: ModelInfo,
    /// Weights and running statistics.
    pub params: Params,
}

/// A model that was made for something else.
#[derive(Debug, thiserror::Error)]
#[error(
    "the model's {what} is {found}, here it must be {expected}; use the configuration that it was trained with, or train anew"
)]
pub struct Misfit {
    /// What differs.
    pub what: &'static str,
    /// The model's.
    pub found: String,
    /// What is asked for.
    pub expected: String,
}

impl ModelInfo {
    /// Checks that one of these stages made the model, for the configuration's labels and its preprocessing.
    pub fn require(&self, config: &Config, stages: &[Stage]) -> Result<(), Misfit> {
        self.require_input(config, stages)?;
        let labels = config.labels_of(self.stage);
        if self.labels != labels {
            let (found, expected) = (self.labels.join(", "), labels.join(", "));
            return Err(Misfit { what: "list of labels", found, expected });
        }
        Ok(())
    }

    /// For each of the configuration's classes the model's output plane; 0 where it does not know the class.
    #[cfg(feature = "torch")]
    pub(crate) fn planes_of(&self, config: &Config) -> Vec<usize> {
        let plane = |label: &String| self.labels.iter().position(|known| known == label).unwrap_or(0);
        config.labels().iter().map(plane).collect()
    }

    /// Checks that one of these stages made the model, for the configuration's preprocessing.
    pub(crate) fn require_input(&self, config: &Config, stages: &[Stage]) -> Result<(), Misfit> {
        let misfit = |what, found, expected| Err(Misfit { what, found, expected });
        if !stages.contains(&self.stage) {
            let expected: Vec<String> = stages.iter().map(Stage::to_string).collect();
            return misfit("stage", self.stage.to_string(), expected.join(" or "));
        }
        if self.preprocess != config.preprocess {
            let text = |spec| toml::to_string(spec).unwrap_or_default().trim_end().replace('\n', "; ");
            return misfit("preprocessing", text(&self.preprocess), text(&config.preprocess));
        }
        Ok(())
    }
}

impl ModelFile {
    /// Reads a file that fits as [`ModelInfo::require`] says.
    pub fn load_for(path: &Path, config: &Config, stages: &[Stage]) -> Result<Self, CheckpointError> {
        let model = Self::load(path)?;
        let other = |source| CheckpointError::Misfit { path: path.to_owned(), source };
        model.info.require(config, stages).map_err(other)?;
        Ok(model)
    }

    /// Writes the file atomically.
    pub fn save(&self, path: &Path) -> Result<(), CheckpointError> {
        save_with_metadata(path, &[("", &self.params)], WHAT, &self.info)
    }

    /// Reads a file; its tensors are exactly those of its graph.
    pub fn load(path: &Path) -> Result<Self, CheckpointError> {
        let (params, info): (_, ModelInfo) = load_with_metadata(path, WHAT)?;
        let foreign = |reason: String| CheckpointError::Foreign { path: path.to_owned(), what: WHAT, reason };
        info.graph.validate().map_err(|error| foreign(error.to_string()))?;
        params
            .check(&info.graph)
            .map_err(|source| CheckpointError::Mismatch { path: path.to_owned(), source })?;
        Ok(Self { info, params })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::{GraphBuilder, he_init};

    #[test]
    #[cfg(feature = "torch")]
    fn models_of_other_stages_labels_and_preprocessing_are_refused() {
        let config = crate::config::tiny("");
        let info = |stage| ModelInfo {
            graph: config.graph(),
            labels: config.labels(),
            preprocess: config.preprocess.clone(),
            stage,
            step: 1,
            total_steps: 1,
            seed: 1,
            teachers: 0,
            pseudo_masks: false,
            share: None,
            record: None,
            validation: Vec::new(),
        };
        info(Stage::Train).require(&config, &[Stage::Train]).unwrap();
        let refused = |info: ModelInfo| info.require(&config, &[Stage::Train]).unwrap_err().what;
        assert_eq!(refused(info(Stage::Classifier)), "stage");
        let labels = vec!["rib".into()];
        assert_eq!(refused(ModelInfo { labels, ..info(Stage::Train) }), "list of labels");
        let preprocess = PreprocessSpec { input_size: 128, ..config.preprocess.clone() };
        assert_eq!(refused(ModelInfo { preprocess, ..info(Stage::Train) }), "preprocessing");
    }

    #[test]
    fn round_trip_keeps_graph_and_weights() {
        let (mut g, x) = GraphBuilder::new("tiny", 1);
        let y = g.conv("head", x, 1, 1, |c| c.bias = true);
        let graph = g.finish(&[y]);
        let params = he_init(&graph, 1);
        let info = ModelInfo {
            graph,
            labels: vec!["heart".into()],
            preprocess: PreprocessSpec::default(),
            stage: Stage::Pretrain,
            step: 3,
            total_steps: 3,
            seed: 1,
            teachers: 0,
            pseudo_masks: false,
            share: None,
            record: None,
            validation: vec![Some(0.25)],
        };
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("best.safetensors");
        let written = ModelFile { info, params };
        written.save(&path).unwrap();
        assert_eq!(ModelFile::load(&path).unwrap(), written);
    }
}
