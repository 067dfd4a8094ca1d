//! How the agent is doing: what it counts ([`metrics`]), whether its stages move ([`progress`]), what the box
//! has left ([`system`]), and what follows from that for whoever asks or restarts it ([`watchdog`]).

pub mod metrics;
pub mod progress;
pub mod system;
pub mod watchdog;
mod window;

use std::time::{Duration, Instant};

use jiff::Timestamp;
use shared::message::{Health, LatencyMs, SCHEMA};
use uuid::Uuid;

pub use metrics::Gate;
pub use system::clock_synced;

use crate::bench::Memory;
use crate::store::{Census, Store, StoreError};
use metrics::Metrics;
use progress::Progress;
use window::Window;

/// What one start of the agent knows of itself; shared by all stages.
#[derive(Debug)]
pub struct Vitals {
    boot_id: Uuid,
    started_at: Timestamp,
    /// What is counted.
    pub metrics: Metrics,
    /// What moves.
    pub progress: Progress,
    analyses_ms: Window,
    deliveries_ms: Window,
}

impl Vitals {
    /// All at zero, everything at rest.
    pub fn new(boot_id: Uuid) -> Self {
        Self {
            boot_id,
            started_at: Timestamp::now(),
            metrics: Metrics::default(),
            progress: Progress::new(Instant::now()),
            analyses_ms: Window::default(),
            deliveries_ms: Window::default(),
        }
    }

    /// This start.
    pub fn boot_id(&self) -> Uuid {
        self.boot_id
    }

    /// When it was.
    pub fn started_at(&self) -> Timestamp {
        self.started_at
    }

    /// An image has its result.
    pub fn count_analysis(&self, latency: &LatencyMs) {
        self.metrics.count_analysis(latency);
        self.analyses_ms.push(latency.total());
    }

    /// A broker took over a result for the first time, so long after its image came.
    pub fn count_delivery(&self, since_received: Option<Duration>) {
        self.metrics.count_delivery(since_received);
        if let Some(duration) = since_received {
            self.deliveries_ms.push(duration.as_secs_f64() * 1000.0);
        }
    }

    /// The health message of this moment.
    ///
    /// # Errors
    /// If the store cannot be counted.
    pub fn measure(&self, store: &Store) -> Result<Health, StoreError> {
        let Census { images_waiting, results_waiting, oldest_unsent_s, set_aside, .. } = store.census()?;
        let disk = system::disk(store.dir());
        Ok(Health {
            schema: SCHEMA,
            boot_id: self.boot_id,
            at: Timestamp::now(),
            images_waiting,
            results_waiting,
            oldest_unsent_s,
            set_aside,
            delivered: self.metrics.delivered(),
            rss_bytes: Memory::now().map(|memory| memory.rss_bytes),
            disk_free_bytes: disk.map(|d| d.free_bytes),
            disk_bytes: disk.map(|d| d.bytes),
            temperature_c: system::temperature_c(),
            analysis_ms: self.analyses_ms.percentiles(),
            delivery_ms: self.deliveries_ms.percentiles(),
        })
    }
}

#[cfg(test)]
mod tests {
    use shared::message::Message;

    use super::*;

    #[test]
    fn health_counts_what_waits_and_what_was_delivered() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        store.stage(&b"image"[..], 10).unwrap().commit(crate::store::Origin::Unknown).unwrap();
        let vitals = Vitals::new(Uuid::from_u128(1));
        vitals.count_delivery(Some(Duration::from_secs(2)));
        vitals.count_delivery(None);
        vitals.count_analysis(&LatencyMs { decode: 1.0, preprocess: 2.0, infer: 3.0, postprocess: 4.0 });
        let health = vitals.measure(&store).unwrap();
        assert_eq!((health.images_waiting, health.results_waiting, health.delivered), (1, 0, 2));
        assert_eq!(health.oldest_unsent_s, None);
        assert_eq!(health.analysis_ms.unwrap().p50, 10.0);
        let delivery = health.delivery_ms.unwrap();
        assert_eq!((delivery.count, delivery.max), (1, 2000.0));
        assert!(health.disk_free_bytes.unwrap() <= health.disk_bytes.unwrap());
        assert_eq!(Health::parse(&health.to_json()).unwrap(), health);
    }
}
