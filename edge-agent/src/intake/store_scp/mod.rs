//! The Storage SCP: units send radiographs by C-STORE (PS3.4 annex B).
//!
//! Success is answered once the object is durable in the [store](crate::store): its file and its row are synced. A disk
//! that is full answers 0xA700, an object that is none 0xA900 or 0xC000 with a reason, and the association goes on.
//! The header is looked at before the answer; pixels are decoded later, by the worker.
//!
//! Everything that a peer can take is bounded: associations, bytes of a PDU, of a command and of an object, time for a PDU
//! and for an association. Whoever comes beyond the bound is told to come back.

mod association;
mod commitment;
mod dimse;
mod object;
mod policy;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use dicom_ul::association::server::{DefaultNegotiation, ServerAssociationOptions};
use dicom_ul::pdu::{
    AssociationRJ, AssociationRJResult, AssociationRJServiceProviderPresentationReason, AssociationRJSource,
    Pdu, write_pdu,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::association::{AssociationError, Served};
use self::policy::Policy;
use super::sop_classes::abstract_syntaxes;
use crate::config::DicomConfig;
use crate::decode::{DecodeLimits, transfer_syntaxes};
use crate::health::Gate;
use crate::store::Store;
use crate::tls::{CredentialsError, server_config};

/// Peers beyond the bound that are told so at a time; others are just not heard.
const TURNED_AWAY: usize = 16;
/// For telling them.
const TURN_AWAY: Duration = Duration::from_secs(2);
/// Pause after the system refused a connection, such as for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Why the SCP does not start.
#[derive(Debug, thiserror::Error)]
pub enum ScpError {
    /// The address cannot be had.
    #[error("failed to listen on {address} (`dicom.listen`): {source}; is another program listening there?")]
    Listen {
        /// Address and port.
        address: SocketAddr,
        /// The cause.
        source: std::io::Error,
    },
    /// A certificate or key.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
}

/// The Storage SCP, listening.
pub struct StoreScp {
    listener: TcpListener,
    scp: Arc<Scp>,
}

/// What all associations share.
struct Scp {
    config: DicomConfig,
    tls: Option<Arc<rustls::ServerConfig>>,
    limits: DecodeLimits,
    store: Store,
    /// Rung for every image that the store took.
    accepted: Arc<Notify>,
    gate: Arc<Gate>,
}

impl StoreScp {
    /// Listens. Connections wait until [`StoreScp::run`].
    ///
    /// # Errors
    /// If the address is taken, or certificates cannot be used.
    pub async fn bind(
        config: DicomConfig,
        limits: DecodeLimits,
        store: Store,
        accepted: Arc<Notify>,
        gate: Arc<Gate>,
    ) -> Result<Self, ScpError> {
        let tls = config.tls.as_ref().map(|files| server_config("dicom.tls", files)).transpose()?;
        let address = config.listen;
        let listener =
            TcpListener::bind(address).await.map_err(|source| ScpError::Listen { address, source })?;
        tracing::info!(%address, ae_title = %config.ae_title, tls = tls.is_some(), "listening for DICOM");
        gate.set_open(true);
        Ok(Self { listener, scp: Arc::new(Scp { config, tls, limits, store, accepted, gate }) })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// If the system does not say.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until stopped. Objects that are on their way then are still taken.
    pub async fn run(self, stop: CancellationToken) {
        let Self { listener, scp } = self;
        let room = Arc::new(Semaphore::new(scp.config.max_associations));
        let door = Arc::new(Semaphore::new(TURNED_AWAY));
        let associations = TaskTracker::new();
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                accepted = listener.accept() => accepted,
            };
            let socket = match accepted {
                Ok((socket, _)) => socket,
                Err(error) => {
                    tracing::warn!(%error, "failed to take a connection");
                    sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            if let Ok(permit) = Arc::clone(&room).try_acquire_owned() {
                associations.spawn(Arc::clone(&scp).serve(socket, permit, stop.clone()));
            } else if let Ok(permit) = Arc::clone(&door).try_acquire_owned() {
                tracing::warn!("turned a unit away: `dicom.max_associations` are there");
                associations.spawn(turn_away(socket, permit));
            }
        }
        associations.close();
        associations.wait().await;
    }
}

impl Scp {
    async fn serve(self: Arc<Self>, socket: TcpStream, _room: OwnedSemaphorePermit, stop: CancellationToken) {
        // A reset connection is no reason to wait for acknowledgements of small answers.
        let _ = socket.set_nodelay(true);
        let whole = Duration::from_secs(self.config.association_timeout_s.into());
        match timeout(whole, Arc::clone(&self).associate(socket, &stop)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "an association ended early"),
            Err(_) => tracing::warn!(seconds = whole.as_secs(), "an association took too long"),
        }
    }

    async fn associate(
        self: Arc<Self>,
        socket: TcpStream,
        stop: &CancellationToken,
    ) -> Result<(), AssociationError> {
        let config = self.config.clone();
        let options = self.options(&config);
        let idle = Duration::from_secs(config.idle_timeout_s.into());
        let late = |_| AssociationError::Protocol("no association within `dicom.idle_timeout_s`");
        if self.tls.is_some() {
            let association = timeout(idle, options.establish_tls_async(socket)).await.map_err(late)??;
            drop(options);
            Served::new(association, Arc::clone(&self)).run(stop).await
        } else {
            let association = timeout(idle, options.establish_async(socket)).await.map_err(late)??;
            drop(options);
            Served::new(association, Arc::clone(&self)).run(stop).await
        }
    }

    fn options<'a>(
        &self,
        config: &'a DicomConfig,
    ) -> ServerAssociationOptions<'a, Policy<'a>, DefaultNegotiation> {
        let idle = Duration::from_secs(config.idle_timeout_s.into());
        let mut options = ServerAssociationOptions::new()
            .ae_access_control(Policy(config))
            .ae_title(config.ae_title.as_str())
            .max_pdu_length(config.max_pdu_bytes)
            .read_timeout(idle)
            .write_timeout(idle);
        for uid in abstract_syntaxes() {
            options = options.with_abstract_syntax(uid);
        }
        for uid in transfer_syntaxes() {
            options = options.with_transfer_syntax(uid);
        }
        match &self.tls {
            Some(tls) => options.tls_config(Arc::clone(tls)),
            None => options,
        }
    }
}

