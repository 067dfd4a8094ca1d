use rusqlite::{Connection, OptionalExtension, params};

use super::error::sql;
use super::{Fingerprint, Store, StoreError, now_ms};

/// What became of a file of a watched folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taken {
    /// Its content is in the store.
    Accepted,
    /// It was not taken in, for this reason.
    Refused(String),
}

impl Store {
    /// What became of a file; none if it was never seen.
    ///
    /// # Errors
    /// If the database fails.
    pub fn taken(&self, fingerprint: &Fingerprint) -> Result<Option<Taken>, StoreError> {
        let row = self
            .db()
            .query_row("SELECT refusal FROM taken WHERE fingerprint = ?1", [fingerprint.as_bytes()], |row| {
                row.get::<_, Option<String>>(0)
            })
            .optional()
            .map_err(sql("look up a file"))?;
        Ok(row.map(|refusal| refusal.map_or(Taken::Accepted, Taken::Refused)))
    }

    /// Remembers a file that is not taken in, so that it is reported once and not at every scan.
    ///
    /// # Errors
    /// If the database fails.
    pub fn refuse(&self, fingerprint: &Fingerprint, reason: &str) -> Result<(), StoreError> {
        insert(&self.db(), fingerprint, Some(reason))
    }
}

pub(super) fn insert(
    db: &Connection,
    fingerprint: &Fingerprint,
    refusal: Option<&str>,
) -> Result<(), StoreError> {
    db.execute(
        "INSERT INTO taken (fingerprint, taken_at, refusal) VALUES (?1, ?2, ?3)
         ON CONFLICT (fingerprint) DO UPDATE SET taken_at = ?2, refusal = ?3",
        params![fingerprint.as_bytes(), now_ms(), refusal],
    )
    .map_err(sql("remember a file"))?;
    Ok(())
}
