use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};

use super::{DatasetError, file_digest, in_parallel};
use crate::train::atomic;

/// SHA-256 of files, remembered under their length and time of change: data sets of gigabytes are read once, not at
/// every command.
#[derive(Debug)]
pub(crate) struct FileDigests {
    path: PathBuf,
    known: BTreeMap<PathBuf, Known>,
    changed: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Known {
    bytes: u64,
    /// Nanoseconds since 1970.
    modified: u64,
    sha256: String,
}

impl FileDigests {
    /// What the file `files.json` of a folder remembers; nothing if there is none, or none that can be read.
    pub(crate) fn of_folder(folder: &Path) -> Self {
        let path = folder.join("files.json");
        let known = fs::read(&path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        Self { path, known: known.unwrap_or_default(), changed: false }
    }

    /// The digests of `files`, in their order. Those that are not known are read, on all cores.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub(crate) fn of(&mut self, files: &[PathBuf]) -> Result<Vec<String>, DatasetError> {
        let found = in_parallel(files.len(), |i| {
            let path = &files[i];
            let (bytes, modified) = state(path)?;
            match self.known.get(path) {
                Some(known) if (known.bytes, known.modified) == (bytes, modified) => Ok(known.clone()),
                _ => Ok(Known { bytes, modified, sha256: file_digest(path)? }),
            }
        })?;
        for (path, found) in files.iter().zip(&found) {
            if self.known.get(path) != Some(found) {
                self.changed = true;
                self.known.insert(path.clone(), found.clone());
            }
        }
        Ok(found.into_iter().map(|known| known.sha256).collect())
    }

    /// Remembers what was read, if the folder is there.
    pub(crate) fn save(&mut self) {
        let path = &self.path;
        if !self.changed || !path.parent().is_some_and(Path::is_dir) {
            return;
        }
        let json = serde_json::to_vec(&self.known).expect("paths of data sets are text");
        match atomic::write(path, &json) {
            Ok(()) => self.changed = false,
            // They are read again next time.
            Err(error) => tracing::warn!("failed to write {}: {error}", path.display()),
        }
    }
}

fn state(path: &Path) -> Result<(u64, u64), DatasetError> {
    let read = |source| DatasetError::Read { path: path.to_owned(), source };
    let meta = fs::metadata(path).map_err(read)?;
    let modified = meta.modified().map_err(read)?;
    let since = modified.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    Ok((meta.len(), u64::try_from(since).unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_once_until_they_change() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.png");
        fs::write(&file, b"one").unwrap();
        let files = [file.clone()];
        let mut digests = FileDigests::of_folder(dir.path());
        let first = digests.of(&files).unwrap();
        digests.save();

        // Remembered: what lies there is not read.
        let mut known = FileDigests::of_folder(dir.path());
        known.known.get_mut(&file).unwrap().sha256 = "remembered".into();
        assert_eq!(known.of(&files).unwrap(), ["remembered"]);

        // Of the same length, but written later.
        fs::write(&file, b"two").unwrap();
        let later = std::time::SystemTime::now() + std::time::Duration::from_secs(5);
        fs::File::options().write(true).open(&file).unwrap().set_modified(later).unwrap();
        let second = FileDigests::of_folder(dir.path()).of(&files).unwrap();
        assert_ne!(first, second);

        fs::write(dir.path().join("files.json"), b"{").unwrap();
        assert_eq!(FileDigests::of_folder(dir.path()).of(&files).unwrap(), second);
        assert!(FileDigests::of_folder(dir.path()).of(&[dir.path().join("none")]).is_err());
    }
}
