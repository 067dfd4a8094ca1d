use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::scan::Version;

/// Tells which files have stopped changing, and which of those have been dealt with.
#[derive(Debug)]
pub(super) struct Settler {
    settle: Duration,
    files: HashMap<PathBuf, Watched>,
    scan: u64,
}

#[derive(Debug)]
struct Watched {
    version: Version,
    /// Not before.
    ready_at: Instant,
    handled: bool,
    seen_in: u64,
}

impl Settler {
    pub(super) fn new(settle: Duration) -> Self {
        Self { settle, files: HashMap::new(), scan: 0 }
    }

    /// Takes in one scan of the whole folder and returns the files that are ready.
    pub(super) fn scan(&mut self, found: Vec<(PathBuf, Version)>, now: Instant) -> Vec<(PathBuf, Version)> {
        self.scan += 1;
        let mut ready = Vec::new();
        for (path, version) in found {
            let settle = self.settle;
            let fresh = || Watched { version, ready_at: now + settle, handled: false, seen_in: 0 };
            let file = self.files.entry(path.clone()).or_insert_with(fresh);
            if file.version != version {
                *file = fresh();
            }
            file.seen_in = self.scan;
            if !file.handled && now >= file.ready_at {
                ready.push((path, version));
            }
        }
        // What vanished is forgotten: a file of the same name is another file.
        self.files.retain(|_, file| file.seen_in == self.scan);
        ready
    }

    /// The file needs nothing more as long as it does not change.
    pub(super) fn handled(&mut self, path: &Path) {
        if let Some(file) = self.files.get_mut(path) {
            file.handled = true;
        }
    }

    /// The file could not be dealt with: not before `pause` has passed.
    pub(super) fn retry(&mut self, path: &Path, now: Instant, pause: Duration) {
        if let Some(file) = self.files.get_mut(path) {
            file.ready_at = now + pause;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTLE: Duration = Duration::from_secs(2);

    fn seen(size: u64, modified_ns: i128) -> Vec<(PathBuf, Version)> {
        vec![(PathBuf::from("a.png"), Version { size, modified_ns })]
    }

    #[test]
    fn a_file_is_ready_once_it_rests() {
        let (mut settler, start) = (Settler::new(SETTLE), Instant::now());
        assert!(settler.scan(seen(1, 1), start).is_empty());
        assert!(settler.scan(seen(1, 1), start + SETTLE / 2).is_empty());
        assert_eq!(settler.scan(seen(1, 1), start + SETTLE), seen(1, 1));
    }

    #[test]
    fn growth_and_a_new_time_start_over() {
        for changed in [seen(2, 1), seen(1, 2)] {
            let (mut settler, start) = (Settler::new(SETTLE), Instant::now());
            settler.scan(seen(1, 1), start);
            assert!(settler.scan(changed.clone(), start + SETTLE).is_empty());
            assert!(settler.scan(changed.clone(), start + SETTLE * 3 / 2).is_empty());
            assert_eq!(settler.scan(changed.clone(), start + SETTLE * 2), changed);
        }
    }

    #[test]
    fn what_was_handled_comes_again_only_when_it_changes() {
        let (mut settler, start) = (Settler::new(SETTLE), Instant::now());
        settler.scan(seen(1, 1), start);
        settler.handled(Path::new("a.png"));
        assert!(settler.scan(seen(1, 1), start + SETTLE * 2).is_empty());
        settler.scan(seen(1, 9), start + SETTLE * 3);
        assert_eq!(settler.scan(seen(1, 9), start + SETTLE * 4), seen(1, 9));
    }

    #[test]
    fn a_failure_pauses() {
        let (mut settler, start) = (Settler::new(SETTLE), Instant::now());
        settler.scan(seen(1, 1), start);
        settler.retry(Path::new("a.png"), start + SETTLE, SETTLE * 10);
        assert!(settler.scan(seen(1, 1), start + SETTLE * 10).is_empty());
        assert_eq!(settler.scan(seen(1, 1), start + SETTLE * 11), seen(1, 1));
    }

    #[test]
    fn a_file_that_vanished_is_a_new_file_when_it_returns() {
        let (mut settler, start) = (Settler::new(SETTLE), Instant::now());
        settler.scan(seen(1, 1), start);
        settler.handled(Path::new("a.png"));
        settler.scan(Vec::new(), start);
        settler.scan(seen(1, 1), start);
        assert_eq!(settler.scan(seen(1, 1), start + SETTLE), seen(1, 1));
    }
}
