use std::path::PathBuf;

use shared::bundle::BundleError;
use shared::postprocess::LogitsError;

use super::bundle::NoBundle;
use super::queue::QueueError;
use crate::bench::BenchError;
use crate::config::ConfigError;
use crate::demo::DemoError;
use crate::engine::EngineError;
use crate::exit_code::{Exit, ExitStatus};
use crate::pipeline::RunError;
use crate::store::StoreError;

/// Why a command ended early.
#[derive(Debug, thiserror::Error)]
pub(super) enum CommandError {
    #[error(transparent)]
    NoBundle(#[from] NoBundle),
    #[error(transparent)]
    Bundle(#[from] BundleError),
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Bench(#[from] BenchError),
    #[error(transparent)]
    Logits(#[from] LogitsError),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Run(#[from] RunError),
    #[error(transparent)]
    Demo(#[from] DemoError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Queue(#[from] QueueError),
    #[error("failed to write {}: {source}", .path.display())]
    Write { path: PathBuf, source: std::io::Error },
    #[error("failed to write to the standard output: {0}")]
    Stdout(#[source] std::io::Error),
    #[error("failed to start the async run time: {0}")]
    Runtime(#[source] std::io::Error),
}

impl CommandError {
    pub(super) fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Stdout(e) if e.kind() == std::io::ErrorKind::BrokenPipe)
    }
}

impl ExitStatus for CommandError {
    fn exit(&self) -> Exit {
        match self {
            Self::NoBundle(_) | Self::Bundle(_) | Self::Logits(_) => Exit::Bundle,
            Self::Bench(BenchError::Bundle(_)) => Exit::Bundle,
            Self::Engine(error) | Self::Bench(BenchError::Engine(error)) => error.exit(),
            Self::Config(error) => error.exit(),
            Self::Run(error) => error.exit(),
            Self::Demo(error) => error.exit(),
            Self::Write { .. } | Self::Store(_) => Exit::Storage,
            Self::Queue(_) => Exit::Usage,
            Self::Bench(BenchError::Analyze(_)) | Self::Stdout(_) | Self::Runtime(_) => Exit::Internal,
        }
    }
}