/// Looks at what the SCP needs before it listens, and says what it will be.
///
/// # Errors
/// If certificates cannot be used.
pub fn check(config: &DicomConfig) -> Result<String, ScpError> {
    let tls = match config.tls.as_ref().map(|files| server_config("dicom.tls", files)).transpose()? {
        None => "without TLS",
        Some(_) if config.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some()) => {
            "with TLS and units' certificates"
        }
        Some(_) => "with TLS",
    };
    Ok(format!("{} on {}, {tls}", config.ae_title, config.listen))
}

/// For fuzzing: whether bytes are a command set that is answered.
pub(crate) fn is_command(bytes: &[u8]) -> bool {
    dimse::Command::read(bytes).is_ok()
}

/// Rejects for now: local limit exceeded (PS3.8 table 9-21).
async fn turn_away(mut socket: TcpStream, _door: OwnedSemaphorePermit) {
    let reason = AssociationRJServiceProviderPresentationReason::LocalLimitExceeded;
    let rejection = AssociationRJ {
        result: AssociationRJResult::Transient,
        source: AssociationRJSource::ServiceProviderPresentation(reason),
    };
    let mut pdu = Vec::new();
    if write_pdu(&mut pdu, &Pdu::AssociationRJ(rejection)).is_err() {
        return;
    }
    // What the peer asks for is not looked at; it closes once it has read the answer.
    let tell = async {
        let mut ignored = [0; 1024];
        let _ = socket.read(&mut ignored).await;
        if socket.write_all(&pdu).await.is_ok() {
            while matches!(socket.read(&mut ignored).await, Ok(1..)) {}
        }
    };
    let _ = timeout(TURN_AWAY, tell).await;
}
