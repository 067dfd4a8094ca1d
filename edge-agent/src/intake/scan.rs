//! One look at a folder.

use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use crate::store::Fingerprint;

/// What a look tells of a file's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Version {
    /// Bytes.
    pub(super) size: u64,
    /// Nanoseconds since 1970.
    pub(super) modified_ns: i128,
}

impl Version {
    pub(super) fn of(metadata: &Metadata) -> Self {
        // A system without modification times still has sizes.
        let modified = metadata.modified().unwrap_or(UNIX_EPOCH);
        let modified_ns = match modified.duration_since(UNIX_EPOCH) {
            Ok(after) => after.as_nanos() as i128,
            Err(before) => -(before.duration().as_nanos() as i128),
        };
        Self { size: metadata.len(), modified_ns }
    }

    pub(super) fn fingerprint(self, path: &Path) -> Fingerprint {
        Fingerprint::of(path, self.size, self.modified_ns)
    }
}

/// The fingerprint under which the store remembers a file as it is now.
///
/// # Errors
/// If the file cannot be inspected.
pub fn fingerprint(path: &Path) -> io::Result<Fingerprint> {
    Ok(Version::of(&fs::symlink_metadata(path)?).fingerprint(path))
}

/// Regular files below a folder, in order of their paths.
pub(super) fn list(folder: &Path, recursive: bool) -> io::Result<Vec<(PathBuf, Version)>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(current) = folders.pop() {
        let entries = match fs::read_dir(&current) {
            Ok(entries) => entries,
            // A folder below may vanish or be closed to us; the watched one may not.
            Err(error) if current == folder => return Err(error),
            Err(_) => continue,
        };
        for entry in entries.filter_map(Result::ok) {
            if is_passed_over(&entry.file_name().to_string_lossy()) {
                continue;
            }
            // Does not follow links: they could lead out of the folder or in circles.
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() && recursive {
                folders.push(entry.path());
            } else if metadata.is_file() {
                found.push((entry.path(), Version::of(&metadata)));
            }
        }
    }
    found.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(found)
}

fn is_passed_over(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    lower.starts_with('.') || lower.ends_with(".part") || lower.ends_with(".tmp")
}
