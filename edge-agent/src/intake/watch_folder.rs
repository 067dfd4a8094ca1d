//! A folder whose radiographs are taken.
//!
//! The folder is scanned, not watched with inotify: radiographs come over NFS or SMB as a rule, where the
//! kernel reports nothing that another host writes, and a lost event would be a lost image. A scan of a few
//! thousand names costs milliseconds.
//!
//! A file is taken when its size and modification time have not changed for `settle_ms`, and once more not
//! while it was read. Names that begin with a dot or end in `.part` or `.tmp`, links and special files are
//! passed over: write under such a name and rename. The store remembers what was taken by fingerprint, so a
//! restart does not read everything again, and a file that is refused is reported once.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::scan::{Version, list};
use super::settle::Settler;
use crate::config::{OnTaken, WatchConfig};
use crate::store::{Accepted, Fingerprint, Store, StoreError, Taken};

/// Images waiting for analysis above which files are left where they are.
const BACKLOG: u64 = 64;
/// Before a file that could not be read or stored is tried again.
const RETRY: Duration = Duration::from_secs(30);
/// Bounds of the pause between two scans.
const SCAN_EVERY: [Duration; 2] = [Duration::from_millis(20), Duration::from_secs(1)];

/// Takes files out of a folder.
pub struct WatchFolder {
    config: WatchConfig,
    max_file_bytes: u64,
    store: Store,
    settler: Settler,
    reachable: bool,
}

/// Why a file was not taken this time.
#[derive(Debug, thiserror::Error)]
enum TakeError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("failed to {action} the file: {source}")]
    File { action: &'static str, source: io::Error },
    #[error("it changed while it was read")]
    Changed,
}

enum Outcome {
    Accepted(Accepted),
    Known,
    Refused(String),
}

impl WatchFolder {
    /// For a folder, which may be out of reach for now.
    pub fn new(config: WatchConfig, max_file_bytes: u64, store: Store) -> Self {
        let settler = Settler::new(Duration::from_millis(config.settle_ms));
        Self { config, max_file_bytes, store, settler, reachable: true }
    }

