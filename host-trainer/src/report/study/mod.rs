//! The report of a study: what people read, and the same numbers for programs.

use std::path::Path;

use super::ReportError;
use crate::config::Config;
use crate::pipeline::StudyResults;
use crate::train::atomic;

/// Writes `results.json` into `out`.
pub fn write_study(results: &StudyResults, _config: &Config, out: &Path) -> Result<(), ReportError> {
    let json = serde_json::to_vec_pretty(results).expect("plain data with text keys");
    let path = out.join("results.json");
    atomic::write(&path, &json).map_err(|source| ReportError::Write { path, source })
}
