//! The queue as a person sees it.

use rusqlite::{OptionalExtension, Row, params};
use uuid::Uuid;

use super::error::{at, sql};
use super::{ImageId, Store, StoreError, now_ms};

/// An image that is not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its identity.
    pub image: ImageId,
    /// Where it stands.
    pub state: EntryState,
    /// When it came, in milliseconds since 1970.
    pub received_at_ms: i64,
    /// Size of its file; 0 if it is not known.
    pub bytes: u64,
    /// Analyses begun, or sendings of its result.
    pub attempts: u32,
    /// Its result, once there is one.
    pub result_id: Option<Uuid>,
}

/// Where an image stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryState {
    /// Waits for analysis.
    Received,
    /// Its result waits for the broker.
    Queued,
    /// The broker has its result, central has not acknowledged it.
    Published,
    /// Its result is delivered.
    Done,
    /// Waits for a person, for this reason.
    SetAside(String),
}

const COLUMNS: &str = "SELECT i.image_id, i.state, i.reason, i.received_at, i.bytes,
       coalesce(o.attempts, i.attempts), i.result_id, coalesce(o.delivered, 0)
FROM images i LEFT JOIN outbox o ON o.result_id = i.result_id";

impl Store {
    /// What is not done, oldest first; at most `most`.
    ///
    /// # Errors
    /// If the database fails.
    pub fn entries(&self, most: u32) -> Result<Vec<Entry>, StoreError> {
        let query = format!("{COLUMNS} WHERE i.state <> 'done' ORDER BY i.arrival LIMIT ?1");
        let db = self.db();
        let mut statement = db.prepare(&query).map_err(sql("list images"))?;
        let rows = statement.query_map([most], entry).map_err(sql("list images"))?;
        rows.collect::<Result<_, _>>().map_err(sql("list images"))
    }

    /// The images whose identity begins with these hex digits, done ones too; at most two.
    ///
    /// # Errors
    /// If the database fails.
    pub fn find(&self, digits: &str) -> Result<Vec<Entry>, StoreError> {
        let query = format!("{COLUMNS} WHERE lower(hex(i.image_id)) LIKE ?1 || '%' LIMIT 2");
        let db = self.db();
        let mut statement = db.prepare(&query).map_err(sql("find an image"))?;
        let rows = statement.query_map([digits.to_ascii_lowercase()], entry).map_err(sql("find an image"))?;
        rows.collect::<Result<_, _>>().map_err(sql("find an image"))
    }

    /// Gives an image that was set aside, or all of them, to analysis again, and makes waiting results due. Returns how
    /// many images.
    ///
    /// # Errors
    /// If the database fails.
    pub fn retry(&self, one: Option<ImageId>) -> Result<usize, StoreError> {
        let db = self.db();
        let change = "UPDATE images SET state = 'received', attempts = 0, failures = 0, reason = NULL
                      WHERE state = 'set_aside' AND (?1 IS NULL OR image_id = ?1)";
        let one = one.map(|id| *id.as_bytes());
        let images = db.execute(change, params![one]).map_err(sql("retry images"))?;
        let due = "UPDATE outbox SET due_at = 0 WHERE ?1 IS NULL
                   OR result_id IN (SELECT result_id FROM images WHERE image_id = ?1)";
        db.execute(due, params![one]).map_err(sql("make results due"))?;
        Ok(images)
    }

    /// Deletes an image that was set aside, or all of them. Returns how many. Nothing else can be deleted.
    ///
    /// # Errors
    /// If the database or the disk fails.
    pub fn purge_set_aside(&self, one: Option<ImageId>) -> Result<usize, StoreError> {
        self.purge(one, now_ms().saturating_add(1))
    }

    /// The file of an image that is not done.
    ///
    /// # Errors
    /// If the disk fails or the file is gone.
    pub fn image_bytes(&self, id: ImageId) -> Result<Vec<u8>, StoreError> {
        let path = self.image_path(id);
        self.files().read(&path).map_err(at("read", &path))
    }

    /// The envelope of a result that waits; none once it is done.
    ///
    /// # Errors
    /// If the database fails.
    pub fn envelope(&self, result_id: Uuid) -> Result<Option<Vec<u8>>, StoreError> {
        let query = "SELECT envelope FROM outbox WHERE result_id = ?1";
        let row = self.db().query_row(query, [result_id.as_bytes()], |row| row.get(0)).optional();
        row.map_err(sql("look up a result"))
    }
}

fn entry(row: &Row<'_>) -> rusqlite::Result<Entry> {
    let state = match (row.get_ref(1)?.as_str()?, row.get::<_, bool>(7)?) {
        ("received", _) => EntryState::Received,
        ("queued", false) => EntryState::Queued,
        ("queued", true) => EntryState::Published,
        ("done", _) => EntryState::Done,
        _ => EntryState::SetAside(row.get::<_, Option<String>>(2)?.unwrap_or_default()),
    };
    Ok(Entry {
        image: ImageId::from_digest(row.get(0)?),
        state,
        received_at_ms: row.get(3)?,
        bytes: row.get::<_, i64>(4)?.unsigned_abs(),
        attempts: row.get(5)?,
        result_id: row.get::<_, Option<[u8; 16]>>(6)?.map(Uuid::from_bytes),
    })
}
