use std::fs::{self, File, TryLockError};
use std::io;
use std::path::Path;

/// A folder held against other processes; dropped, or with the end of the process, others may work in it.
#[derive(Debug)]
pub struct FolderLock {
    _file: File,
}

impl FolderLock {
    /// Makes the folder and takes the lock that is its file `name`; none if another holder has it.
    pub fn take(dir: &Path, name: &str) -> io::Result<Option<Self>> {
        fs::create_dir_all(dir)?;
        let file = File::create(dir.join(name))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self { _file: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_holder_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("new");
        let held = FolderLock::take(&folder, ".lock").unwrap();
        assert!(held.is_some());
        assert!(FolderLock::take(&folder, ".lock").unwrap().is_none());
        assert!(FolderLock::take(&folder, ".other").unwrap().is_some());
        drop(held);
        assert!(FolderLock::take(&folder, ".lock").unwrap().is_some());
    }
}
