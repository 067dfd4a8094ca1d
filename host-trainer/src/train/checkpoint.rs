use std::collections::HashMap;
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::atomic;
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
    /// Best validation so far.
    pub best: Option<BestSoFar>,
}

/// The best validation of a training.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BestSoFar {
    /// After this many steps.
    pub step: u64,
    /// Mean over classes of dataset-level IoU.
    pub mean_iou: f64,
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

/// Writes tensors of several groups (prefix and parameters), with `state` as JSON under `what` in the metadata.
pub(super) fn save_with_metadata(
    path: &Path,
    groups: &[(&str, &Params)],
    what: &'static str,
    state: &impl Serialize,
) -> Result<(), CheckpointError> {
    let state = serde_json::to_string(state).expect("states are plain data with text keys");
    let raw: Vec<(String, &[usize], Vec<u8>)> = groups
        .iter()
        .flat_map(|(group, params)| {
            params.iter().map(move |(name, tensor)| {
                let bytes = tensor.data.iter().flat_map(|v| v.to_le_bytes()).collect();
                (format!("{group}{name}"), tensor.shape.as_slice(), bytes)
            })
        })
        .collect();
    let views = raw.iter().map(|(name, shape, bytes)| {
        let view = TensorView::new(Dtype::F32, shape.to_vec(), bytes);
        (name.as_str(), view.expect("four bytes a value by construction"))
    });
    let metadata = HashMap::from([(what.to_owned(), state)]);
    let bytes = serialize(views, Some(metadata)).expect("tensors of known size always serialize");
    atomic::write(path, &bytes).map_err(|source| CheckpointError::Write { path: path.to_owned(), source })
}

/// Reads what [`save_with_metadata`] wrote; names keep their prefixes.
pub(super) fn load_with_metadata<T: DeserializeOwned>(
    path: &Path,
    what: &'static str,
) -> Result<(Params, T), CheckpointError> {
    let bytes =
        std::fs::read(path).map_err(|source| CheckpointError::Read { path: path.to_owned(), source })?;
    let tensors = Params::from_bytes(&bytes)
        .map_err(|source| CheckpointError::Tensors { path: path.to_owned(), source })?;
    let foreign = |reason: String| CheckpointError::Foreign { path: path.to_owned(), what, reason };
    let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|error| foreign(error.to_string()))?;
    let json = header.metadata().as_ref().and_then(|map| map.get(what));
    let json = json.ok_or_else(|| foreign(format!("its metadata has no \"{what}\"")))?;
    let state = serde_json::from_str(json).map_err(|error| foreign(error.to_string()))?;
    Ok((tensors, state))
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
            best: Some(BestSoFar { step: 5, mean_iou: 0.5 }),
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
