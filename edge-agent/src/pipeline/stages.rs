use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use shared::message::StatusKind;
use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::RunError;
use super::worker::{AnalyzerFactory, Worker};
use crate::commands::Commands;
use crate::config::AgentConfig;
use crate::health::{Vitals, watchdog};
use crate::intake::watch_folder::WatchFolder;
use crate::publisher::courier::Courier;
use crate::publisher::inbox::Inbox;
use crate::publisher::mqtt::MqttPublisher;
use crate::publisher::presence::Presence;
use crate::store::Store;
use crate::web::Web;

/// Messages between connection and inbox.
const INBOUND: usize = 32;
/// Responses to commands on their way out.
const RESPONSES: usize = 8;
/// For all stages to end once asked; the image in hand takes the longest.
const GRACE: Duration = Duration::from_secs(20);

/// The running agent.
pub struct Pipeline {
    store: Store,
    intake: Option<JoinHandle<()>>,
    /// Resolves when the worker's thread ends.
    worker: oneshot::Receiver<()>,
    courier: JoinHandle<()>,
    /// Ends by itself when the courier's connection is gone.
    inbox: JoinHandle<()>,
    vitals: Arc<Vitals>,
    /// What watches and is asked, and does nothing of the work: ends with the agent.
    watchers: JoinSet<()>,
    web: Option<SocketAddr>,
    shutdown: CancellationToken,
    /// Cancelled once the worker has ended: what it queued can still be sent.
    drain: CancellationToken,
}

impl Pipeline {
    /// Starts all stages around analyzers of any kind. Cancel `shutdown` to stop them.
    ///
    /// # Errors
    /// If analyzer, store or credentials cannot be used.
    pub async fn start_with(
        config: AgentConfig,
        mut analyzers: AnalyzerFactory,
        shutdown: CancellationToken,
    ) -> Result<Self, RunError> {
        let state_dir = config.state_dir.clone();
        let open = move || {
            let analyzer = analyzers()?;
            Ok::<_, RunError>((analyzer, analyzers, Store::open(&state_dir)?))
        };
        let (analyzer, analyzers, store) = match tokio::task::spawn_blocking(open).await {
            Ok(opened) => opened?,
            Err(e) => std::panic::resume_unwind(e.into_panic()),
        };
        let (accepted, queued) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let capabilities = config.watch_folder.iter().map(|_| "watch-folder".to_owned()).collect();
        let presence = Presence::new(analyzer.model().clone(), analyzer.signature().cloned(), capabilities);
        let boot_id = presence.boot_id();
        let vitals = Arc::new(Vitals::new(boot_id));
        vitals.metrics.describe(analyzer.model());
        tracing::info!(%boot_id, engine = analyzer.engine(), "starting");

        let (inbound, received) = mpsc::channel(INBOUND);
        let will = presence.status(StatusKind::Offline);
        let device = config.device_id();
        let publisher = MqttPublisher::new(config.mqtt.clone(), device.clone(), will, inbound)?;
        let (responder, responses) = mpsc::channel(RESPONSES);
        let (mut watchers, mut web) = (JoinSet::new(), None);
        if let Some(http) = config.http {
            let listen = http.listen;
            let failed = |source| RunError::Http { listen, source };
            let listener = Web::bind(listen, Arc::clone(&vitals), store.clone()).await.map_err(failed)?;
            web = Some(listener.address().map_err(failed)?);
            watchers.spawn(listener.run());
        }
        watchers.spawn(watchdog::watch(Arc::clone(&vitals), store.clone()));
        let drain = CancellationToken::new();
        let courier = Courier {
            store: store.clone(),
            presence,
            vitals: Arc::clone(&vitals),
            wake: Arc::clone(&queued),
            require_ack: config.mqtt.require_ack,
            max_backoff: Duration::from_secs(config.mqtt.max_backoff_s.into()),
            stop: drain.clone(),
        };
        let worker = spawn_worker(Worker {
            store: store.clone(),
            analyzers,
            analyzer: Some(analyzer),
            vitals: Arc::clone(&vitals),
            next_seq: 1,
            accepted: Arc::clone(&accepted),
            queued: Arc::clone(&queued),
            stop: shutdown.clone(),
            pending: None,
        })?;
        let commands = Commands::new(
            store.clone(),
            Arc::clone(&vitals),
            Arc::clone(&accepted),
            Arc::clone(&queued),
            config.clone(),
        );
        let inbox = Inbox {
            store: store.clone(),
            vitals: Arc::clone(&vitals),
            wake: queued,
            device,
            commands: Some(commands),
            responses: responder,
        };
        let inbox = tokio::spawn(inbox.listen(received));
        let courier = tokio::spawn(courier.run(publisher, responses));
        let intake = config.watch_folder.map(|watch| {
            let folder = WatchFolder::new(watch, config.limits.max_file_bytes, store.clone())
                .counted_by(vitals.metrics.gate("watch_folder"));
            tokio::spawn(folder.run(accepted, shutdown.clone()))
        });
        watchdog::tell_ready();
        Ok(Self { store, intake, worker, courier, inbox, vitals, watchers, web, shutdown, drain })
    }

