use std::io::Read;
use std::path::PathBuf;

use rusqlite::{OptionalExtension, params};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::error::{at, sql};
use super::{Fingerprint, ImageId, Store, StoreError, now_ms};

/// Analyses begun of one image before it is set aside.
pub const MAX_ATTEMPTS: u32 = 2;

/// An image whose bytes are on stable storage but which the store does not own yet. Dropping it forgets it.
#[must_use = "an image is accepted by `commit`"]
pub struct Staged {
    store: Store,
    path: PathBuf,
    id: ImageId,
}

/// The answer to an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// Will be analysed: never seen, or set aside before and sent again.
    New(ImageId),
    /// Known: waiting or already done.
    Duplicate(ImageId),
}

/// An analysis that was begun.
#[derive(Debug, PartialEq, Eq)]
pub enum Analysis {
    /// Run it; this is attempt number `attempt`, from 1.
    Run {
        /// Counts attempts.
        attempt: u32,
        /// The image's file.
        bytes: Vec<u8>,
    },
    /// The image is no longer waiting.
    Skip,
}

impl Store {
    /// Copies an image to stable storage, reading at most `max_bytes`.
    ///
    /// # Errors
    /// If it is longer, cannot be read, or the disk fails. Nothing is kept then.
    pub fn stage(&self, mut source: impl Read, max_bytes: u64) -> Result<Staged, StoreError> {
        let path = self.incoming_dir().join(format!("{}.part", Uuid::new_v4()));
        let mut file = self.files().create(&path).map_err(at("create", &path))?;
        // From here on the file goes when `staged` is dropped.
        let mut staged = Staged { store: self.clone(), path, id: ImageId::from_digest([0; 32]) };
        let mut digest = Sha256::new();
        let mut left = max_bytes;
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let n = match source.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => n,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(StoreError::Source(e)),
            };
            left = left.checked_sub(n as u64).ok_or(StoreError::TooLarge { limit: max_bytes })?;
            digest.update(&buffer[..n]);
            file.write_all(&buffer[..n]).map_err(at("write", &staged.path))?;
        }
        file.sync().map_err(at("sync", &staged.path))?;
        staged.id = ImageId::from_digest(digest.finalize().into());
        Ok(staged)
    }

    /// Images that wait for analysis: the oldest, if any.
    ///
    /// # Errors
    /// If the database fails.
    pub fn oldest_received(&self) -> Result<Option<ImageId>, StoreError> {
        let query = "SELECT image_id FROM images WHERE state = 'received' ORDER BY arrival LIMIT 1";
        let row = self.db().query_row(query, [], |row| row.get(0)).optional();
        Ok(row.map_err(sql("find the next image"))?.map(ImageId::from_digest))
    }

    /// Loads an image and counts an attempt, durably. An image that used up its attempts, or whose file is
    /// damaged, is set aside and skipped.
    ///
    /// # Errors
    /// If the database or the disk fails; no attempt counts then.
    pub fn begin_analysis(&self, id: ImageId) -> Result<Analysis, StoreError> {
        // Read first: a disk that fails to give the file is no fault of the image.
        let path = self.image_path(id);
        let bytes = match self.files().read(&path) {
            Ok(bytes) if ImageId::of(&bytes) == id => bytes,
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(at("read", &path)(e)),
            Ok(_) | Err(_) => {
                self.set_aside(id, &StoreError::Damaged(id).to_string())?;
                return Ok(Analysis::Skip);
            }
        };
        let query = "UPDATE images SET attempts = attempts + 1
                     WHERE image_id = ?1 AND state = 'received' RETURNING attempts";
        let attempt: Option<u32> = self
            .db()
            .query_row(query, [id.as_bytes()], |row| row.get(0))
            .optional()
            .map_err(sql("count an attempt"))?;
        let Some(attempt) = attempt else { return Ok(Analysis::Skip) };
        if attempt > MAX_ATTEMPTS {
            self.set_aside(id, &format!("its analysis was begun {MAX_ATTEMPTS} times and never ended"))?;
            return Ok(Analysis::Skip);
        }
        Ok(Analysis::Run { attempt, bytes })
    }

    /// Takes an image out of the way, with a reason for a person. Its file stays.
    ///
    /// # Errors
    /// If the database fails.
    pub fn set_aside(&self, id: ImageId, reason: &str) -> Result<(), StoreError> {
        let change = "UPDATE images SET state = 'set_aside', reason = ?2
                      WHERE image_id = ?1 AND state = 'received'";
        self.db().execute(change, params![id.as_bytes(), reason]).map_err(sql("set an image aside"))?;
        Ok(())
    }
}

impl Staged {
    /// The image's identity.
    pub fn id(&self) -> ImageId {
        self.id
    }

    /// Makes the store own the image, and in the same transaction remembers the file that it came from.
    ///
    /// # Errors
    /// If the database or the disk fails. Nothing is accepted then.
    pub fn commit(self, source: Option<&Fingerprint>) -> Result<Accepted, StoreError> {
        let (store, id) = (&self.store, self.id);
        let mut db = store.db();
        let tx = db.transaction().map_err(sql("accept an image"))?;
        if let Some(fingerprint) = source {
            super::taken::insert(&tx, fingerprint, None)?;
        }
        let inserted = tx
            .execute(
                "INSERT INTO images (image_id, state, received_at) VALUES (?1, 'received', ?2)
                 ON CONFLICT (image_id) DO UPDATE
                 SET state = 'received', received_at = excluded.received_at, attempts = 0, reason = NULL
                 WHERE state = 'set_aside'",
                params![id.as_bytes(), now_ms()],
            )
            .map_err(sql("accept an image"))?;
        if inserted == 0 {
            tx.commit().map_err(sql("accept an image"))?;
            return Ok(Accepted::Duplicate(id));
        }
        // The row becomes visible only after its file is durable.
        let (path, dir) = (store.image_path(id), store.images_dir());
        store.files().rename(&self.path, &path).map_err(at("rename", &self.path))?;
        let durable = store.files().sync_dir(&dir).map_err(at("sync folder", &dir));
        if let Err(e) = durable.and_then(|()| tx.commit().map_err(sql("accept an image"))) {
            // If this fails too, the next start removes the file.
            let _ = store.files().remove(&path);
            return Err(e);
        }
        Ok(Accepted::New(id))
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        // After `commit` there is nothing left under this name; after a failure the next start removes it.
        let _ = self.store.files().remove(&self.path);
    }
}

impl Accepted {
    /// The image.
    pub fn id(self) -> ImageId {
        match self {
            Self::New(id) | Self::Duplicate(id) => id,
        }
    }
}
