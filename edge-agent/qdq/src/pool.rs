//! Threads that share the bands of an operator's rows.
//!
//! An operator takes some tens of microseconds, so the pool's threads look for the next one for a while before they sleep.
//! One operator runs at a time, whoever calls, so that no more threads compute than the pool has. Every thread begins with a
//! share of the bands that is its own, the same rows of each operator, so that it finds in its cache what it has made; then it
//! takes what others have left.

use std::cell::UnsafeCell;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle, Thread};

/// Looks for work before a thread sleeps: about 50 µs.
const LOOKS: usize = 2_000;
/// Looks before a waiting thread lets others use its core.
const LOOKS_BEFORE_YIELD: usize = 200;

/// Threads that the caller owns. An operator is parted into bands; the calling thread and the pool's own take one after the
/// other.
#[derive(Debug)]
pub struct Pool {
    crew: Option<Crew>,
}

#[derive(Debug)]
struct Crew {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    /// Whose task it is.
    turn: Mutex<()>,
}

type Task<'a> = dyn Fn(usize) + Sync + 'a;

struct Shared {
    /// Counts tasks: a change is news for the workers.
    epoch: AtomicUsize,
    stop: AtomicBool,
    task: UnsafeCell<Option<*const Task<'static>>>,
    bands: AtomicUsize,
    /// Of every thread's share, the calling one's first, the next band.
    next: Vec<Counter>,
    /// Workers that may still use the task.
    busy: AtomicUsize,
    failed: AtomicBool,
    sleeping: Vec<AtomicBool>,
    /// Workers that have begun.
    started: AtomicUsize,
}

/// A counter with a line of the cache for itself.
#[derive(Default)]
#[repr(align(64))]
struct Counter(AtomicUsize);

// SAFETY: `task` is written while no worker is busy, and read only by busy ones; everything else is atomic.
unsafe impl Sync for Shared {}
// SAFETY: as above; the pointer is to a task that is Sync.
unsafe impl Send for Shared {}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("workers", &self.sleeping.len()).finish_non_exhaustive()
    }
}

impl Pool {
    /// A pool of so many threads, the calling one included; 0 counts as 1.
    ///
    /// Threads that the system refuses to start are missing from the pool, see [`Pool::threads`].
    pub fn new(threads: usize) -> Self {
        let others = threads.saturating_sub(1);
        if others == 0 {
            return Self { crew: None };
        }
        let shared = Arc::new(Shared {
            epoch: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
            task: UnsafeCell::new(None),
            bands: AtomicUsize::new(0),
            next: (0..threads).map(|_| Counter::default()).collect(),
            busy: AtomicUsize::new(0),
            failed: AtomicBool::new(false),
            sleeping: (0..others).map(|_| AtomicBool::new(false)).collect(),
            started: AtomicUsize::new(0),
        });
        let start = |index: usize| {
            let shared = Arc::clone(&shared);
            thread::Builder::new().name(format!("qdq-{index}")).spawn(move || work(&shared, index)).ok()
        };
        let workers: Vec<JoinHandle<()>> = (0..others).map_while(start).collect();
        if workers.is_empty() {
            return Self { crew: None };
        }
        // A thread allocates as it begins; a run shall not.
        while shared.started.load(Ordering::Acquire) < workers.len() {
            thread::yield_now();
        }
        Self { crew: Some(Crew { shared, workers, turn: Mutex::new(()) }) }
    }

    /// Threads, the calling one included.
    pub fn threads(&self) -> usize {
        1 + self.crew.as_ref().map_or(0, |crew| crew.workers.len())
    }

    /// Calls the task once with each number below `bands`, on the pool's threads.
    ///
    /// # Panics
    /// If the task does.
    pub(crate) fn run(&self, bands: usize, task: &Task<'_>) {
        match &self.crew {
            Some(crew) if bands > 1 => crew.run(bands, task),
            _ => (0..bands).for_each(task),
        }
    }
}

