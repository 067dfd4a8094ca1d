use std::fs;
use std::path::Path;

use super::{ExportError, Rung};
use crate::examine::Agent;

/// Rounds over all forms, so that a busy moment hits all of them.
const ROUNDS: usize = 3;
/// Runs a round.
const RUNS: usize = 7;

/// Times every form on the device's engine with one thread: the least of the rounds' medians.
pub(super) fn time(agent: &Agent, rungs: &mut [Rung]) -> Result<(), ExportError> {
    let file = std::env::temp_dir().join(format!("chexseg-{}.onnx", std::process::id()));
    let measured = time_through(agent, &file, rungs);
    // Whatever happened; what cannot be removed there is the system's to clear.
    let _ = fs::remove_file(&file);
    measured
}

fn time_through(agent: &Agent, file: &Path, rungs: &mut [Rung]) -> Result<(), ExportError> {
    for _ in 0..ROUNDS {
        for rung in &mut *rungs {
            fs::write(file, &rung.bytes)
                .map_err(|source| ExportError::Io { path: file.to_owned(), source })?;
            let ms = agent.bench(file, RUNS)?;
            rung.latency_ms = Some(rung.latency_ms.map_or(ms, |least| least.min(ms)));
        }
    }
    Ok(())
}
