//! Tensors with a description in one safetensors file, which is whole or not there.

use std::collections::HashMap;
use std::path::Path;

use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{CheckpointError, atomic};
use crate::net::Params;

/// Writes tensors of several groups (prefix and parameters), with `state` as JSON under `what` in the metadata.
pub(crate) fn save_with_metadata(
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
pub(crate) fn load_with_metadata<T: DeserializeOwned>(
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