    /// Scans until stopped; `accepted` is rung for every image that the store took.
    pub async fn run(mut self, accepted: Arc<Notify>, stop: CancellationToken) {
        let [least, most] = SCAN_EVERY;
        let pause = Duration::from_millis(self.config.settle_ms / 4).clamp(least, most);
        while !stop.is_cancelled() {
            // The scan blocks on a disk or on a network.
            let (bell, stopping) = (Arc::clone(&accepted), stop.clone());
            let scanned = tokio::task::spawn_blocking(move || {
                self.scan(&bell, &stopping);
                self
            });
            self = match scanned.await {
                Ok(folder) => folder,
                Err(e) => std::panic::resume_unwind(e.into_panic()),
            };
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    fn scan(&mut self, accepted: &Notify, stop: &CancellationToken) {
        let found = match list(&self.config.path, self.config.recursive) {
            Ok(found) => found,
            Err(error) => {
                if std::mem::replace(&mut self.reachable, false) {
                    tracing::warn!(%error, "the watched folder is out of reach");
                }
                return;
            }
        };
        if !std::mem::replace(&mut self.reachable, true) {
            tracing::info!("the watched folder is back");
        }
        for (path, version) in self.settler.scan(found, Instant::now()) {
            if stop.is_cancelled() || self.is_backlogged() {
                return;
            }
            self.handle(&path, version, accepted);
        }
    }

    fn is_backlogged(&self) -> bool {
        self.store.images_waiting().is_ok_and(|waiting| waiting >= BACKLOG)
    }

    fn handle(&mut self, path: &Path, version: Version, accepted: &Notify) {
        // No path in the log: people put patients' names into file names.
        let file = version.fingerprint(path);
        match self.take(path, version, &file) {
            Ok(outcome) => {
                match outcome {
                    Outcome::Accepted(Accepted::New(image)) => {
                        tracing::info!(%file, %image, bytes = version.size, "took a file");
                        accepted.notify_one();
                    }
                    Outcome::Accepted(Accepted::Duplicate(image)) => {
                        tracing::info!(%file, %image, "took a file whose content is known");
                    }
                    Outcome::Refused(reason) => tracing::warn!(%file, reason, "refused a file"),
                    Outcome::Known => {}
                }
                self.settler.handled(path);
            }
            Err(error) => {
                // The image may be in the store all the same, and only its file not cleared away.
                accepted.notify_one();
                tracing::warn!(%file, %error, retry_in_s = RETRY.as_secs(), "a file waits in the folder");
                self.settler.retry(path, Instant::now(), RETRY);
            }
        }
    }

    fn take(&self, path: &Path, version: Version, file: &Fingerprint) -> Result<Outcome, TakeError> {
        match self.store.taken(file)? {
            // Size is the only ground for refusal, and the limit may have been raised since.
            Some(Taken::Refused(_)) if version.size > self.max_file_bytes => return Ok(Outcome::Known),
            Some(Taken::Accepted) if self.config.on_taken == OnTaken::Leave => return Ok(Outcome::Known),
            // A file that is to be cleared away is read again: a unit that reuses names and has no clock gives
            // another image the same fingerprint, and only its bytes prove that the store holds it.
            _ => {}
        }
        let source = File::open(path).map_err(|source| TakeError::File { action: "open", source })?;
        let staged = match self.store.stage(&source, self.max_file_bytes) {
            Ok(staged) => staged,
            Err(error @ StoreError::TooLarge { .. }) => {
                // Still growing files are not judged.
                unchanged(&source, version)?;
                self.store.refuse(file, &error.to_string())?;
                return Ok(Outcome::Refused(error.to_string()));
            }
            Err(error) => return Err(error.into()),
        };
        unchanged(&source, version)?;
        let accepted = staged.commit(Some(file))?;
        self.clear(path, version)?;
        Ok(Outcome::Accepted(accepted))
    }

    /// Does with a file that the store holds as configured.
    fn clear(&self, path: &Path, taken: Version) -> Result<(), TakeError> {
        let inspect = |source| TakeError::File { action: "inspect", source };
        if Version::of(&fs::symlink_metadata(path).map_err(inspect)?) != taken {
            // Another file has come under this name: the next scan finds it.
            return Err(TakeError::Changed);
        }
        match &self.config.on_taken {
            OnTaken::Leave => Ok(()),
            OnTaken::Delete => {
                fs::remove_file(path).map_err(|source| TakeError::File { action: "delete", source })
            }
            OnTaken::Move(folder) => {
                move_into(path, folder).map_err(|source| TakeError::File { action: "move", source })
            }
        }
    }
}

fn unchanged(file: &File, expected: Version) -> Result<(), TakeError> {
    let metadata = file.metadata().map_err(|source| TakeError::File { action: "inspect", source })?;
    if Version::of(&metadata) == expected { Ok(()) } else { Err(TakeError::Changed) }
}

/// Moves a file, across file systems too, without replacing one of the same name.
fn move_into(path: &Path, folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let name = path.file_name().unwrap_or_default();
    let mut target = folder.join(name);
    for n in 1.. {
        if !target.try_exists()? {
            break;
        }
        let mut numbered = std::ffi::OsString::from(format!("{n}-"));
        numbered.push(name);
        target = folder.join(numbered);
    }
    match fs::rename(path, &target) {
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
            fs::copy(path, &target)?;
            fs::remove_file(path)
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use std::path::PathBuf;

    use super::*;
    use crate::intake::scan::fingerprint;
    use crate::store::ImageId;

    struct Bench {
        dir: TempDir,
        folder: WatchFolder,
    }

    fn bench(on_taken: OnTaken) -> Bench {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("in");
        fs::create_dir(&path).unwrap();
        let store = Store::open(&dir.path().join("state")).unwrap();
        let config = WatchConfig { path, settle_ms: 0, recursive: true, on_taken };
        Bench { dir, folder: WatchFolder::new(config, 100, store) }
    }

    impl Bench {
        fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
            let path = self.folder.config.path.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, bytes).unwrap();
            path
        }

        fn scan(&mut self) {
            self.folder.scan(&Notify::new(), &CancellationToken::new());
        }

        fn holds(&self, bytes: &[u8]) -> bool {
            self.folder.store.image(ImageId::of(bytes)).unwrap().is_some()
        }
    }

    #[test]
    fn files_of_all_folders_are_taken_and_unfinished_ones_passed_over() {
        let mut bench = bench(OnTaken::Leave);
        for (name, taken) in [
            ("a.png", true),
            ("deep/er/b.dcm", true),
            ("no-extension", true),
            (".hidden", false),
            ("c.part", false),
            ("d.TMP", false),
            (".trash/e.png", false),
        ] {
            bench.write(name, name.as_bytes());
            bench.scan();
            assert_eq!(bench.holds(name.as_bytes()), taken, "{name}");
        }
    }

    #[test]
    fn folders_below_count_only_if_asked() {
        let mut bench = bench(OnTaken::Leave);
        bench.folder.config.recursive = false;
        bench.write("deep/a.png", b"a");
        bench.scan();
        assert!(!bench.holds(b"a"));
    }

    #[cfg(unix)]
    #[test]
    fn links_are_not_followed() {
        let mut bench = bench(OnTaken::Leave);
        let outside = bench.dir.path().join("secret");
        fs::write(&outside, b"secret").unwrap();
        let inside = bench.folder.config.path.clone();
        std::os::unix::fs::symlink(&outside, inside.join("link")).unwrap();
        std::os::unix::fs::symlink(&inside, inside.join("circle")).unwrap();
        bench.scan();
        assert!(!bench.holds(b"secret"));
    }

    #[test]
    fn a_taken_file_is_left_deleted_or_moved() {
        let mut left = bench(OnTaken::Leave);
        let path = left.write("a.png", b"a");
        left.scan();
        assert!(path.exists() && left.holds(b"a"));

        let mut deleted = bench(OnTaken::Delete);
        let path = deleted.write("a.png", b"a");
        deleted.scan();
        assert!(!path.exists() && deleted.holds(b"a"));

        let target = TempDir::new().unwrap();
        let mut moved = bench(OnTaken::Move(target.path().join("done")));
        for content in [b"a", b"b"] {
            let path = moved.write("a.png", content);
            moved.scan();
            assert!(!path.exists() && moved.holds(content));
        }
        assert_eq!(fs::read(target.path().join("done/a.png")).unwrap(), b"a");
        assert_eq!(fs::read(target.path().join("done/1-a.png")).unwrap(), b"b");
    }

    #[test]
    fn what_was_taken_is_not_read_again_after_a_restart() {
        let mut bench = bench(OnTaken::Leave);
        let path = bench.write("a.png", b"a");
        bench.scan();
        let file = fingerprint(&path).unwrap();
        let (config, store) = (bench.folder.config.clone(), bench.folder.store.clone());
        assert_eq!(store.taken(&file).unwrap(), Some(Taken::Accepted));
        let again = WatchFolder::new(config, 100, store);
        let version = Version::of(&fs::metadata(&path).unwrap());
        assert!(matches!(again.take(&path, version, &file), Ok(Outcome::Known)));
    }

    #[test]
    fn a_crash_before_clearing_away_is_made_good() {
        let mut bench = bench(OnTaken::Leave);
        let path = bench.write("a.png", b"a");
        bench.scan();
        let config = WatchConfig { on_taken: OnTaken::Delete, ..bench.folder.config.clone() };
        bench.folder = WatchFolder::new(config, 100, bench.folder.store.clone());
        bench.scan();
        assert!(!path.exists());
    }

    #[test]
    fn another_image_of_the_same_name_size_and_time_is_not_deleted_unread() {
        let mut bench = bench(OnTaken::Delete);
        let written = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        for content in [b"a", b"b"] {
            let path = bench.write("image.dcm", content);
            File::options().write(true).open(&path).unwrap().set_modified(written).unwrap();
            bench.scan();
            assert!(!path.exists() && bench.holds(content));
            // A look at the empty folder: what comes then is another file.
            bench.scan();
        }
    }

    #[tokio::test]
    async fn what_is_stored_but_cannot_be_cleared_away_is_still_announced() {
        let mut bench = bench(OnTaken::Leave);
        // A file stands where the folder for taken files should be.
        let blocked = bench.dir.path().join("blocked");
        fs::write(&blocked, b"").unwrap();
        bench.folder.config.on_taken = OnTaken::Move(blocked);
        let path = bench.write("a.png", b"a");
        let bell = Notify::new();
        bench.folder.scan(&bell, &CancellationToken::new());
        assert!(path.exists() && bench.holds(b"a"));
        tokio::time::timeout(Duration::ZERO, bell.notified()).await.expect("the worker is told");
    }

    #[test]
    fn a_refused_file_is_taken_once_the_limit_allows_it() {
        let mut bench = bench(OnTaken::Leave);
        let bytes = [7; 101];
        bench.write("big.dcm", &bytes);
        bench.scan();
        assert!(!bench.holds(&bytes));
        let (config, store) = (bench.folder.config.clone(), bench.folder.store.clone());
        bench.folder = WatchFolder::new(config, 101, store);
        bench.scan();
        assert!(bench.holds(&bytes));
        assert_eq!(bench.folder.store.census().unwrap().set_aside, 0);
    }

    #[test]
    fn a_file_that_came_under_the_same_name_is_not_cleared_away() {
        let bench = bench(OnTaken::Delete);
        let path = bench.write("a.png", b"newer");
        let taken = Version { size: 3, ..Version::of(&fs::metadata(&path).unwrap()) };
        assert!(matches!(bench.folder.clear(&path, taken), Err(TakeError::Changed)));
        assert!(path.exists());
    }

    #[test]
    fn a_file_over_the_limit_is_refused_once_and_stays() {
        let mut bench = bench(OnTaken::Delete);
        let path = bench.write("big.dcm", &[7; 101]);
        bench.scan();
        bench.scan();
        let taken = bench.folder.store.taken(&fingerprint(&path).unwrap()).unwrap();
        assert!(matches!(taken, Some(Taken::Refused(reason)) if reason.contains("100 bytes")));
        assert!(path.exists(), "what the store does not hold is never deleted");
        assert_eq!(bench.folder.store.census().unwrap().set_aside, 1);
    }

    #[test]
    fn a_file_that_changes_while_it_is_read_waits() {
        let mut bench = bench(OnTaken::Leave);
        let path = bench.write("a.png", b"half");
        let version = Version { size: 3, ..Version::of(&fs::metadata(&path).unwrap()) };
        let file = version.fingerprint(&path);
        assert!(matches!(bench.folder.take(&path, version, &file), Err(TakeError::Changed)));
        assert!(!bench.holds(b"half"));
        bench.scan();
        assert!(bench.holds(b"half"));
    }

    #[test]
    fn a_folder_out_of_reach_is_tried_again() {
        let mut bench = bench(OnTaken::Leave);
        let path = bench.folder.config.path.clone();
        fs::remove_dir(&path).unwrap();
        bench.scan();
        assert!(!bench.folder.reachable);
        bench.write("a.png", b"a");
        bench.scan();
        assert!(bench.folder.reachable && bench.holds(b"a"));
    }

    #[test]
    fn intake_rests_while_the_worker_is_far_behind() {
        let mut bench = bench(OnTaken::Leave);
        for n in 0..BACKLOG + 2 {
            bench.write(&format!("{n:03}.png"), &n.to_le_bytes());
        }
        bench.scan();
        assert_eq!(bench.folder.store.census().unwrap().images_waiting, BACKLOG);
        let first = bench.folder.store.oldest_received().unwrap().unwrap();
        bench.folder.store.set_aside(first, "test").unwrap();
        bench.scan();
        assert!(bench.holds(&BACKLOG.to_le_bytes()));
    }
}
