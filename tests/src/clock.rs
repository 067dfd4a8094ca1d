use std::fs;
use std::path::{Path, PathBuf};

/// A wall clock that jumps when a test says so: libfaketime's, in front of a program's own. The monotonic clock goes on as
/// it does when somebody sets the time.
pub struct Clock {
    offset: PathBuf,
}

impl Clock {
    /// Shows the right time at first. `folder` holds what the program reads the offset from.
    pub fn new(folder: &Path) -> Self {
        let clock = Self { offset: folder.join("clock") };
        clock.set("+0");
        clock
    }

    /// By how much it is off from now on, as faketime writes it: `-40d`, `+3y`.
    pub fn set(&self, offset: &str) {
        // Renamed into place: a program must not read half of it.
        let new = self.offset.with_extension("new");
        fs::write(&new, offset).expect("temporary folder is writable");
        fs::rename(&new, &self.offset).expect("temporary folder is writable");
    }

    /// What a program needs in its environment.
    pub fn environment(&self) -> Vec<(String, String)> {
        [
            ("LD_PRELOAD", library().as_path()),
            ("FAKETIME_TIMESTAMP_FILE", &self.offset),
            ("FAKETIME_NO_CACHE", Path::new("1")),
            ("FAKETIME_DONT_FAKE_MONOTONIC", Path::new("1")),
        ]
        .map(|(name, value)| (name.to_owned(), value.display().to_string()))
        .into()
    }
}

fn library() -> PathBuf {
    let folders = fs::read_dir("/usr/lib").expect("Linux has it").filter_map(Result::ok);
    let mut files = folders.map(|folder| folder.path().join("faketime/libfaketimeMT.so.1"));
    files.find(|file| file.exists()).expect("tests/run.sh installs libfaketime")
}
