//! Carries results from the outbox to the broker, one at a time.
//!
//! Every second one is the newest that was never sent, so that whoever stands at the bedside need not wait for the
//! backlog of three days; the others are the oldest, so that the backlog drains in order and none waits for ever.
//! `seq` tells the order in which they came about.

use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use shared::message::{Message, ResultEnvelope, StatusKind};
use shared::topic::Channel;
use tokio::sync::{Notify, mpsc};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::audience::Audience;
use super::fit::fit;
use super::presence::Presence;
use super::{Link, Outbound, PublishError, Publisher, Taken};
use crate::health::Vitals;
use crate::store::{Due, Lane, Next, SUSPECT, Store, StoreError};

/// Between two health messages.
const HEALTH_EVERY: Duration = Duration::from_secs(60);
/// After which a health message is worthless.
const HEALTH_EXPIRY_S: u32 = 180;
/// For emptying the outbox when the agent stops; what is left waits for the next start.
const FLUSH: Duration = Duration::from_secs(5);
/// Pause after a failure of the store.
const STORE_PAUSE: Duration = Duration::from_secs(5);
/// First pause before a result that was refused, or that central did not acknowledge, is sent again; it
/// doubles up to 64 times this.
const RESEND: Duration = Duration::from_secs(60);
/// First pause of a suspect result on which another connection died; it doubles up to 128 times this. A bad line cuts
/// innocent results too, and those should not wait long once it is mended; what kills a broker must not always do so.
const YIELD: Duration = Duration::from_secs(2);
/// First pause between attempts to connect.
const RECONNECT: Duration = Duration::from_millis(250);

/// Carries results.
pub struct Courier {
    /// Where they wait.
    pub store: Store,
    /// Who sends.
    pub presence: Presence,
    /// How it is doing.
    pub vitals: Arc<Vitals>,
    /// Rung when something entered or left the outbox.
    pub wake: Arc<Notify>,
    /// Whether a result is kept until central acknowledges it.
    pub require_ack: bool,
    /// Longest pause between attempts to connect.
    pub max_backoff: Duration,
    /// Ends it, after a last flush.
    pub stop: CancellationToken,
}

/// Why a link is no longer served.
enum Ended {
    Stopped,
    Lost(PublishError),
}

