use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use shared::bundle::Bundle;
use shared::message::Message;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::revision::{self, Verdict};
use crate::check::golden::{self, GoldenError};
use crate::decode::DecodeLimits;
use crate::engine::EngineError;
use crate::health::{Vitals, clock_synced};
use crate::infer::{Analysis, AnalyzeError, Analyzer, AnalyzerOptions, Provenance};
use crate::store::{Analysis as Begun, Enqueued, ImageId, MAX_FAILURES, Store, StoreError};

/// Pause after a failure of store or engine.
const PAUSE: Duration = Duration::from_secs(5);
/// Longest rest without a bell.
const LOOK_AGAIN: Duration = Duration::from_secs(15);

/// Makes analyzers: one at the start, and a fresh one after a crash, since the old one may be half changed.
pub type AnalyzerFactory = Box<dyn FnMut() -> Result<Analyzer, ModelError> + Send>;

/// Why a model does not serve.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// Its graph does not load.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// It does not give its golden masks.
    #[error(transparent)]
    Golden(#[from] GoldenError),
}

/// Analyzers that run a bundle with tract. None serves before it has given the bundle's golden masks.
pub fn tract_analyzers(bundle: Bundle, threads: usize, limits: DecodeLimits) -> AnalyzerFactory {
    Box::new(move || {
        let mut analyzer = Analyzer::with_tract(&bundle, threads, AnalyzerOptions { limits })?;
        let report = golden::verify(&bundle, &mut analyzer)?;
        tracing::info!(
            cases = report.cases,
            agreement = report.agreement,
            "the model gives its golden masks"
        );
        Ok(analyzer)
    })
}

/// Takes received images through the engine, one at a time, on a thread of its own.
pub(super) struct Worker {
    pub(super) store: Store,
    pub(super) analyzers: AnalyzerFactory,
    /// None after a crash.
    pub(super) analyzer: Option<Analyzer>,
    pub(super) vitals: Arc<Vitals>,
    pub(super) next_seq: u64,
    /// Rung when an image was accepted.
    pub(super) accepted: Arc<Notify>,
    /// Rung when a result was queued.
    pub(super) queued: Arc<Notify>,
    pub(super) stop: CancellationToken,
    /// A result that the store could not take yet.
    pub(super) pending: Option<Pending>,
}

/// A finished analysis on its way into the store.
pub(super) struct Pending {
    image: ImageId,
    result: Uuid,
    content: [u8; 32],
    envelope: Vec<u8>,
}

/// Why nothing can be analysed for now.
#[derive(Debug, thiserror::Error)]
pub(super) enum Obstacle {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Model(#[from] ModelError),
}

impl Worker {
    /// Works until stopped, and ends the image in hand before it returns.
    pub(super) fn run(mut self, runtime: &Handle) {
        while !self.stop.is_cancelled() {
            let pause = match self.step() {
                Ok(true) => continue,
                Ok(false) => None,
                Err(obstacle) => {
                    tracing::error!(error = %obstacle, "images wait");
                    Some(PAUSE)
                }
            };
            runtime.block_on(async {
                let rest = async {
                    match pause {
                        Some(pause) => tokio::time::sleep(pause).await,
                        // Another process may have given an image back to analysis.
                        None => drop(timeout(LOOK_AGAIN, self.accepted.notified()).await),
                    }
                };
                tokio::select! {
                    () = self.stop.cancelled() => {}
                    () = rest => {}
                }
            });
        }
    }

    /// Deals with the oldest image. Returns whether there was one.
    pub(super) fn step(&mut self) -> Result<bool, Obstacle> {
        let vitals = Arc::clone(&self.vitals);
        let _work = vitals.progress.analysis.begin();
        self.deliver()?;
        let Some(image) = self.store.oldest_received()? else { return Ok(false) };
        if self.analyzer.is_none() {
            let analyzer = (self.analyzers)();
            vitals.progress.set_model(analyzer.is_ok());
            self.analyzer = Some(analyzer?);
        }
        if let Begun::Run { attempt, bytes } = self.store.begin_analysis(image)? {
            self.analyze(image, attempt, &bytes)?;
        }
        Ok(true)
    }

