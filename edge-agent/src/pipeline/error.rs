use shared::bundle::BundleError;

use super::worker::ModelError;
use crate::exit_code::{Exit, ExitStatus};
use crate::intake::store_scp::ScpError;
use crate::publisher::PublishError;
use crate::store::StoreError;

/// Why the agent does not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The model bundle.
    #[error(transparent)]
    Bundle(BundleError),
    /// The network.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The state folder.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Credentials for the broker.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// The DICOM listener.
    #[error(transparent)]
    Dicom(#[from] ScpError),
    /// The monitoring listener.
    #[error(
        "failed to listen on {listen} (`http.listen`): {source}; is it another program's, or no address of this machine?"
    )]
    Http {
        /// The address.
        listen: std::net::SocketAddr,
        /// The cause.
        source: std::io::Error,
    },
    /// The system refused signal handlers.
    #[error("failed to install signal handlers: {0}")]
    Signals(std::io::Error),
    /// The system refused a thread.
    #[error("failed to start the analysis thread: {0}")]
    Thread(std::io::Error),
    /// A stage ended that never should: a defect. Nothing accepted is lost; start the agent again.
    #[error("the {0} stage died; restart the agent, and report its log")]
    StageDied(&'static str),
}

impl ExitStatus for RunError {
    fn exit(&self) -> Exit {
        match self {
            Self::Model(ModelError::Engine(error)) => error.exit(),
            Self::Bundle(_) | Self::Model(ModelError::Golden(_)) => Exit::Bundle,
            Self::Store(_) => Exit::Storage,
            Self::Publish(_) | Self::Dicom(_) | Self::Http { .. } => Exit::Config,
            Self::Signals(_) | Self::Thread(_) | Self::StageDied(_) => Exit::Internal,
        }
    }
}
