use std::path::PathBuf;

use crate::dataset::DatasetError;
use crate::train::TrainError;

/// Why nothing could be measured.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// Without radiographs there is nothing to load.
    #[error("no image is in the split strong_train: a bench needs radiographs with masks")]
    NoImages,
    /// The images.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// A step.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// The system does not tell.
    #[error("failed to read the memory in use from /proc/self/status: {0}")]
    Memory(std::io::Error),
    /// A file cannot be written.
    #[error("failed to write {path}: {source}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The other side of the pipe.
    #[error("failed to talk to whoever drives the bench: {0}")]
    Pipe(std::io::Error),
}
