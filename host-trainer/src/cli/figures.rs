//! Figures for people or as JSON.

use std::path::Path;
use std::process::ExitCode;

use serde::Serialize;

use super::{CliError, say};
use crate::train::atomic;

/// Where `--json` without a file goes.
pub(super) const STDOUT: &str = "-";

/// For people, unless `--json` stands without a file; as JSON where `--json` says.
pub(super) fn show(
    json: Option<&Path>,
    figures: &impl Serialize,
    people: impl FnOnce(),
) -> Result<ExitCode, CliError> {
    let text = || serde_json::to_string_pretty(figures).expect("figures are plain data with text keys");
    match json {
        Some(path) if path == Path::new(STDOUT) => say!("{}", text()),
        Some(path) => {
            people();
            atomic::write(path, text().as_bytes())
                .map_err(|source| CliError::Write { path: path.to_owned(), source })?;
        }
        None => people(),
    }
    Ok(ExitCode::SUCCESS)
}
