use std::env::consts::EXE_SUFFIX;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{ExportError, Rung};

/// Rounds over all forms, so that a busy moment hits all of them.
const ROUNDS: usize = 3;
/// Runs a round.
const RUNS: usize = 7;

/// The device's engine as a clock: `edge-agent bench`, a program of its own, since trainer and agent share the contract
/// and nothing else.
#[derive(Clone, Debug)]
pub struct Stopwatch {
    agent: PathBuf,
}

#[derive(serde::Deserialize)]
struct Bench {
    infer: Infer,
}

#[derive(serde::Deserialize)]
struct Infer {
    p50_ms: f64,
}

impl Stopwatch {
    /// The agent that was named, else the one beside this program.
    pub fn find(named: Option<&Path>) -> Option<Self> {
        if let Some(agent) = named {
            return Some(Self { agent: agent.to_owned() });
        }
        let beside = std::env::current_exe().ok()?.with_file_name(format!("edge-agent{EXE_SUFFIX}"));
        beside.is_file().then_some(Self { agent: beside })
    }

    /// Times every form with one thread: the least of the rounds' medians.
    pub(super) fn time(&self, rungs: &mut [Rung]) -> Result<(), ExportError> {
        let file = std::env::temp_dir().join(format!("chexseg-{}.onnx", std::process::id()));
        let measured = self.time_through(&file, rungs);
        // Whatever happened; what cannot be removed there is the system's to clear.
        let _ = fs::remove_file(&file);
        measured
    }

    fn time_through(&self, file: &Path, rungs: &mut [Rung]) -> Result<(), ExportError> {
        for _ in 0..ROUNDS {
            for rung in &mut *rungs {
                fs::write(file, &rung.bytes)
                    .map_err(|source| ExportError::Io { path: file.to_owned(), source })?;
                let ms = self.bench(file)?;
                rung.latency_ms = Some(rung.latency_ms.map_or(ms, |least| least.min(ms)));
            }
        }
        Ok(())
    }

    fn bench(&self, file: &Path) -> Result<f64, ExportError> {
        let failed = |reason: String| ExportError::Agent { path: self.agent.clone(), reason };
        let runs = RUNS.to_string();
        let output = Command::new(&self.agent)
            .args(["bench", "--json", "--iterations", &runs, "--onnx"])
            .arg(file)
            .output()
            .map_err(|error| failed(error.to_string()))?;
        if !output.status.success() {
            return Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
        }
        let bench: Bench =
            serde_json::from_slice(&output.stdout).map_err(|error| failed(error.to_string()))?;
        Ok(bench.infer.p50_ms)
    }
}
