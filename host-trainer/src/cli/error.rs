use std::path::PathBuf;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] crate::config::ConfigError),
    /// The images.
    #[error(transparent)]
    Dataset(#[from] crate::dataset::DatasetError),
    /// The network's description.
    #[error(transparent)]
    Graph(#[from] crate::net::GraphError),
    /// A training.
    #[error(transparent)]
    Train(#[from] crate::train::TrainError),
    /// A step of an experiment.
    #[error(transparent)]
    Pipeline(#[from] crate::pipeline::PipelineError),
    /// A model file.
    #[error(transparent)]
    Model(#[from] crate::train::CheckpointError),
    /// Figures.
    #[error(transparent)]
    Evaluate(#[from] crate::evaluate::EvaluateError),
    /// A bundle.
    #[error(transparent)]
    Export(Box<crate::export::ExportError>),
    /// An examination.
    #[error(transparent)]
    Examine(#[from] crate::examine::ExamineError),
    /// A signature or a key.
    #[error(transparent)]
    Sign(#[from] crate::bundle::SignError),
    /// A model out of a bundle.
    #[error(transparent)]
    Recover(#[from] crate::train::RecoverError),
    /// A bench.
    #[error(transparent)]
    Bench(#[from] crate::bench::BenchError),
    /// A report.
    #[error(transparent)]
    Report(#[from] crate::report::ReportError),
    /// Signals cannot be handled.
    #[error("failed to install the signal handler: {0}")]
    Signals(#[from] ctrlc::Error),
    /// A GPU that is not there.
    #[error(
        "no GPU {number}: libtorch sees {found}; use --device cpu, or point LIBTORCH at a CUDA build (see deploy/)"
    )]
    NoSuchGpu {
        /// Asked for.
        number: usize,
        /// There are.
        found: usize,
    },
    /// A data set that the configuration does not have.
    #[error("no data set \"{name}\" in the configuration (there are: {known})")]
    NoSuchDataset {
        /// Asked for.
        name: String,
        /// There are.
        known: String,
    },
    /// A file cannot be written.
    #[error("failed to write {path}: {source}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl From<crate::export::ExportError> for CliError {
    fn from(error: crate::export::ExportError) -> Self {
        Self::Export(Box::new(error))
    }
}

impl CliError {
    /// The whole story in a line: the message and each cause that it does not tell already.
    pub fn describe(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            let part = error.to_string();
            if !text.contains(&part) {
                text += ": ";
                text += &part;
            }
            cause = error.source();
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::CheckpointError;

    #[test]
    fn causes_are_told_once() {
        let source = std::io::Error::other("the disk is gone");
        let error = CliError::from(CheckpointError::Read { path: "a.safetensors".into(), source });
        let text = error.describe();
        assert_eq!(text.matches("the disk is gone").count(), 1, "{text}");
        assert!(text.contains("a.safetensors"), "{text}");
    }
}
