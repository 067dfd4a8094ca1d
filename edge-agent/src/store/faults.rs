//! File systems that fail where a test wants them to, and that lose what was not synced.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use super::files::{DurableFile, FileSystem, OsFiles};

/// The number of operations that still succeed; all later ones fail as on a full disk, or only the next one.
#[derive(Clone)]
pub(crate) struct Budget {
    left: Arc<AtomicUsize>,
    recovers: Arc<AtomicBool>,
}

pub(crate) struct FaultyFiles {
    pub(crate) budget: Budget,
}

struct FaultyFile {
    file: Box<dyn DurableFile>,
    budget: Budget,
}

impl Budget {
    pub(crate) fn unlimited() -> Self {
        Self { left: Arc::new(AtomicUsize::new(usize::MAX)), recovers: Arc::default() }
    }

    pub(crate) fn set(&self, operations: usize) {
        self.left.store(operations, Ordering::SeqCst);
    }

    /// One failure after so many operations, and none after it.
    pub(crate) fn fail_once_after(&self, operations: usize) {
        self.recovers.store(true, Ordering::SeqCst);
        self.set(operations);
    }

    fn spend(&self) -> io::Result<()> {
        let spent = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| match left {
            usize::MAX => Some(left),
            _ => left.checked_sub(1),
        });
        if spent.is_err() && self.recovers.load(Ordering::SeqCst) {
            self.set(usize::MAX);
        }
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

    fn size(&self, path: &Path) -> io::Result<u64> {
        OsFiles.size(path)
    }

    fn free(&self, path: &Path) -> io::Result<u64> {
        OsFiles.free(path)
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

/// What a power cut leaves of a file that was written and not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    /// All of it: the disk was faster than it had to be.
    Nothing,
    /// Its first half.
    Half,
    /// An empty file.
    Content,
    /// Not even its name.
    Name,
}

/// The operating system's files, of which it is known what was not synced. After so many operations the power goes, and
/// nothing works any more.
#[derive(Clone)]
pub(crate) struct FragileFiles {
    budget: Budget,
    unsynced: Arc<Mutex<Unsynced>>,
}

#[derive(Default)]
struct Unsynced {
    /// Files whose bytes may be lost.
    written: Vec<PathBuf>,
    /// Renames whose folder was not synced: from, to.
    renamed: Vec<(PathBuf, PathBuf)>,
    /// Removals whose folder was not synced, and what was removed.
    removed: Vec<(PathBuf, Vec<u8>)>,
}

struct FragileFile {
    path: PathBuf,
    file: Box<dyn DurableFile>,
    files: FragileFiles,
}

impl FragileFiles {
    pub(crate) fn with(operations: usize) -> Self {
        let budget = Budget::unlimited();
        budget.set(operations);
        Self { budget, unsynced: Arc::default() }
    }

    fn unsynced(&self) -> MutexGuard<'_, Unsynced> {
        self.unsynced.lock().unwrap()
    }

    /// What is on the disk after the cut. Removals that were not synced come back where names are lost.
    pub(crate) fn cut(&self, loss: Loss) {
        self.budget.set(0);
        let Unsynced { written, renamed, removed } = std::mem::take(&mut *self.unsynced());
        if loss == Loss::Name {
            for (from, to) in renamed.into_iter().rev() {
                std::fs::rename(to, from).unwrap();
            }
            for (path, bytes) in removed {
                if path.parent().is_some_and(Path::exists) && !path.exists() {
                    std::fs::write(path, bytes).unwrap();
                }
            }
        }
        for path in written.iter().filter(|path| path.exists()) {
            match loss {
                Loss::Nothing => {}
                Loss::Half => {
                    let bytes = std::fs::read(path).unwrap();
                    std::fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
                }
                Loss::Content => std::fs::write(path, b"").unwrap(),
                Loss::Name => std::fs::remove_file(path).unwrap(),
            }
        }
    }
}

impl FileSystem for FragileFiles {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        OsFiles.create_dir(path)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DurableFile>> {
        self.budget.spend()?;
        let file = OsFiles.create(path)?;
        self.unsynced().written.push(path.to_owned());
        Ok(Box::new(FragileFile { path: path.to_owned(), file, files: self.clone() }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.budget.spend()?;
        OsFiles.rename(from, to)?;
        let mut unsynced = self.unsynced();
        unsynced.written.iter_mut().filter(|path| *path == from).for_each(|path| *path = to.to_owned());
        unsynced.renamed.push((from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.budget.spend()?;
        OsFiles.sync_dir(path)?;
        let inside = |file: &Path| file.parent() == Some(path);
        let mut unsynced = self.unsynced();
        unsynced.renamed.retain(|(_, to)| !inside(to));
        unsynced.removed.retain(|(file, _)| !inside(file));
        Ok(())
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.budget.spend()?;
        OsFiles.read(path)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.budget.spend()?;
        if let Ok(bytes) = OsFiles.read(path) {
            self.unsynced().removed.push((path.to_owned(), bytes));
        }
        self.unsynced().written.retain(|written| written != path);
        OsFiles.remove(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        OsFiles.list(path)
    }

    fn size(&self, path: &Path) -> io::Result<u64> {
        OsFiles.size(path)
    }

    fn free(&self, path: &Path) -> io::Result<u64> {
        OsFiles.free(path)
    }
}

impl Write for FragileFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.files.budget.spend()?;
        // Short writes are allowed at any time.
        self.file.write(&bytes[..bytes.len().div_ceil(2)])
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl DurableFile for FragileFile {
    fn sync(&mut self) -> io::Result<()> {
        self.files.budget.spend()?;
        self.file.sync()?;
        self.files.unsynced().written.retain(|path| *path != self.path);
        Ok(())
    }
}
