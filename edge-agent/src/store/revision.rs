//! Images that claim to be the same.

use rusqlite::{OptionalExtension, params};
use shared::uid::Uid;
use uuid::Uuid;

use super::error::sql;
use super::{ImageBytes, ImageId, InstanceKey, Store, StoreError};

impl Store {
    /// Whether a digest is of the pixels that a result is of; none if it was never queued or nothing is known of its pixels.
    ///
    /// # Errors
    /// If the database fails.
    pub fn is_content_of(&self, result_id: Uuid, content: &[u8; 32]) -> Result<Option<bool>, StoreError> {
        let query = "SELECT max(content = ?2) FROM images WHERE result_id = ?1 AND content IS NOT NULL";
        let row = self.db().query_row(query, params![result_id.as_bytes(), content], |row| row.get(0));
        row.map_err(sql("look up a content"))
    }

    /// The file of the first image with a result; none if it is gone, as it is once the result was delivered, or damaged.
    ///
    /// # Errors
    /// If the database or the disk fails.
    pub fn first_file(&self, result_id: Uuid) -> Result<Option<ImageBytes>, StoreError> {
        let query = "SELECT image_id FROM images WHERE result_id = ?1 ORDER BY arrival LIMIT 1";
        let row = self.db().query_row(query, [result_id.as_bytes()], |row| row.get(0)).optional();
        let Some(id) = row.map_err(sql("look up a first image"))? else { return Ok(None) };
        self.bytes_of(ImageId::from_digest(id))
    }

    /// Whether a unit's instance was accepted, and is neither lost nor set aside.
    ///
    /// # Errors
    /// If the database fails.
    pub fn holds(&self, instance: &Uid) -> Result<bool, StoreError> {
        let query = "SELECT EXISTS (SELECT 1 FROM images WHERE instance = ?1 AND state <> 'set_aside')";
        let key = InstanceKey::of(instance);
        self.db().query_row(query, [key.0], |row| row.get(0)).map_err(sql("look up an instance"))
    }
}
