use std::path::PathBuf;

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("failed to read the configuration {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not TOML of this shape; the message shows the line.
    #[error("{path}: {source}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        source: Box<toml::de::Error>,
    },
    /// A value that cannot work.
    #[error("configuration: {field}: {reason}")]
    Field {
        /// The key.
        field: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl ConfigError {
    /// The same of a field below `place`.
    pub(super) fn within(self, place: &str) -> Self {
        match self {
            Self::Field { field, reason } => Self::Field { field: format!("{place}.{field}"), reason },
            other => other,
        }
    }
}
