//! Images that claim to be the same.

use rusqlite::OptionalExtension;
use shared::uid::Uid;
use uuid::Uuid;

use super::error::sql;
use super::{InstanceKey, Store, StoreError};

impl Store {
    /// The digest of the pixels for which a result was first queued, if it was, and is known.
    ///
    /// # Errors
    /// If the database fails.
    pub fn first_content(&self, result_id: Uuid) -> Result<Option<[u8; 32]>, StoreError> {
        let query = "SELECT content FROM images WHERE result_id = ?1 AND content IS NOT NULL
                     ORDER BY arrival LIMIT 1";
        let row = self.db().query_row(query, [result_id.as_bytes()], |row| row.get(0)).optional();
        row.map_err(sql("look up a content"))
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