impl Courier {
    /// Connects, serves, and connects again, until stopped. A broker that is away is no error. `responses` go out
    /// between results; those that meet no connection are forgotten.
    pub async fn run(self, mut publisher: impl Publisher, mut responses: mpsc::Receiver<Outbound>) {
        let mut pauses = self.pauses();
        loop {
            let connecting = async {
                let _step = self.vitals.progress.courier.begin();
                publisher.connect().await
            };
            let connected = tokio::select! {
                () = self.stop.cancelled() => return,
                connected = connecting => connected,
            };
            let error = match connected {
                Ok(mut link) => {
                    let proven = || pauses = self.pauses();
                    let ended = self.serve(&mut link, &mut responses, proven).await;
                    self.vitals.metrics.set_connected(false);
                    match ended {
                        Ended::Stopped => return link.close().await,
                        Ended::Lost(error) => error,
                    }
                }
                Err(error) => error,
            };
            let pause = pauses.next().unwrap_or(self.max_backoff);
            tracing::warn!(%error, retry_in_s = pause.as_secs_f32(), "results wait");
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = sleep(pause) => {}
            }
        }
    }

    /// Jitter keeps a fleet from coming back in step when its broker does.
    pub(super) fn pauses(&self) -> impl Iterator<Item = Duration> + use<> {
        ExponentialBuilder::default()
            .with_min_delay(RECONNECT)
            .with_max_delay(self.max_backoff)
            .with_jitter()
            .without_max_times()
            .build()
    }

    /// `proven` is called once the link carried what there was to carry; one that dies on its first result
    /// must not reset the pauses.
    async fn serve(
        &self,
        link: &mut impl Link,
        responses: &mut mpsc::Receiver<Outbound>,
        proven: impl FnOnce(),
    ) -> Ended {
        let mut audience = Audience::new();
        let served = async {
            while responses.try_recv().is_ok() {}
            self.announce(link).await?;
            self.deliver_next(link, Lane::Backlog, &mut audience).await?;
            proven();
            self.deliver_until_stopped(link, responses, &mut audience).await
        };
        match served.await {
            Ok(()) => Ended::Stopped,
            Err(error) => Ended::Lost(error),
        }
    }

    async fn announce(&self, link: &mut impl Link) -> Result<(), PublishError> {
        let step = self.vitals.progress.courier.begin();
        link.send(self.presence.status(StatusKind::Online)).await?;
        link.send(self.presence.birth()).await?;
        drop(step);
        self.vitals.metrics.set_connected(true);
        tracing::info!("connected to the broker");
        match self.store.run(Store::replay_unacknowledged).await {
            Ok(0) => {}
            Ok(results) => tracing::info!(results, "results without central's word are sent again"),
            // They are due sooner or later anyhow.
            Err(error) => tracing::error!(%error, "the outbox cannot be read"),
        }
        Ok(())
    }

    async fn deliver_until_stopped(
        &self,
        link: &mut impl Link,
        responses: &mut mpsc::Receiver<Outbound>,
        audience: &mut Audience,
    ) -> Result<(), PublishError> {
        let mut health = interval(HEALTH_EVERY);
        health.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut lane = Lane::Backlog;
        while !self.stop.is_cancelled() {
            lane = match lane {
                Lane::Backlog => Lane::Fresh,
                Lane::Fresh => Lane::Backlog,
            };
            let idle = self.deliver_next(link, lane, audience).await?.unwrap_or(HEALTH_EVERY);
            tokio::select! {
                // In this order: a long queue must not keep stop, health or responses waiting.
                biased;
                () = self.stop.cancelled() => {}
                error = link.lost() => return Err(error),
                _ = health.tick() => self.send_health(link).await?,
                Some(response) = responses.recv() => self.respond(link, response).await?,
                () = self.wake.notified() => {}
                () = sleep(idle) => {}
            }
        }
        self.take_leave(link, audience).await
    }

    async fn take_leave(&self, link: &mut impl Link, audience: &mut Audience) -> Result<(), PublishError> {
        let flush = async {
            while self.deliver_next(link, Lane::Backlog, audience).await? == Some(Duration::ZERO) {}
            link.send(self.presence.status(StatusKind::Stopped)).await.map(drop)
        };
        timeout(FLUSH, flush)
            .await
            .unwrap_or_else(|_| Err(PublishError::Lost("no time left to flush".into())))
    }

    /// Sends the next result, if one is due. Returns for how long there is nothing to do, none if for ever.
    async fn deliver_next(
        &self,
        link: &mut impl Link,
        lane: Lane,
        audience: &mut Audience,
    ) -> Result<Option<Duration>, PublishError> {
        let _step = self.vitals.progress.courier.begin();
        if let Some((tried, left)) = audience.rest() {
            match self.store.run(move |s| s.all_queued(&tried)).await {
                Ok(false) => audience.disprove(),
                Ok(true) | Err(_) => return Ok(Some(left)),
            }
        }
        match self.store.run(move |s| s.next_due_in(lane)).await {
            Ok(Next::Send(due)) => {
                let id = due.result_id;
                match self.deliver(link, due, audience).await? {
                    Ok(()) => Ok(Some(Duration::ZERO)),
                    // The row is as it was: the worst that follows is a second delivery of the same id.
                    Err(error) => {
                        tracing::error!(%error, result = %id, "the store failed during delivery");
                        Ok(Some(STORE_PAUSE))
                    }
                }
            }
            Ok(Next::Wait(ms)) => Ok(Some(Duration::from_millis(ms.max(1)))),
            Ok(Next::Empty) => Ok(None),
            Err(error) => {
                tracing::error!(%error, "the outbox cannot be read");
                Ok(Some(STORE_PAUSE))
            }
        }
    }

    /// The outer error is the link's, the inner one the store's.
    async fn deliver(
        &self,
        link: &mut impl Link,
        due: Due,
        audience: &mut Audience,
    ) -> Result<Result<(), StoreError>, PublishError> {
        let Due { result_id, envelope, attempts, delivered, received_at_ms } = due;
        let retry_ms = resend_pause(attempts).as_millis() as u64;
        let payload = match prepare(envelope, attempts > 0, link.max_payload(&Channel::Result)).await {
            Ok(payload) => payload,
            Err(reason) => {
                tracing::error!(result = %result_id, reason, "a result cannot be sent as it is");
                return Ok(self.store.run(move |s| s.postpone(result_id, retry_ms)).await);
            }
        };
        if let Err(error) = self.store.run(move |s| s.count_sending(result_id)).await {
            return Ok(Err(error));
        }
        let message = Outbound::encoded(Channel::Result, payload, ResultEnvelope::CONTENT_TYPE);
        match link.send(message).await {
            Ok(Taken::Accepted) => audience.heard(),
            Ok(Taken::Unheard) if self.require_ack => {
                if audience.unheard(result_id) {
                    return Ok(self.store.run(move |s| s.await_audience(result_id)).await);
                }
            }
            // Taken over all the same: a broker may feed rules or queues that it does not count.
            Ok(Taken::Unheard) => tracing::warn!(
                "the broker knows no subscriber to results; set `mqtt.require_ack` to keep them until central has them"
            ),
            Err(error @ (PublishError::Refused { .. } | PublishError::TooLarge { .. })) => {
                tracing::error!(%error, result = %result_id, "a result was refused; others go first");
                return Ok(self.store.run(move |s| s.postpone(result_id, retry_ms)).await);
            }
            Err(error) => {
                if attempts >= SUSPECT {
                    // Perhaps it is this message that the broker dies of.
                    let yield_ms = yield_pause(attempts).as_millis() as u64;
                    if let Err(error) = self.store.run(move |s| s.postpone(result_id, yield_ms)).await {
                        tracing::error!(%error, result = %result_id, "a suspect result stays first in line");
                    }
                }
                return Err(error);
            }
        }
        if !delivered {
            self.vitals.count_delivery(received_at_ms.and_then(since));
        }
        tracing::info!(result = %result_id, replayed = attempts > 0, "delivered");
        if self.require_ack {
            return Ok(self.store.run(move |s| s.await_ack(result_id, retry_ms)).await);
        }
        Ok(self.store.run(move |s| s.finish(result_id)).await.map(drop))
    }

    async fn respond(&self, link: &mut impl Link, response: Outbound) -> Result<(), PublishError> {
        let _step = self.vitals.progress.courier.begin();
        match link.send(response).await {
            Err(error @ (PublishError::Refused { .. } | PublishError::TooLarge { .. })) => {
                tracing::warn!(%error, "a response was refused");
                Ok(())
            }
            sent => sent.map(drop),
        }
    }

    async fn send_health(&self, link: &mut impl Link) -> Result<(), PublishError> {
        let _step = self.vitals.progress.courier.begin();
        let vitals = Arc::clone(&self.vitals);
        match self.store.run(move |store| vitals.measure(store)).await {
            Ok(health) => {
                link.send(Outbound::expiring(Channel::Health, &health, HEALTH_EXPIRY_S)).await.map(drop)
            }
            Err(error) => {
                tracing::error!(%error, "no health message, since the store cannot be counted");
                Ok(())
            }
        }
    }
}

