//! Watches the stages and tells the service manager: `READY` and `STOPPING`, a line of `STATUS`, and `WATCHDOG` only
//! while the agent makes progress, so that systemd restarts one that hangs. Without systemd only the watching is done.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sd_notify::NotifyState;
use tokio::time::timeout;

use super::progress::StoreState;
use super::{Vitals, system};
use crate::store::{Census, Store, StoreError};

/// Between two looks, at most.
const TICK: Duration = Duration::from_secs(10);
/// Between two looks at the store: each writes and syncs a file.
const PROBE_EVERY: Duration = Duration::from_secs(30);

/// Tells the service manager that the agent serves.
pub fn tell_ready() {
    tell(&[NotifyState::Ready]);
}

/// Tells the service manager that the agent stops.
pub fn tell_stopping() {
    tell(&[NotifyState::Stopping]);
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "the service manager cannot be told");
    }
}

/// Watches until it is dropped.
pub async fn watch(vitals: Arc<Vitals>, store: Store) {
    let tick = sd_notify::watchdog_enabled().map_or(TICK, |bound| TICK.min(bound / 3));
    let mut known_fault = None;
    let mut status = String::new();
    loop {
        let mut look = Box::pin(store.run(|store| {
            store.probe()?;
            store.census()
        }));
        let begun = Instant::now();
        let mut census = None;
        // A look that hangs must not keep the rest from being judged.
        while census.is_none() || begun.elapsed() < PROBE_EVERY {
            if census.is_some() {
                tokio::time::sleep(tick).await;
            } else if let Ok(found) = timeout(tick, &mut look).await {
                vitals.progress.set_store(state(&found), Instant::now());
                vitals.metrics.set_system(system::disk(store.dir()), system::temperature_c());
                census = Some(found.ok());
            }
            let fault = vitals.progress.fault(Instant::now());
            if fault.is_none() {
                tell(&[NotifyState::Watchdog]);
            }
            if fault != known_fault {
                match &fault {
                    Some(reason) => tracing::error!(reason, "the watchdog is fed no longer"),
                    None => tracing::info!("the agent makes progress again"),
                }
                known_fault = fault;
            }
            let now = describe(&vitals, census.flatten());
            if now != status {
                tell(&[NotifyState::Status(&now)]);
                status = now;
            }
        }
    }
}

fn state(found: &Result<Census, StoreError>) -> StoreState {
    match found {
        Ok(_) => StoreState::Sound,
        Err(error) if error.is_full() => StoreState::Full,
        Err(error) => StoreState::Failed(error.to_string()),
    }
}

/// A line for `systemctl status`.
fn describe(vitals: &Vitals, census: Option<Census>) -> String {
    let broker = if vitals.metrics.is_connected() { "broker connected" } else { "no broker" };
    let obstacle = vitals.progress.obstacle(Instant::now()).map(|o| format!("; {o}")).unwrap_or_default();
    match census {
        Some(Census { images_waiting, results_waiting, set_aside, .. }) => format!(
            "{broker}; waiting: {images_waiting} images, {results_waiting} results; set aside: {set_aside}{obstacle}"
        ),
        None => format!("{broker}{obstacle}"),
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_full_disk_is_not_a_store_that_fails() {
        let failed = |kind: std::io::ErrorKind| state(&Err(StoreError::Source(kind.into())));
        assert!(
            matches!(failed(std::io::ErrorKind::StorageFull), StoreState::Failed(_)),
            "not the store's disk"
        );
        let full = StoreError::Io {
            action: "write",
            path: "state".into(),
            source: std::io::ErrorKind::StorageFull.into(),
        };
        assert_eq!(state(&Err(full)), StoreState::Full);
        assert_eq!(state(&Ok(Census::default())), StoreState::Sound);
    }

    #[test]
    fn the_status_line_says_what_waits_and_what_is_wrong() {
        let vitals = Vitals::new(Uuid::nil());
        let census = Census { images_waiting: 1, results_waiting: 2, set_aside: 3, ..Census::default() };
        let line = describe(&vitals, Some(census));
        assert_eq!(line, "no broker; waiting: 1 images, 2 results; set aside: 3");
        vitals.metrics.set_connected(true);
        vitals.progress.set_store(StoreState::Full, Instant::now());
        assert_eq!(describe(&vitals, None), "broker connected; the disk of the store is full");
    }
}
