//! Whether the stages move.
//!
//! A stage says when it begins a piece of work and when it ends it. Rest is no fault, however long; work that takes
//! longer than its bound is.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// For one image, or for a model that is loaded anew: a large JPEG 2000 image on a slow board takes some tens of
/// seconds.
const ANALYSIS_BOUND: Duration = Duration::from_secs(180);
/// For one step of the courier: a connection attempt is the longest, of at most 120 s.
const COURIER_BOUND: Duration = Duration::from_secs(180);
/// For the store to answer, or to answer well again.
const STORE_BOUND: Duration = Duration::from_secs(90);

/// The stages.
#[derive(Debug)]
pub struct Progress {
    /// The worker's image.
    pub analysis: Stage,
    /// The courier's step.
    pub courier: Stage,
    /// Whether an engine is there that has given its golden masks.
    model: AtomicBool,
    store: Mutex<StoreHealth>,
}

/// A stage that works and rests.
#[derive(Debug, Default)]
pub struct Stage {
    since: Mutex<Option<Instant>>,
}

/// A piece of work; ends when dropped.
#[derive(Debug)]
pub struct Work<'a>(&'a Stage);

/// What a look at the store found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreState {
    /// It reads and writes.
    Sound,
    /// Its disk is full: nothing new is taken, and what is there is still sent.
    Full,
    /// It fails, for this reason.
    Failed(String),
}

#[derive(Debug)]
struct StoreHealth {
    state: StoreState,
    /// When it last answered, if only that its disk is full.
    answered: Instant,
}

impl Stage {
    /// Begins a piece of work.
    pub fn begin(&self) -> Work<'_> {
        self.begin_at(Instant::now())
    }

    fn begin_at(&self, now: Instant) -> Work<'_> {
        *lock(&self.since) = Some(now);
        Work(self)
    }

    fn stalled(&self, now: Instant, bound: Duration) -> bool {
        lock(&self.since).is_some_and(|since| now.saturating_duration_since(since) > bound)
    }
}

impl Drop for Work<'_> {
    fn drop(&mut self) {
        *lock(&self.0.since) = None;
    }
}

impl Progress {
    /// Everything at rest and sound.
    pub fn new(now: Instant) -> Self {
        Self {
            analysis: Stage::default(),
            courier: Stage::default(),
            model: AtomicBool::new(true),
            store: Mutex::new(StoreHealth { state: StoreState::Sound, answered: now }),
        }
    }

    /// Whether images can be analysed.
    pub fn set_model(&self, serves: bool) {
        self.model.store(serves, Ordering::Relaxed);
    }

    /// What was found of the store.
    pub fn set_store(&self, state: StoreState, now: Instant) {
        let mut store = lock(&self.store);
        if !matches!(state, StoreState::Failed(_)) {
            store.answered = now;
        }
        store.state = state;
    }

    /// Why the agent should be restarted; none while it makes progress.
    pub fn fault(&self, now: Instant) -> Option<String> {
        if self.analysis.stalled(now, ANALYSIS_BOUND) {
            return Some(format!(
                "the analysis hangs in one image for more than {} s",
                ANALYSIS_BOUND.as_secs()
            ));
        }
        if self.courier.stalled(now, COURIER_BOUND) {
            return Some(format!("the publisher hangs for more than {} s", COURIER_BOUND.as_secs()));
        }
        let store = lock(&self.store);
        if now.saturating_duration_since(store.answered) <= STORE_BOUND {
            return None;
        }
        Some(match &store.state {
            StoreState::Failed(reason) => reason.clone(),
            _ => format!("the store does not answer for more than {} s", STORE_BOUND.as_secs()),
        })
    }

    /// Why no image can be taken or analysed; none if all is well. The broker does not matter: results wait for it.
    pub fn obstacle(&self, now: Instant) -> Option<String> {
        if let Some(fault) = self.fault(now) {
            return Some(fault);
        }
        if !self.model.load(Ordering::Relaxed) {
            return Some("no model serves".into());
        }
        match &lock(&self.store).state {
            StoreState::Sound => None,
            StoreState::Full => Some("the disk of the store is full".into()),
            StoreState::Failed(reason) => Some(reason.clone()),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(181);

    #[test]
    fn work_that_takes_too_long_is_a_fault_and_rest_is_none() {
        let start = Instant::now();
        let progress = Progress::new(start);
        progress.set_store(StoreState::Sound, start + LONG);
        for (stage, name) in [(&progress.analysis, "analysis"), (&progress.courier, "publisher")] {
            let work = stage.begin_at(start);
            assert_eq!(progress.fault(start + ANALYSIS_BOUND), None);
            assert!(progress.fault(start + LONG).unwrap().contains(name));
            drop(work);
            assert_eq!(progress.fault(start + LONG), None);
        }
    }

    #[test]
    fn the_next_piece_of_work_starts_its_own_time() {
        let start = Instant::now();
        let progress = Progress::new(start);
        drop(progress.analysis.begin_at(start));
        let _work = progress.analysis.begin_at(start + LONG);
        progress.set_store(StoreState::Sound, start + LONG);
        assert_eq!(progress.fault(start + LONG), None);
    }

    #[test]
    fn a_full_disk_closes_the_door_and_a_failing_store_ends_the_agent() {
        let start = Instant::now();
        let progress = Progress::new(start);
        let later = start + STORE_BOUND * 2;
        assert!(progress.fault(later).unwrap().contains("does not answer"));
        progress.set_store(StoreState::Full, later);
        assert_eq!(progress.fault(later), None);
        assert!(progress.obstacle(later).unwrap().contains("full"));
        progress.set_store(StoreState::Failed("input/output error".into()), later);
        assert_eq!(progress.fault(later), None, "it may be over soon");
        assert_eq!(progress.obstacle(later).unwrap(), "input/output error");
        assert_eq!(progress.fault(later + STORE_BOUND * 2).unwrap(), "input/output error");
        progress.set_store(StoreState::Sound, later);
        assert_eq!(progress.obstacle(later), None);
    }

    #[test]
    fn without_a_model_the_agent_is_not_ready_but_lives() {
        let start = Instant::now();
        let progress = Progress::new(start);
        progress.set_model(false);
        assert_eq!(progress.fault(start), None);
        assert_eq!(progress.obstacle(start).unwrap(), "no model serves");
    }
}
