//! What steps left in their folders beside figures. Steps of older versions left less, so each may be missing.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use super::view::View;
use crate::report::ReportError;

/// Reads a list of one kind from the evaluation of each training of an arm; trainings without it are left out.
pub(super) fn of_evaluations<T: DeserializeOwned>(
    view: &View<'_>,
    (arm, budget): (&str, usize),
    file: &str,
) -> Result<Vec<(String, Vec<T>)>, ReportError> {
    let mut found = Vec::new();
    for (name, tag) in view.runs(arm, budget) {
        if let Some(folder) = view.results.folders.get(&format!("evaluation-{tag}"))
            && let Some(list) = read(&folder.join(file))?
        {
            found.push((name, list));
        }
    }
    Ok(found)
}

/// Reads a list; none if there is no such file.
pub(super) fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<Vec<T>>, ReportError> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(ReportError::Read { path: path.to_owned(), source }),
    };
    let format =
        |error: serde_json::Error| ReportError::Format { path: path.to_owned(), reason: error.to_string() };
    serde_json::from_slice(&bytes).map(Some).map_err(format)
}

/// Folders of the steps that make pseudo-masks, by name.
pub(super) fn pseudo_folders<'a>(view: &View<'a>) -> Vec<(&'a str, &'a PathBuf)> {
    let steps = view.results.pseudo.iter();
    steps.filter_map(|(step, _)| Some((step.as_str(), view.results.folders.get(step)?))).collect()
}
