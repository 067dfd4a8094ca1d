use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Machine, PipelineError};
use crate::train::{FolderLock, atomic};

/// The folder of one step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artifact {
    dir: PathBuf,
    key: String,
}

/// What lies in `artifact.json`: written last, so that a folder with it is whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArtifactInfo {
    /// Digest of everything that shaped the step.
    pub key: String,
    /// The step, for people.
    pub step: String,
    /// The settings that went into the key.
    pub settings: serde_json::Value,
    /// Keys of the steps that it read.
    pub inputs: Vec<String>,
    /// Version of the program.
    pub version: String,
    /// Seconds that the last session of the step took.
    pub seconds: u64,
    /// What computed it; steps of older versions do not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<Machine>,
}

const INFO: &str = "artifact.json";
const LOCK: &str = ".lock";

impl Artifact {
    /// The folder of a step below `root`.
    pub fn new(root: &Path, name: &str, key: &str) -> Self {
        Self { dir: root.join(format!("{name}-{}", &key[..10.min(key.len())])), key: key.to_owned() }
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// What lies in `artifact.json`; none if the step is not done.
    pub fn info(&self) -> Result<Option<ArtifactInfo>, PipelineError> {
        let path = self.file(INFO);
        if !path.exists() {
            return Ok(None);
        }
        let bytes = fs::read(&path).map_err(|source| PipelineError::Io { path: path.clone(), source })?;
        let info = serde_json::from_slice(&bytes);
        info.map(Some).map_err(|error| PipelineError::Artifact { path, reason: error.to_string() })
    }

    /// Whether the step is done. A damaged or foreign `artifact.json` is an error, not a reason to overwrite.
    pub fn is_done(&self) -> Result<bool, PipelineError> {
        match self.info()? {
            None => Ok(false),
            Some(info) if info.key == self.key => Ok(true),
            Some(_) => {
                let (path, reason) = (self.file(INFO), "its key is another".to_owned());
                Err(PipelineError::Artifact { path, reason })
            }
        }
    }

    /// Makes the folder and takes its lock; none if another process works on the step.
    pub fn lock(&self) -> Result<Option<FolderLock>, PipelineError> {
        FolderLock::take(&self.dir, LOCK)
            .map_err(|source| PipelineError::Io { path: self.file(LOCK), source })
    }

    /// Marks the step as done.
    pub fn finish(
        &self,
        step: &str,
        settings: serde_json::Value,
        inputs: Vec<String>,
        seconds: u64,
        machine: Machine,
    ) -> Result<(), PipelineError> {
        let info = ArtifactInfo {
            key: self.key.clone(),
            step: step.to_owned(),
            settings,
            inputs,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            seconds,
            machine: Some(machine),
        };
        let path = self.file(INFO);
        atomic::write_json(&path, &info).map_err(|source| PipelineError::Io { path, source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine() -> Machine {
        Machine { device: "cpu".into(), libtorch: Some("2.11.0+cpu".into()), threads: 2 }
    }

    #[test]
    fn a_step_is_done_once_its_mark_is_written_and_one_holder_at_a_time_works_on_it() {
        let root = tempfile::tempdir().unwrap();
        let artifact = Artifact::new(root.path(), "saliency-s17", "0123456789abcdef");
        assert!(!artifact.is_done().unwrap());
        let held = artifact.lock().unwrap();
        assert!(held.is_some());
        assert!(artifact.lock().unwrap().is_none());
        drop(held);
        assert!(artifact.lock().unwrap().is_some());
        artifact.finish("saliency", serde_json::json!({}), vec![], 1, machine()).unwrap();
        assert!(artifact.is_done().unwrap());
        assert_eq!(artifact.info().unwrap().unwrap().machine, Some(machine()));
        // As older versions left it.
        let old = "{\"key\":\"0123456789abcdef\",\"step\":\"a\",\"settings\":{},\"inputs\":[],\"version\":\"0.1.0\",\"seconds\":1}";
        fs::write(artifact.file(INFO), old).unwrap();
        assert!(artifact.is_done().unwrap());
        assert_eq!(artifact.info().unwrap().unwrap().machine, None);
    }

    #[test]
    fn a_mark_of_another_key_or_a_torn_one_is_an_error() {
        let root = tempfile::tempdir().unwrap();
        let artifact = Artifact::new(root.path(), "a", "0123456789abcdef");
        artifact.lock().unwrap();
        // The folder's name holds ten digits of the key only.
        Artifact { key: "0123456789ffffff".into(), ..artifact.clone() }
            .finish("a", serde_json::json!({}), vec![], 1, machine())
            .unwrap();
        assert!(matches!(artifact.is_done(), Err(PipelineError::Artifact { .. })));
        fs::write(artifact.file(INFO), "{\"key\"").unwrap();
        assert!(matches!(artifact.is_done(), Err(PipelineError::Artifact { .. })));
    }
}
