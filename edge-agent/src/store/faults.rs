//! A file system that fails where a test wants it to.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::files::{DurableFile, FileSystem, OsFiles};

/// The number of operations that still succeed; all later ones fail as on a full disk.
#[derive(Clone)]
pub(crate) struct Budget(Arc<AtomicUsize>);

pub(crate) struct FaultyFiles {
    pub(crate) budget: Budget,
}

struct FaultyFile {
    file: Box<dyn DurableFile>,
    budget: Budget,
}

impl Budget {
    pub(crate) fn unlimited() -> Self {
        Self(Arc::new(AtomicUsize::new(usize::MAX)))
    }

    pub(crate) fn set(&self, operations: usize) {
        self.0.store(operations, Ordering::SeqCst);
    }

    fn spend(&self) -> io::Result<()> {
        let spent = self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| match left {
            usize::MAX => Some(left),
            _ => left.checked_sub(1),
        });
        spent.map(drop).map_err(|_| io::ErrorKind::StorageFull.into())
    }
}

impl FileSystem for FaultyFiles {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        OsFiles.create_dir(path)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DurableFile>> {
        self.budget.spend()?;
        Ok(Box::new(FaultyFile { file: OsFiles.create(path)?, budget: self.budget.clone() }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.budget.spend()?;
        OsFiles.rename(from, to)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.budget.spend()?;
        OsFiles.sync_dir(path)
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.budget.spend()?;
        OsFiles.read(path)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.budget.spend()?;
        OsFiles.remove(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        OsFiles.list(path)
    }
}

impl Write for FaultyFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.budget.spend()?;
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl DurableFile for FaultyFile {
    fn sync(&mut self) -> io::Result<()> {
        self.budget.spend()?;
        self.file.sync()
    }
}
