//! The queue as a person sees it.

use rusqlite::params;

use super::error::sql;
use super::{ImageId, Store, StoreError};

impl Store {
    /// Gives an image that was set aside, or all of them, to analysis again, and makes waiting results due. Returns how
    /// many images.
    ///
    /// # Errors
    /// If the database fails.
    pub fn retry(&self, one: Option<ImageId>) -> Result<usize, StoreError> {
        let db = self.db();
        let change = "UPDATE images SET state = 'received', attempts = 0, reason = NULL
                      WHERE state = 'set_aside' AND (?1 IS NULL OR image_id = ?1)";
        let one = one.map(|id| *id.as_bytes());
        let images = db.execute(change, params![one]).map_err(sql("retry images"))?;
        let due = "UPDATE outbox SET due_at = 0 WHERE ?1 IS NULL
                   OR result_id IN (SELECT result_id FROM images WHERE image_id = ?1)";
        db.execute(due, params![one]).map_err(sql("make results due"))?;
        Ok(images)
    }
}
