use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Misfit;
use super::tensors::{load_with_metadata, save_with_metadata};
use crate::config::Stage;
use crate::net::{Params, ParamsError};

/// Everything of a training at one step beside the tensors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainState {
    /// Which stage.
    pub stage: Stage,
    /// Steps done: the next batch has this number.
    pub step: u64,
    /// Seed; batch and dropout of a step follow from (seed, step).
    pub seed: u64,
    /// [`crate::config::Config::digest`] under which the weights were trained.
    pub config_digest: String,
    /// SHA-256 of the weights that the stage began with; none: fresh weights.
    pub init_digest: Option<String>,
    /// Steps of the stages that made those weights.
    pub earlier_steps: u64,
    /// Best validations so far, best first; as many as are kept.
    pub best: Vec<BestSoFar>,
}

/// One validation of a training.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BestSoFar {
    /// After this many steps.
    pub step: u64,
    /// Mean over labels of the validation's score.
    pub score: f64,
}

/// A training at one step: one safetensors file, so that it is whole or not there.
///
/// Tensors are named `net/…`, `ema/…`, `adamw.m/…` and `adamw.v/…`; the state is JSON in the file's metadata.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// Step and the like.
    pub state: TrainState,
    /// Weights and running statistics.
    pub net: Params,
    /// Their moving average.
    pub ema: Params,
    /// AdamW's first moments.
    pub first_moment: Params,
    /// AdamW's second moments.
    pub second_moment: Params,
}

/// Why a checkpoint or a model file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The file cannot be read.
    #[error("failed to read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file cannot be written.
    #[error("failed to write {path}: {source}; check free space and permissions")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Its tensors cannot be read.
    #[error("{path} is damaged: {source}; take an older one")]
    Tensors {
        /// The file.
        path: PathBuf,
        /// Why.
        source: ParamsError,
    },
    /// Its state cannot be read.
    #[error("{path} is no {what} of this program: {reason}")]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What it should be.
        what: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// A model for something else.
    #[error("{path}: {source}")]
    Misfit {
        /// The file.
        path: PathBuf,
        /// What differs.
        source: Misfit,
    },
    /// Tensors and network differ.
    #[error("{path}: {source}")]
    Mismatch {
        /// The file.
        path: PathBuf,
        /// Which tensors.
        source: ParamsError,
    },
}

const GROUPS: [&str; 4] = ["net/", "ema/", "adamw.m/", "adamw.v/"];
const WHAT: &str = "checkpoint";

impl Checkpoint {
    /// Writes the file atomically.
    pub fn save(&self, path: &Path) -> Result<(), CheckpointError> {
        let groups = [&self.net, &self.ema, &self.first_moment, &self.second_moment];
        save_with_metadata(path, &GROUPS.into_iter().zip(groups).collect::<Vec<_>>(), WHAT, &self.state)
    }

    /// Reads a file.
    pub fn load(path: &Path) -> Result<Self, CheckpointError> {
        let (tensors, state) = load_with_metadata(path, WHAT)?;
        let [net, ema, first_moment, second_moment] = GROUPS.map(|group| {
            tensors
                .iter()
                .filter_map(|(name, tensor)| Some((name.strip_prefix(group)?.to_owned(), tensor.clone())))
                .collect()
        });
        Ok(Self { state, net, ema, first_moment, second_moment })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::ParamTensor;

    fn checkpoint() -> Checkpoint {
        let params = |value: f32| -> Params {
            [("a.weight".to_owned(), ParamTensor::new(vec![2], vec![value, f32::MIN_POSITIVE]))]
                .into_iter()
                .collect()
        };
        let state = TrainState {
            stage: Stage::Train,
            step: 7,
            seed: 17,
            config_digest: "abc".into(),
            init_digest: None,
            earlier_steps: 0,
            best: vec![BestSoFar { step: 5, score: 0.5 }],
        };
        Checkpoint {
            state,
            net: params(0.1),
            ema: params(0.2),
            first_moment: params(-0.0),
            second_moment: params(1e-30),
        }
    }

    #[test]
    fn round_trip_is_exact() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("latest.safetensors");
        let written = checkpoint();
        written.save(&path).unwrap();
        let read = Checkpoint::load(&path).unwrap();
        assert_eq!(read, written);
        let zero = read.first_moment.get("a.weight").unwrap().data[0];
        assert!(zero.is_sign_negative());
    }

    #[test]
    fn damaged_and_foreign_files_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("latest.safetensors");
        assert!(matches!(Checkpoint::load(&path), Err(CheckpointError::Read { .. })));
        checkpoint().save(&path).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() - 3]).unwrap();
        assert!(matches!(Checkpoint::load(&path), Err(CheckpointError::Tensors { .. })));
        std::fs::write(&path, checkpoint().net.to_bytes()).unwrap();
        let error = Checkpoint::load(&path).unwrap_err();
        assert!(matches!(error, CheckpointError::Foreign { .. }), "{error}");
    }
}