impl Crew {
    fn run(&self, bands: usize, task: &Task<'_>) {
        // A task that panicked left nothing half done in the lock.
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let shared = &*self.shared;
        // SAFETY: only the lifetime changes; this function returns when no worker is busy, and the task outlives it.
        let lasting = unsafe { std::mem::transmute::<*const Task<'_>, *const Task<'static>>(task) };
        // SAFETY: no worker is busy, so that nobody reads it now.
        unsafe { *shared.task.get() = Some(lasting) };
        shared.bands.store(bands, Ordering::Relaxed);
        for (thread, next) in shared.next.iter().enumerate() {
            next.0.store(shared.share(thread, bands).start, Ordering::Relaxed);
        }
        shared.failed.store(false, Ordering::Relaxed);
        shared.busy.store(self.workers.len(), Ordering::Relaxed);
        shared.epoch.fetch_add(1, Ordering::SeqCst);
        for (worker, sleeping) in self.workers.iter().zip(&shared.sleeping) {
            if sleeping.load(Ordering::SeqCst) {
                Thread::unpark(worker.thread());
            }
        }
        let own = catch_unwind(AssertUnwindSafe(|| shared.take_bands(0, task)));
        let mut looks = 0;
        while shared.busy.load(Ordering::Acquire) > 0 {
            looks += 1;
            if looks > LOOKS_BEFORE_YIELD { thread::yield_now() } else { std::hint::spin_loop() }
        }
        match own {
            Err(panic) => resume_unwind(panic),
            Ok(()) => {
                let failed = shared.failed.load(Ordering::Relaxed);
                assert!(!failed, "an operator failed on a thread of the pool");
            }
        }
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.shared.epoch.fetch_add(1, Ordering::SeqCst);
        for worker in self.workers.drain(..) {
            worker.thread().unpark();
            // Its panics were caught.
            let _ = worker.join();
        }
    }
}

impl Shared {
    fn share(&self, thread: usize, bands: usize) -> Range<usize> {
        let threads = self.next.len();
        bands * thread / threads..bands * (thread + 1) / threads
    }

    /// Runs the bands of a thread's share, then those that are left of the others'.
    fn take_bands(&self, thread: usize, task: &Task<'_>) {
        let bands = self.bands.load(Ordering::Relaxed);
        let threads = self.next.len();
        for thread in (thread..threads).chain(0..thread) {
            let end = self.share(thread, bands).end;
            loop {
                let band = self.next[thread].0.fetch_add(1, Ordering::Relaxed);
                if band >= end {
                    break;
                }
                task(band);
            }
        }
    }

    /// Waits for an epoch after this one.
    fn wait(&self, seen: usize, index: usize) -> usize {
        for _ in 0..LOOKS {
            let epoch = self.epoch.load(Ordering::Acquire);
            if epoch != seen {
                return epoch;
            }
            std::hint::spin_loop();
        }
        loop {
            self.sleeping[index].store(true, Ordering::SeqCst);
            let epoch = self.epoch.load(Ordering::SeqCst);
            if epoch == seen {
                thread::park();
            }
            self.sleeping[index].store(false, Ordering::SeqCst);
            let epoch = self.epoch.load(Ordering::Acquire);
            if epoch != seen {
                return epoch;
            }
        }
    }
}

fn work(shared: &Shared, index: usize) {
    let mut seen = 0;
    shared.started.fetch_add(1, Ordering::Release);
    loop {
        seen = shared.wait(seen, index);
        if shared.stop.load(Ordering::SeqCst) {
            return;
        }
        // SAFETY: it was written before the epoch changed, and lives until this worker is no longer busy.
        let task = unsafe { (*shared.task.get()).map(|task| &*task) };
        if let Some(task) = task
            && catch_unwind(AssertUnwindSafe(|| shared.take_bands(index + 1, task))).is_err()
        {
            shared.failed.store(true, Ordering::Relaxed);
        }
        shared.busy.fetch_sub(1, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_band_is_run_once_on_any_number_of_threads() {
        for threads in [0, 1, 2, 5] {
            let pool = Pool::new(threads);
            assert_eq!(pool.threads(), threads.max(1));
            for bands in [0, 1, 2, 7, 100] {
                let runs: Vec<AtomicUsize> = (0..bands).map(|_| AtomicUsize::new(0)).collect();
                for _ in 0..20 {
                    pool.run(bands, &|band| {
                        runs[band].fetch_add(1, Ordering::Relaxed);
                    });
                }
                assert!(runs.iter().all(|count| count.load(Ordering::Relaxed) == 20));
            }
        }
    }

    #[test]
    fn callers_on_several_threads_take_turns() {
        let pool = Pool::new(2);
        let most = AtomicUsize::new(0);
        let now = AtomicUsize::new(0);
        let task = |_: usize| {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            thread::yield_now();
            now.fetch_sub(1, Ordering::SeqCst);
        };
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| (0..20).for_each(|_| pool.run(4, &task)));
            }
        });
        assert!(most.load(Ordering::SeqCst) <= 2);
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_pool_goes_on() {
        let pool = Pool::new(2);
        for bad in 0..4 {
            let outcome = catch_unwind(AssertUnwindSafe(|| pool.run(4, &|band| assert!(band != bad))));
            assert!(outcome.is_err());
        }
        let count = AtomicUsize::new(0);
        pool.run(8, &|_| {
            count.fetch_add(1, Ordering::Relaxed);
        });
        assert_eq!(count.load(Ordering::Relaxed), 8);
    }
}
