use std::path::{Path, PathBuf};

/// The folder of one stage's training.
///
/// ```text
/// OUT/config.toml           the configuration as it was read
/// OUT/latest.safetensors    checkpoint: what --resume goes on from
/// OUT/best.safetensors      model file: averaged weights of the best validation
/// OUT/best-STEP.safetensors the best few of them, where the stage keeps more than one
/// OUT/final.safetensors     model file: averaged weights of the last step, whatever validation says of them
/// OUT/history.csv           loss, learning rate, validation by step
/// OUT/events.jsonl          the same, one object a line, as it happens
/// OUT/events.out.tfevents.* the same for TensorBoard
/// OUT/curves.svg            the same as a picture
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunDir(PathBuf);

impl RunDir {
    /// The run in this folder.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The configuration as it was read.
    pub fn config(&self) -> PathBuf {
        self.0.join("config.toml")
    }

    /// The checkpoint.
    pub fn latest(&self) -> PathBuf {
        self.0.join("latest.safetensors")
    }

    /// The best model.
    pub fn best(&self) -> PathBuf {
        self.0.join("best.safetensors")
    }

    /// The model of the last step.
    pub fn final_model(&self) -> PathBuf {
        self.0.join("final.safetensors")
    }

    /// One of the best models, by its step.
    pub fn kept(&self, step: u64) -> PathBuf {
        self.0.join(format!("best-{step}.safetensors"))
    }

    /// Removes all models, for a training that begins anew.
    pub fn remove_models(&self) -> std::io::Result<()> {
        let Ok(entries) = std::fs::read_dir(&self.0) else { return Ok(()) };
        for entry in entries {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let is_model = name.starts_with("best") || name.starts_with("final");
            if is_model && name.ends_with(".safetensors") {
                std::fs::remove_file(path)?;
            }
        }
        Ok(())
    }

    /// Loss, learning rate and validation by step.
    pub fn history(&self) -> PathBuf {
        self.0.join("history.csv")
    }

    /// Picture of the history.
    pub fn curves(&self) -> PathBuf {
        self.0.join("curves.svg")
    }
}
