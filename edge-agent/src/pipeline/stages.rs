use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use shared::message::StatusKind;
use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};
use tokio_util::sync::CancellationToken;

use super::RunError;
use super::worker::{AnalyzerFactory, Worker};
use crate::commands::Commands;
use crate::config::AgentConfig;
use crate::health::{Vitals, watchdog};
use crate::intake::store_scp::StoreScp;
use crate::intake::watch_folder::WatchFolder;
use crate::publisher::courier::Courier;
use crate::publisher::inbox::Inbox;
use crate::publisher::mqtt::MqttPublisher;
use crate::publisher::presence::Presence;
use crate::store::{OsFiles, Store};
use crate::web::Web;

/// Messages between connection and inbox.
const INBOUND: usize = 32;
/// Between two rounds of the store's housekeeping.
const HOUSEKEEPING: Duration = Duration::from_secs(3600);
/// Responses to commands on their way out.
const RESPONSES: usize = 8;
/// For all stages to end once asked; the image in hand takes the longest.
const GRACE: Duration = Duration::from_secs(20);

/// The running agent.
pub struct Pipeline {
    store: Store,
    /// Ways in, and the hourly housekeeping of the store.
    intake: JoinSet<()>,
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
        let (state_dir, store) = (config.state_dir.clone(), config.store);
        let open = move || {
            let analyzer = analyzers()?;
            Ok::<_, RunError>((analyzer, analyzers, Store::open_with(&state_dir, Box::new(OsFiles), store)?))
        };
        let (analyzer, analyzers, store) = match tokio::task::spawn_blocking(open).await {
            Ok(opened) => opened?,
            Err(e) => std::panic::resume_unwind(e.into_panic()),
        };
        let (accepted, queued) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let capabilities = [
            config.watch_folder.as_ref().map(|_| "watch-folder".to_owned()),
            config.dicom.as_ref().map(|_| "dicom-store-scp".to_owned()),
        ];
        let presence = Presence::new(
            analyzer.model().clone(),
            analyzer.signature().cloned(),
            capabilities.into_iter().flatten().collect(),
            store.rebuilt().map(|images| images as u64),
        );
        let boot_id = presence.boot_id();
        let vitals = Arc::new(Vitals::new(boot_id));
        vitals.metrics.describe(analyzer.model());
        tracing::info!(%boot_id, engine = analyzer.engine(), "starting");

        let scp = match config.dicom.clone() {
            Some(dicom) => {
                let (store, accepted) = (store.clone(), Arc::clone(&accepted));
                let gate = vitals.metrics.gate("dicom");
                Some(StoreScp::bind(dicom, config.limits.decode(), store, accepted, gate).await?)
            }
            None => None,
        };
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
        let mut intake = JoinSet::new();
        if let Some(watch) = config.watch_folder {
            let folder = WatchFolder::new(watch, config.limits.max_file_bytes, store.clone())
                .counted_by(vitals.metrics.gate("watch_folder"));
            intake.spawn(folder.run(Arc::clone(&accepted), shutdown.clone()));
        }
        if let Some(scp) = scp {
            intake.spawn(scp.run(shutdown.clone()));
        }
        intake.spawn(housekeep(store.clone(), shutdown.clone()));
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
            _ = self.intake.join_next() => Some("intake"),
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
            let mut intake = true;
            while let Some(ended) = self.intake.join_next().await {
                intake &= ended.is_ok();
            }
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

/// Clears away what is old, until stopped.
async fn housekeep(store: Store, stop: CancellationToken) {
    // The store has done a first round when it was opened.
    let mut hourly = interval_at(Instant::now() + HOUSEKEEPING, HOUSEKEEPING);
    hourly.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = hourly.tick() => {}
        }
        if let Err(error) = store.run(Store::housekeep).await {
            tracing::error!(%error, "old images stay for now");
        }
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