    /// How it is doing.
    pub fn vitals(&self) -> &Vitals {
        &self.vitals
    }

    /// Where the monitoring listener is, if there is one.
    pub fn web(&self) -> Option<SocketAddr> {
        self.web
    }

    /// The store, to look at what happens.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Waits for the shutdown token, then for the stages: intake stops, the image in hand is finished, what can
    /// be sent is sent, and the device takes leave of the broker.
    ///
    /// # Errors
    /// If a stage ended before it was asked to; the others are stopped then.
    pub async fn join(mut self) -> Result<(), RunError> {
        let died = tokio::select! {
            // First: stages that end because they were asked to did not die.
            biased;
            () = self.shutdown.cancelled() => None,
            () = ended(&mut self.intake) => Some("intake"),
            _ = &mut self.worker => Some("analysis"),
            _ = &mut self.courier => Some("publisher"),
            // After the publisher, with which it ends: without it nothing is ever acknowledged.
            _ = &mut self.inbox => Some("inbox"),
            // They never end, but for a defect; without them nobody would see one.
            Some(_) = self.watchers.join_next() => Some("monitoring"),
        };
        watchdog::tell_stopping();
        if let Some(stage) = died {
            tracing::error!(stage, "a stage died");
            self.shutdown.cancel();
            self.drain.cancel();
            return Err(RunError::StageDied(stage));
        }
        let stages = async {
            let intake = match &mut self.intake {
                Some(task) => task.await.is_ok(),
                None => true,
            };
            let worker = (&mut self.worker).await.is_ok();
            self.drain.cancel();
            let courier = (&mut self.courier).await.is_ok();
            intake & worker & courier & (&mut self.inbox).await.is_ok()
        };
        match timeout(GRACE, stages).await {
            Ok(true) => tracing::info!("stopped"),
            Ok(false) => tracing::error!("a stage crashed while stopping"),
            Err(_) => tracing::warn!("some stage did not end in time; nothing accepted is lost"),
        }
        Ok(())
    }
}

/// Waits for a stage to end; for ever where there is none.
async fn ended(stage: &mut Option<JoinHandle<()>>) {
    match stage {
        Some(task) => drop(task.await),
        None => std::future::pending().await,
    }
}

fn spawn_worker(worker: Worker) -> Result<oneshot::Receiver<()>, RunError> {
    let (done, ended) = oneshot::channel();
    let runtime = Handle::current();
    let run = move || {
        worker.run(&runtime);
        let _ = done.send(());
    };
    thread::Builder::new().name("analysis".into()).spawn(run).map_err(RunError::Thread)?;
    Ok(ended)
}
