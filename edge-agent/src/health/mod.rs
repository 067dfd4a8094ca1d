//! How the agent is doing.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;
use shared::message::{Health, SCHEMA};
use uuid::Uuid;

use crate::bench::Memory;
use crate::store::{Census, Store, StoreError};

/// Counters of one start of the agent.
#[derive(Debug)]
pub struct Vitals {
    boot_id: Uuid,
    delivered: AtomicU64,
}

impl Vitals {
    /// All at zero.
    pub fn new(boot_id: Uuid) -> Self {
        Self { boot_id, delivered: AtomicU64::new(0) }
    }

    /// A broker took over a result.
    pub fn count_delivery(&self) {
        self.delivered.fetch_add(1, Ordering::Relaxed);
    }

    /// The health message of this moment.
    ///
    /// # Errors
    /// If the store cannot be counted.
    pub fn measure(&self, store: &Store) -> Result<Health, StoreError> {
        let Census { images_waiting, results_waiting, oldest_unsent_s, set_aside, .. } = store.census()?;
        Ok(Health {
            schema: SCHEMA,
            boot_id: self.boot_id,
            at: Timestamp::now(),
            images_waiting,
            results_waiting,
            oldest_unsent_s,
            set_aside,
            delivered: self.delivered.load(Ordering::Relaxed),
            rss_bytes: Memory::now().map(|memory| memory.rss_bytes),
        })
    }
}

/// Whether the clock is known to follow a time server: systemd-timesyncd says so by a file. Other daemons do
/// not, so false means "not known".
pub fn clock_synced() -> bool {
    Path::new("/run/systemd/timesync/synchronized").exists()
}

#[cfg(test)]
mod tests {
    use shared::message::Message;

    use super::*;

    #[test]
    fn health_counts_what_waits_and_what_was_delivered() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        store.stage(&b"image"[..], 10).unwrap().commit(None).unwrap();
        let vitals = Vitals::new(Uuid::from_u128(1));
        vitals.count_delivery();
        let health = vitals.measure(&store).unwrap();
        assert_eq!((health.images_waiting, health.results_waiting, health.delivered), (1, 0, 1));
        assert_eq!(health.oldest_unsent_s, None);
        assert_eq!(Health::parse(&health.to_json()).unwrap(), health);
    }
}