/// How long ago that was by the clock; none if the clock was set back since.
fn since(ms: i64) -> Option<Duration> {
    let age = jiff::Timestamp::now().as_millisecond().checked_sub(ms)?;
    u64::try_from(age).ok().map(Duration::from_millis)
}

/// The payload of a result, of at most `limit` bytes.
async fn prepare(envelope: Vec<u8>, replayed: bool, limit: usize) -> Result<Vec<u8>, String> {
    // Takes milliseconds: not on the thread that keeps the connection alive. What is sent as it is was read all the same:
    // the database may be damaged.
    let work = move || {
        let json = envelope;
        let mut envelope = ResultEnvelope::parse(&json).map_err(|e| e.to_string())?;
        if !replayed && json.len() <= limit {
            return Ok(json);
        }
        envelope.replayed = replayed;
        fit(envelope, limit).map_err(|e| e.to_string())
    };
    match tokio::task::spawn_blocking(work).await {
        Ok(payload) => payload,
        Err(e) => std::panic::resume_unwind(e.into_panic()),
    }
}

fn resend_pause(attempts: u32) -> Duration {
    RESEND * (1 << attempts.min(6))
}

fn yield_pause(attempts: u32) -> Duration {
    YIELD * (1 << attempts.saturating_sub(SUSPECT).min(7))
}
