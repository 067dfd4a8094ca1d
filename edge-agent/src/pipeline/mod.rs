//! The only place where stages are wired.
//!
//! ```text
//! watch folder ─┬► store ─► worker (engine) ─► outbox ─► courier ─► MQTT
//! Storage SCP ──┘                               ▲                    │
//!                                               └─── inbox ◄─────────┘
//! ```
//! The store stands between the stages as their queue; what passes between them directly is only a bell that
//! says "look again". So a stage that stalls holds up nobody's memory, and a crash loses nothing. The
//! folder rests while the worker is far behind; units are served as long as there is room on the disk.

mod error;
mod revision;
mod stages;
mod worker;

#[cfg(test)]
mod tests;

use shared::bundle::Bundle;
use tokio_util::sync::CancellationToken;

pub use error::RunError;
pub use stages::Pipeline;
pub use worker::{AnalyzerFactory, ModelError, tract_analyzers};

use crate::config::AgentConfig;
use crate::{shutdown, telemetry};

/// The daemon: starts logging, the pipeline, and ends in order on SIGTERM or SIGINT.
///
/// # Errors
/// If it cannot start, or a stage dies.
pub async fn run_daemon(config: AgentConfig) -> Result<(), RunError> {
    telemetry::init(config.log);
    telemetry::log_panics();
    let shutdown = shutdown::on_signals().map_err(RunError::Signals)?;
    Pipeline::start(config, shutdown).await?.join().await
}

impl Pipeline {
    /// Opens bundle, engine and store and starts all stages. A broker that is away is no error.
    ///
    /// # Errors
    /// If bundle, engine, store or credentials cannot be used, or the bundle is not trusted.
    pub async fn start(config: AgentConfig, shutdown: CancellationToken) -> Result<Self, RunError> {
        let (dir, trust) = (config.bundle.clone(), config.trust());
        let (threads, limits) = (config.threads, config.limits.decode());
        let open = move || {
            let bundle = Bundle::open_trusted(&dir, &trust)?;
            match bundle.signature() {
                Some(signature) if signature.is_verified() => tracing::info!(%signature, "opened the bundle"),
                Some(signature) => tracing::warn!(
                    %signature,
                    "nobody answers for the bundle: it runs because of `allow_unsigned`"
                ),
                None => {}
            }
            Ok(tract_analyzers(bundle, threads, limits))
        };
        let analyzers = match tokio::task::spawn_blocking(open).await {
            Ok(analyzers) => analyzers.map_err(RunError::Bundle)?,
            Err(e) => std::panic::resume_unwind(e.into_panic()),
        };
        Self::start_with(config, analyzers, shutdown).await
    }
}
