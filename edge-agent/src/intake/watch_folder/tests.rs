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
