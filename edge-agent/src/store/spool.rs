use std::borrow::Cow;
use std::io::Read;
use std::path::PathBuf;

use rusqlite::{OptionalExtension, params};
use sha2::{Digest, Sha256};
use shared::uid::Uid;
use uuid::Uuid;

use super::error::{at, sql};
use super::kept::{ImageBytes, Kept};
use super::{DurableFile, Fingerprint, ImageId, InstanceKey, Store, StoreError, now_ms};
use crate::meanwhile::meanwhile;

/// Analyses begun of one image, and cut off, before it is set aside.
pub const MAX_ATTEMPTS: u32 = 8;
/// Failed analyses of one image before it is set aside.
pub const MAX_FAILURES: u32 = 2;

/// An image whose bytes are on stable storage but which the store does not own yet. Dropping it forgets it.
#[must_use = "an image is accepted by `commit`"]
pub struct Staged {
    store: Store,
    path: PathBuf,
    id: ImageId,
    bytes: u64,
    kept: Option<Kept>,
}

/// An image that arrives piece by piece. Dropping it forgets it.
#[must_use = "an image is brought to stable storage by `finish`"]
pub struct Incoming {
    pub(super) staged: Staged,
    file: Box<dyn DurableFile>,
    /// Of what is not kept.
    digest: Sha256,
    limit: u64,
    left: u64,
}

/// Where an image came from.
#[derive(Clone, Copy, Debug)]
pub enum Origin<'a> {
    /// A file of a watched folder.
    File(&'a Fingerprint),
    /// An instance that a unit sent.
    Instance(&'a Uid),
    /// Nothing to remember.
    Unknown,
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
        bytes: ImageBytes,
    },
    /// The image is no longer waiting.
    Skip,
}

impl Store {
    /// Begins an image of at most `max_bytes` that arrives piece by piece.
    ///
    /// # Errors
    /// If there is no room for new images, or the disk fails.
    pub fn incoming(&self, max_bytes: u64) -> Result<Incoming, StoreError> {
        self.check_room()?;
        let path = self.incoming_dir().join(format!("{}.part", Uuid::new_v4()));
        let file = self.files().create(&path).map_err(at("create", &path))?;
        // From here on the file goes when `staged` is dropped.
        let staged =
            Staged { store: self.clone(), path, id: ImageId::from_digest([0; 32]), bytes: 0, kept: None };
        Ok(Incoming { staged, file, digest: Sha256::new(), limit: max_bytes, left: max_bytes })
    }

    /// The same, with the bytes kept in memory too, if there is a place, until the image was analysed.
    ///
    /// # Errors
    /// As [`Self::incoming`].
    pub fn incoming_kept(&self, max_bytes: u64) -> Result<Incoming, StoreError> {
        let mut incoming = self.incoming(max_bytes)?;
        incoming.staged.kept = self.inner.kept.begin();
        Ok(incoming)
    }

    /// Copies an image to stable storage, reading at most `max_bytes`.
    ///
    /// # Errors
    /// If it is longer, cannot be read, there is no room, or the disk fails. Nothing is kept then.
    pub fn stage(&self, mut source: impl Read, max_bytes: u64) -> Result<Staged, StoreError> {
        let mut incoming = self.incoming(max_bytes)?;
        let mut buffer = vec![0; 64 * 1024];
        loop {
            match source.read(&mut buffer) {
                Ok(0) => return incoming.finish(),
                Ok(n) => incoming.write(&buffer[..n])?,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => return Err(StoreError::Source(e)),
            }
        }
    }

    /// Images that wait for analysis: the oldest, if any, but behind the others what was cut off more than once.
    ///
    /// # Errors
    /// If the database fails.
    pub fn oldest_received(&self) -> Result<Option<ImageId>, StoreError> {
        let query =
            "SELECT image_id FROM images WHERE state = 'received' ORDER BY attempts > 1, arrival LIMIT 1";
        let db = self.db();
        let row = db.query_row(query, [], |row| row.get(0)).optional();
        let next = row.map_err(sql("find the next image"))?.map(ImageId::from_digest);
        if next.is_none() {
            self.inner.kept.clear();
        }
        Ok(next)
    }