    fn analyze(&mut self, image: ImageId, attempt: u32, bytes: &[u8]) -> Result<(), StoreError> {
        let Some(analyzer) = &mut self.analyzer else { return Ok(()) };
        // The analyzer is thrown away after a panic, so nothing half changed is seen again.
        match catch_unwind(AssertUnwindSafe(|| analyzer.analyze(bytes))) {
            Ok(Ok(analysis)) => {
                let verdict = revision::judge(&self.store, analyzer, &analysis, bytes)?;
                self.enqueue(image, analysis, verdict)
            }
            Ok(Err(error)) => self.fail(image, attempt, &error),
            Err(_) => {
                self.analyzer = None;
                tracing::error!(%image, attempt, "the analysis crashed");
                let failures = self.store.count_failure(image)?;
                if failures >= MAX_FAILURES {
                    let reason = format!("its analysis crashed {failures} times");
                    self.store.set_aside(image, &reason)?;
                    self.vitals.metrics.count_set_aside();
                    tracing::warn!(%image, reason, "set aside");
                }
                Ok(())
            }
        }
    }

    fn enqueue(
        &mut self,
        image: ImageId,
        mut analysis: Analysis,
        verdict: Verdict,
    ) -> Result<(), StoreError> {
        let Verdict { content, is_revision } = verdict;
        if is_revision {
            tracing::warn!(%image, "other pixels came under its SOP Instance UID before");
            analysis.revise(&content);
        }
        let provenance =
            Provenance { boot_id: self.vitals.boot_id(), seq: self.next_seq, clock_synced: clock_synced() };
        let envelope = analysis.to_envelope(provenance);
        let result = envelope.result_id;
        let ms = analysis.latency.total().round();
        tracing::info!(%image, %result, ms, "analysed");
        self.vitals.count_analysis(&analysis.latency);
        self.pending = Some(Pending { image, result, content, envelope: envelope.to_json() });
        self.deliver()
    }

    /// Puts the pending result into the outbox. A full disk costs a pause and no attempt of the image.
    fn deliver(&mut self) -> Result<(), StoreError> {
        let Some(Pending { image, result, content, envelope }) = &self.pending else { return Ok(()) };
        match self.store.enqueue(*image, *result, content, envelope)? {
            Enqueued::New => {
                self.next_seq += 1;
                self.queued.notify_one();
            }
            Enqueued::Duplicate => tracing::info!(%image, %result, "its result waits already"),
            Enqueued::Delivered => tracing::info!(%image, %result, "its result was delivered before"),
        }
        self.pending = None;
        Ok(())
    }

    /// An image at fault fails again, so it is set aside at once; anything else has another chance.
    fn fail(&mut self, image: ImageId, attempt: u32, error: &AnalyzeError) -> Result<(), StoreError> {
        let code = error.code();
        if error.is_about_image() || self.store.count_failure(image)? >= MAX_FAILURES {
            self.store.set_aside(image, &error.to_string())?;
            self.vitals.metrics.count_set_aside();
            tracing::warn!(%image, code, %error, "set aside");
            return Ok(());
        }
        tracing::error!(%image, code, %error, attempt, "the analysis failed");
        Ok(())
    }
}

#[cfg(test)]
impl Worker {
    /// On its own, without the stages beside it.
    pub(super) fn alone(store: Store, bundle: Bundle) -> Self {
        Self {
            store,
            analyzers: tract_analyzers(bundle, 1, DecodeLimits::default()),
            analyzer: None,
            vitals: Arc::new(Vitals::new(Uuid::nil())),
            next_seq: 1,
            accepted: Arc::default(),
            queued: Arc::default(),
            stop: CancellationToken::new(),
            pending: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;
    use crate::store::{ImageState, Next};
    use crate::testing::{disc, write_bundle};

    #[test]
    fn a_result_that_the_store_cannot_take_waits_and_costs_the_image_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let model = dir.path().join("model");
        std::fs::create_dir(&model).unwrap();
        let bundle = write_bundle(&model).unwrap();
        let store = Store::open(&dir.path().join("state")).unwrap();
        let mut png = Cursor::new(Vec::new());
        disc().to_image16().write_to(&mut png, image::ImageFormat::Png).unwrap();
        let image = store
            .stage(png.get_ref().as_slice(), 1 << 20)
            .unwrap()
            .commit(crate::store::Origin::Unknown)
            .unwrap()
            .id();
        let mut worker = Worker::alone(store.clone(), bundle);
        let disk = rusqlite::Connection::open(dir.path().join("state/state.db")).unwrap();
        disk.execute_batch(
            "CREATE TRIGGER full BEFORE INSERT ON outbox BEGIN SELECT RAISE(FAIL, 'disk full'); END",
        )
        .unwrap();
        for _ in 0..=MAX_FAILURES {
            assert!(worker.step().unwrap_err().to_string().contains("disk full"));
        }
        disk.execute_batch("DROP TRIGGER full").unwrap();
        assert!(!worker.step().unwrap(), "only the pending result was left to do");
        assert_eq!(store.image(image).unwrap().unwrap().state, ImageState::Queued);
        assert!(matches!(store.next_due().unwrap(), Next::Send(_)));
    }
}
