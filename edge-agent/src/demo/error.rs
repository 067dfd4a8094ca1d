use std::io;
use std::path::PathBuf;

use shared::bundle::BundleError;

use crate::exit_code::{Exit, ExitStatus};
use crate::inputs::InputError;
use crate::pipeline::RunError;
use crate::store::StoreError;

/// Why the demo cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The model bundle.
    #[error(transparent)]
    Bundle(BundleError),
    /// A path that was named.
    #[error(transparent)]
    Input(#[from] InputError),
    /// Folders without radiographs.
    #[error(
        "the given folders hold no file that is named like a radiograph (dcm, png, jpg, tif or no extension)"
    )]
    NothingToSend,
    /// Something could not be written where the user asked for it.
    #[error("failed to write {}: {source}; choose another folder with --out", .path.display())]
    Out {
        /// The file or folder.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The folder for everything that is not to be kept, or a thread.
    #[error("failed to prepare the demo's temporary folder: {0}; set TMPDIR to one that can be written")]
    Scratch(io::Error),
    /// Broker or subscriber.
    #[error("failed to start the demo's broker: {0}")]
    Broker(io::Error),
    /// The subscriber was cut off.
    #[error("the subscriber lost its connection to the demo's broker")]
    Subscriber,
    /// The unit's thread crashed.
    #[error("the phantom X-ray unit crashed")]
    Unit,
    /// The agent.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The agent's store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ExitStatus for DemoError {
    fn exit(&self) -> Exit {
        match self {
            Self::Bundle(_) => Exit::Bundle,
            Self::Input(_) | Self::NothingToSend => Exit::SomeInputFailed,
            Self::Out { .. } | Self::Scratch(_) | Self::Store(_) => Exit::Storage,
            Self::Broker(_) | Self::Subscriber => Exit::Broker,
            Self::Run(error) => error.exit(),
            Self::Unit => Exit::Internal,
        }
    }
}
