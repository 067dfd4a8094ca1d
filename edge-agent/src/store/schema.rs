use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;

use super::StoreError;
use super::error::sql;

/// `PRAGMA user_version` of the tables below.
const FORMAT: i64 = 1;

const TABLES: &str = "
CREATE TABLE images (
    arrival     INTEGER PRIMARY KEY AUTOINCREMENT,
    image_id    BLOB NOT NULL UNIQUE CHECK (length(image_id) = 32),
    state       TEXT NOT NULL CHECK (state IN ('received', 'queued', 'done', 'set_aside')),
    received_at INTEGER NOT NULL,
    attempts    INTEGER NOT NULL DEFAULT 0,
    result_id   BLOB CHECK (length(result_id) = 16),
    reason      TEXT,
    CHECK ((state = 'set_aside') = (reason IS NOT NULL)),
    CHECK (state NOT IN ('queued', 'done') OR result_id IS NOT NULL)
) STRICT;
CREATE INDEX images_received ON images (arrival) WHERE state = 'received';
CREATE INDEX images_set_aside ON images (arrival) WHERE state = 'set_aside';
CREATE INDEX images_by_result ON images (result_id) WHERE result_id IS NOT NULL;

CREATE TABLE outbox (
    position    INTEGER PRIMARY KEY AUTOINCREMENT,
    result_id   BLOB NOT NULL UNIQUE CHECK (length(result_id) = 16),
    envelope    BLOB NOT NULL,
    queued_at   INTEGER NOT NULL,
    attempts    INTEGER NOT NULL DEFAULT 0,
    delivered   INTEGER NOT NULL DEFAULT 0 CHECK (delivered IN (0, 1)),
    due_at      INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE taken (
    fingerprint BLOB PRIMARY KEY CHECK (length(fingerprint) = 32),
    taken_at    INTEGER NOT NULL,
    refusal     TEXT
) STRICT, WITHOUT ROWID;
CREATE INDEX taken_refused ON taken (fingerprint) WHERE refusal IS NOT NULL;
";

/// Opens or creates the database.
pub(super) fn open(path: &Path) -> Result<Connection, StoreError> {
    let mut db = Connection::open(path).map_err(sql("open"))?;
    let configure = || {
        db.busy_timeout(Duration::from_secs(5))?;
        db.pragma_update(None, "journal_mode", "WAL")?;
        // FULL syncs the log at every commit: what was answered survives a power cut.
        db.pragma_update(None, "synchronous", "FULL")?;
        db.pragma_update(None, "foreign_keys", true)?;
        db.query_row("PRAGMA user_version", [], |row| row.get::<_, i64>(0))
    };
    match configure().map_err(sql("configure"))? {
        FORMAT => {}
        0 => {
            let tx = db.transaction().map_err(sql("create tables"))?;
            tx.execute_batch(TABLES).map_err(sql("create tables"))?;
            tx.pragma_update(None, "user_version", FORMAT).map_err(sql("create tables"))?;
            tx.commit().map_err(sql("create tables"))?;
        }
        found => return Err(StoreError::Format { path: path.to_owned(), found, known: FORMAT }),
    }
    Ok(db)
}