    /// Loads an image and counts an attempt, durably. An image that used up its attempts, or whose file is
    /// damaged, is set aside and skipped.
    ///
    /// # Errors
    /// If the database or the disk fails; no attempt counts then.
    pub fn begin_analysis(&self, id: ImageId) -> Result<Analysis, StoreError> {
        // Read first: a disk that fails to give the file is no fault of the image.
        let Some(bytes) = self.bytes_of(id)? else {
            self.set_aside(id, &StoreError::Damaged(id).to_string())?;
            return Ok(Analysis::Skip);
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

    /// None if the file is damaged or gone.
    pub(super) fn bytes_of(&self, id: ImageId) -> Result<Option<ImageBytes>, StoreError> {
        if let Some(kept) = self.inner.kept.take(id) {
            return Ok(Some(ImageBytes::Kept(kept)));
        }
        let path = self.image_path(id);
        match self.files().read(&path) {
            Ok(bytes) => Ok((ImageId::of(&bytes) == id).then_some(ImageBytes::Read(bytes))),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(at("read", &path)(e)),
        }
    }

    /// Counts a failed analysis, and returns how many there were. A person who retries the image begins anew.
    ///
    /// # Errors
    /// If the database fails.
    pub fn count_failure(&self, id: ImageId) -> Result<u32, StoreError> {
        let change = "UPDATE images SET failures = failures + 1 WHERE image_id = ?1 RETURNING failures";
        let failures = self.db().query_row(change, [id.as_bytes()], |row| row.get(0)).optional();
        Ok(failures.map_err(sql("count a failure"))?.unwrap_or(0))
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

impl Incoming {
    /// Takes the next piece.
    ///
    /// # Errors
    /// If the image becomes too long or the disk fails.
    pub fn write(&mut self, piece: &[u8]) -> Result<(), StoreError> {
        let limit = self.limit;
        self.left = self.left.checked_sub(piece.len() as u64).ok_or(StoreError::TooLarge { limit })?;
        match self.staged.kept.take().map(|kept| kept.extend(piece)) {
            Some(Ok(kept)) => self.staged.kept = Some(kept),
            Some(Err(kept)) => {
                self.digest.update(&*kept);
                self.digest.update(piece);
            }
            None => self.digest.update(piece),
        }
        self.file.write_all(piece).map_err(at("write", &self.staged.path))
    }

    /// Brings all of it to stable storage.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn finish(mut self) -> Result<Staged, StoreError> {
        let (digest, synced) = match &self.staged.kept {
            // The processor has nothing to do while the disk has.
            Some(kept) => meanwhile(|| Sha256::digest(&**kept), || self.file.sync()),
            None => (self.digest.finalize(), self.file.sync()),
        };
        synced.map_err(at("sync", &self.staged.path))?;
        self.staged.id = ImageId::from_digest(digest.into());
        self.staged.bytes = self.limit - self.left;
        Ok(self.staged)
    }
}

impl Staged {
    /// The image's identity.
    pub fn id(&self) -> ImageId {
        self.id
    }

    /// Whether its bytes are in memory.
    #[cfg(test)]
    pub(super) fn is_kept(&self) -> bool {
        self.kept.is_some()
    }

    /// Its bytes, read back unless they are in memory.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn bytes(&self) -> Result<Cow<'_, [u8]>, StoreError> {
        match &self.kept {
            Some(kept) => Ok(Cow::Borrowed(kept)),
            None => self.store.files().read(&self.path).map(Cow::Owned).map_err(at("read", &self.path)),
        }
    }

    /// Makes the store own the image, and in the same transaction remembers where it came from.
    ///
    /// # Errors
    /// If the database or the disk fails. Nothing is accepted then.
    pub fn commit(mut self, origin: Origin<'_>) -> Result<Accepted, StoreError> {
        let (kept, store, id) = (self.kept.take(), &self.store, self.id);
        let mut db = store.db();
        let tx = db.transaction().map_err(sql("accept an image"))?;
        if let Origin::File(fingerprint) = origin {
            super::taken::insert(&tx, fingerprint, None)?;
        }
        let instance = match origin {
            Origin::Instance(uid) => Some(InstanceKey::of(uid)),
            Origin::File(_) | Origin::Unknown => None,
        };
        let known: bool = tx
            .query_row("SELECT EXISTS (SELECT 1 FROM images WHERE image_id = ?1)", [id.as_bytes()], |row| {
                row.get(0)
            })
            .map_err(sql("accept an image"))?;
        let inserted = tx
            .execute(
                "INSERT INTO images (image_id, state, received_at, bytes, instance)
                 VALUES (?1, 'received', ?2, ?3, ?4)
                 ON CONFLICT (image_id) DO UPDATE
                 SET state = 'received', received_at = excluded.received_at, attempts = 0, failures = 0,
                     reason = NULL
                 WHERE state = 'set_aside'",
                params![id.as_bytes(), now_ms(), self.bytes as i64, instance.map(|key| key.0)],
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
        if let Some(kept) = kept {
            // Before others see the row.
            store.inner.kept.hold(id, kept);
        }
        if let Err(e) = durable.and_then(|()| tx.commit().map_err(sql("accept an image"))) {
            store.inner.kept.take(id);
            // If this fails too, the next start removes the file. One that was set aside keeps it.
            if !known {
                let _ = store.files().remove(&path);
            }
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
