//! Bytes of images that were just taken, so that the look at their header and their analysis need not read them back.
//! What is not kept is read from the disk: nothing but time depends on it.

use std::collections::HashMap;
use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::ImageId;

/// Images of which the bytes are kept at a time.
const IMAGES: usize = 3;
/// Bytes of one of them: any radiograph without compression has less.
const BYTES: usize = 32 << 20;

/// The bytes of one image, and its place among those that are kept.
pub struct Kept {
    bytes: Vec<u8>,
    _place: OwnedSemaphorePermit,
}

/// The bytes of an image, from memory or from the disk.
#[derive(Debug, PartialEq, Eq)]
pub enum ImageBytes {
    /// They are those that were hashed when they came.
    Kept(Kept),
    /// They were read, and hashed again.
    Read(Vec<u8>),
}

/// Those that wait for their analysis.
pub(super) struct Keeper {
    places: Arc<Semaphore>,
    waiting: Mutex<HashMap<ImageId, Kept>>,
}

impl Kept {
    /// Takes the next piece. What would become too long comes back as it was.
    pub(super) fn extend(mut self, piece: &[u8]) -> Result<Self, Self> {
        if self.bytes.len() + piece.len() > BYTES {
            return Err(self);
        }
        self.bytes.extend_from_slice(piece);
        Ok(self)
    }
}

impl Keeper {
    pub(super) fn new() -> Self {
        Self { places: Arc::new(Semaphore::new(IMAGES)), waiting: Mutex::default() }
    }

    /// Begins one, if there is a place.
    pub(super) fn begin(&self) -> Option<Kept> {
        let place = Arc::clone(&self.places).try_acquire_owned().ok()?;
        Some(Kept { bytes: Vec::new(), _place: place })
    }

    /// Until [`Self::take`].
    pub(super) fn hold(&self, id: ImageId, kept: Kept) {
        self.waiting().insert(id, kept);
    }

    pub(super) fn take(&self, id: ImageId) -> Option<Kept> {
        self.waiting().remove(&id)
    }

    /// No image waits: what is still held, of images that others took out of the way, goes.
    pub(super) fn clear(&self) {
        self.waiting().clear();
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<ImageId, Kept>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Deref for Kept {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl PartialEq for Kept {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for Kept {}

/// Without the pixels.
impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Kept({} bytes)", self.bytes.len())
    }
}

impl Deref for ImageBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Kept(kept) => kept,
            Self::Read(bytes) => bytes,
        }
    }
}
