//! What the agent must not forget: images that it took and results that nobody has yet.
//!
//! # Format of the state folder
//! ```text
//! lock             held (flock) while an agent runs
//! state.db         SQLite, WAL, synchronous=FULL; `user_version` is the format
//! incoming/*.part  images while they arrive
//! images/HEX       one image; HEX is the SHA-256 of its bytes
//! ```
//! A damaged database is renamed to `state.db.damaged-N`, and a new one made from the images: those that wait are
//! analysed again and give the same results.
//!
//! An image is `received` → `queued` (its result is in the outbox) → `done`, or leaves that way as `set_aside`
//! with a reason for a person.
//!
//! # Invariants
//! 1. *Accepted is durable.* [`Staged::commit`] returns after fsync of the file, rename, fsync of the folder
//!    and commit of the row, in this order. So a row implies its file, and a file without a row was never
//!    acknowledged: [`Store::open`] removes it.
//! 2. *One image, one result.* A result enters the outbox and its image leaves `received` in one transaction;
//!    the outbox is keyed by the result id, which follows from image and model. Whatever was cut before that
//!    transaction is done again and gives the same id.
//! 3. *No result is dropped.* An outbox row goes only in the transaction that makes its image `done`:
//!    after delivery, and where central must acknowledge, after its acknowledgement.
//! 4. *No crash loop.* An attempt is counted, durably, before an analysis begins ([`Store::begin_analysis`]). An image
//!    whose analysis failed [`MAX_FAILURES`] times is set aside, and one that was begun [`MAX_ATTEMPTS`] times and never
//!    ended: a cut is no fault of the image in hand, unless it is always the same. One that was cut twice lets others go
//!    first.
//! 5. *Files follow rows.* The file of a `done` image is removed after the commit that made it so; a crash
//!    between the two leaves a file that [`Store::open`] removes. The files of images that wait or are set
//!    aside stay.
//! 6. *Memory is a copy.* The bytes of a few images are kept in memory until their analysis, never instead of on the disk.
//! 7. *No names.* No path, file name or header field is kept outside of the images themselves.
//!
//! All methods block on the disk; async code goes through [`Store::run`].

mod census;
mod error;
mod files;
mod housekeeping;
mod ids;
mod kept;
mod outbox;
mod probe;
mod queue;
mod recovery;
mod revision;
mod schema;
mod spool;
mod taken;

#[cfg(test)]
mod faults;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use rusqlite::Connection;

pub use census::{Census, ImageRecord, ImageState};
pub use error::StoreError;
pub use files::{DurableFile, FileSystem, OsFiles};
pub use ids::{Fingerprint, ImageId};
pub use kept::ImageBytes;
pub use outbox::{Due, Enqueued, Lane, Next, SUSPECT};
pub use queue::{Entry, EntryState};
pub use spool::{Accepted, Analysis, Incoming, MAX_ATTEMPTS, MAX_FAILURES, Origin, Staged};
pub use taken::Taken;

use crate::config::StoreConfig;
use error::at;
use ids::InstanceKey;
use kept::Keeper;

/// Handle to the state folder; clones share it.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    dir: PathBuf,
    db: Mutex<Connection>,
    files: Box<dyn FileSystem>,
    kept: Keeper,
    config: StoreConfig,
    /// Images that were found when the database had to be rebuilt.
    rebuilt: Option<usize>,
    /// Released by the system when the last handle goes, however the process ends. None for those who only look on.
    _lock: Option<File>,
}

impl Store {
    /// Opens or creates the state folder and mends what a crash left behind.
    ///
    /// # Errors
    /// If another agent holds it, it is of a later format, or the disk fails.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        Self::open_with(dir, Box::new(OsFiles), StoreConfig::default())
    }

    /// [`Self::open`] over another file system, with other bounds.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_with(
        dir: &Path,
        files: Box<dyn FileSystem>,
        config: StoreConfig,
    ) -> Result<Self, StoreError> {
        for folder in [dir.to_owned(), dir.join("incoming"), dir.join("images")] {
            files.create_dir(&folder).map_err(at("create folder", &folder))?;
        }
        let lock_path = dir.join("lock");
        let lock = File::create(&lock_path).map_err(at("create", &lock_path))?;
        lock.try_lock().map_err(|e| match e {
            std::fs::TryLockError::WouldBlock => StoreError::InUse(dir.to_owned()),
            std::fs::TryLockError::Error(source) => at("lock", &lock_path)(source),
        })?;
        let schema::Opened { db, replaced } = schema::open(&dir.join("state.db"))?;
        let rebuilt = if replaced { Some(recovery::rebuild(dir, &db, &*files)?) } else { None };
        let store = Self::around(dir, db, files, config, rebuilt, Some(lock));
        store.recover()?;
        store.housekeep()?;
        Ok(store)
    }

    /// Joins a store that an agent may be running on, to look at it or to change what waits for a person.
    ///
    /// # Errors
    /// If there is none, or it is of another format.
    pub fn attach(dir: &Path) -> Result<Self, StoreError> {
        let db = schema::attach(&dir.join("state.db"))?;
        Ok(Self::around(dir, db, Box::new(OsFiles), StoreConfig::default(), None, None))
    }

    fn around(
        dir: &Path,
        db: Connection,
        files: Box<dyn FileSystem>,
        config: StoreConfig,
        rebuilt: Option<usize>,
        lock: Option<File>,
    ) -> Self {
        let (dir, db, kept) = (dir.to_owned(), Mutex::new(db), Keeper::new());
        Self { inner: Arc::new(Inner { dir, db, files, kept, config, rebuilt, _lock: lock }) }
    }

    /// How many images were found when the database was damaged and had to be rebuilt; none if it was sound.
    pub fn rebuilt(&self) -> Option<usize> {
        self.inner.rebuilt
    }

    /// Runs blocking work on the store from async code.
    ///
    /// # Errors
    /// Those of the work.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let store = self.clone();
        match tokio::task::spawn_blocking(move || work(&store)).await {
            Ok(result) => result,
            Err(e) => std::panic::resume_unwind(e.into_panic()),
        }
    }

    /// The state folder.
    pub fn dir(&self) -> &Path {
        &self.inner.dir
    }

    /// A panic under the lock rolled its transaction back, so the connection is as good as before.
    fn db(&self) -> MutexGuard<'_, Connection> {
        self.inner.db.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn files(&self) -> &dyn FileSystem {
        &*self.inner.files
    }

    fn images_dir(&self) -> PathBuf {
        self.inner.dir.join("images")
    }

    fn incoming_dir(&self) -> PathBuf {
        self.inner.dir.join("incoming")
    }

    fn image_path(&self, id: ImageId) -> PathBuf {
        self.images_dir().join(id.to_hex())
    }
}

/// Milliseconds since 1970.
fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
