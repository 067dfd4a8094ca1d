use std::collections::BTreeMap;
use std::env::consts::EXE_SUFFIX;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use sha2::{Digest as _, Sha256};
use shared::message::{Message as _, ResultEnvelope};
use shared::uid::Uid;

use super::ExamineError;

/// The device's own program. Trainer and agent share the contract and nothing else, so what the agent makes of an image
/// is asked of `edge-agent` itself.
#[derive(Clone, Debug)]
pub struct Agent {
    program: PathBuf,
    threads: usize,
}

/// Files of one call: command lines have an end.
const FILES: usize = 64;

#[derive(serde::Deserialize)]
struct Bench {
    infer: Infer,
}

#[derive(serde::Deserialize)]
struct Infer {
    p50_ms: f64,
}

impl Agent {
    /// The program that was named, else the one beside this program, if there is one.
    pub fn find(named: Option<&Path>) -> Option<Self> {
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        if let Some(program) = named {
            return Some(Self { program: program.to_owned(), threads });
        }
        let beside = std::env::current_exe().ok()?.with_file_name(format!("edge-agent{EXE_SUFFIX}"));
        beside.is_file().then_some(Self { program: beside, threads })
    }

    /// Median milliseconds of a graph on the agent's engine with one thread.
    pub fn bench(&self, onnx: &Path, runs: usize) -> Result<f64, ExamineError> {
        let runs = runs.to_string();
        let mut command = Command::new(&self.program);
        command.args(["bench", "--json", "--iterations", &runs, "--onnx"]).arg(onnx);
        let output = self.output(&mut command)?;
        if !output.status.success() {
            return Err(self.failed(said(&output)));
        }
        let bench: Bench =
            serde_json::from_slice(&output.stdout).map_err(|error| self.failed(error.to_string()))?;
        Ok(bench.infer.p50_ms)
    }

    /// What the agent makes of picture files (not DICOM): a result a file that it could analyse.
    pub fn infer(
        &self,
        bundle: &Path,
        pictures: &[PathBuf],
    ) -> Result<BTreeMap<PathBuf, ResultEnvelope>, ExamineError> {
        let mut results = BTreeMap::new();
        for chunk in pictures.chunks(FILES) {
            let threads = self.threads.to_string();
            let mut command = Command::new(&self.program);
            command.args(["infer", "--json", "--allow-unsigned", "--threads", &threads, "--bundle"]);
            command.arg(bundle).args(chunk);
            let output = self.output(&mut command)?;
            let mut by_uid = BTreeMap::new();
            for line in output.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                let result = ResultEnvelope::parse(line).map_err(|error| self.failed(error.to_string()))?;
                by_uid.insert(result.image.sop_instance_uid.clone(), result);
            }
            if by_uid.is_empty() {
                return Err(self.failed(said(&output)));
            }
            for picture in chunk {
                // A picture's identity is its content's.
                let bytes =
                    fs::read(picture).map_err(|source| ExamineError::Io { path: picture.clone(), source })?;
                if let Some(result) = by_uid.get(&Uid::from_content(&Sha256::digest(&bytes).into())) {
                    results.insert(picture.clone(), result.clone());
                }
            }
        }
        Ok(results)
    }

    fn output(&self, command: &mut Command) -> Result<Output, ExamineError> {
        command.output().map_err(|error| self.failed(error.to_string()))
    }

    fn failed(&self, reason: String) -> ExamineError {
        ExamineError::Agent { path: self.program.clone(), reason }
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).trim().to_owned()
}
