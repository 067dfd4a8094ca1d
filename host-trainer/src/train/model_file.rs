use std::path::Path;

use serde::{Deserialize, Serialize};
use shared::preprocess::PreprocessSpec;

use super::CheckpointError;
use super::tensors::{load_with_metadata, save_with_metadata};
use crate::config::Stage;
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
    /// Scores on the validation images by label: dataset-level IoU at threshold 0.5, or a classifier's AUROC; none:
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

impl ModelFile {
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
            validation: vec![Some(0.25)],
        };
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("best.safetensors");
        let written = ModelFile { info, params };
        written.save(&path).unwrap();
        assert_eq!(ModelFile::load(&path).unwrap(), written);
    }
}
