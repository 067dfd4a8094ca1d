use std::path::PathBuf;

/// Why a report was not written.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// A file cannot be written.
    #[error("failed to write {path}: {source}; check free space and permissions")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file cannot be read.
    #[error("failed to read {path}: {source}; check permissions, or remove its step's folder and run again")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file that holds something else.
    #[error("{path} is not what a step writes: {reason}; remove its folder and run again")]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A folder without a training.
    #[error(
        "{path} holds no history.csv; give the folder of a training: of pretrain, train, classifier or edges"
    )]
    NoTraining {
        /// The folder.
        path: PathBuf,
    },
    /// A history that cannot be read.
    #[error(transparent)]
    History(#[from] crate::train::HistoryError),
    /// The drawing library refused.
    #[error("failed to draw {what}: {reason}")]
    Draw {
        /// The picture.
        what: String,
        /// What it said.
        reason: String,
    },
    /// The configuration does not fit into TOML.
    #[error("failed to write the configuration as TOML: {0}; numbers of TOML end at 2^63 - 1")]
    Config(#[from] toml::ser::Error),
}
