//! Files that are either the old ones or the new ones, never half of one.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// Writes `bytes` beside `path`, makes them durable, and renames them into place.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = beside(path);
    let placed = place(&temporary, path, bytes);
    if placed.is_err() {
        // Half a file helps nobody, least of all on a full disk.
        let _ = fs::remove_file(&temporary);
    }
    placed?;
    match path.parent() {
        // The rename itself becomes durable with the folder.
        Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
        _ => Ok(()),
    }
}

fn place(temporary: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(temporary, path)
}

/// Writes plain data, with text keys, as JSON for people and programs; likewise.
#[cfg(feature = "torch")]
pub(crate) fn write_json(path: &Path, value: &impl serde::Serialize) -> io::Result<()> {
    write(path, &serde_json::to_vec_pretty(value).expect("plain data with text keys"))
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".partial");
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_the_file_and_leaves_nothing_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.bin");
        write(&path, b"one").unwrap();
        write(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        // It cannot be renamed over a folder with something in it.
        let folder = dir.path().join("folder");
        fs::create_dir_all(folder.join("inner")).unwrap();
        assert!(write(&folder, b"three").is_err());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }
}
