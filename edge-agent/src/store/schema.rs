use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::StoreError;
use super::error::{at, sql};

/// `PRAGMA user_version` of the tables below.
const FORMAT: i64 = 2;

const TABLES: &str = "
CREATE TABLE images (
    arrival     INTEGER PRIMARY KEY AUTOINCREMENT,
    image_id    BLOB NOT NULL UNIQUE CHECK (length(image_id) = 32),
    state       TEXT NOT NULL CHECK (state IN ('received', 'queued', 'done', 'set_aside')),
    received_at INTEGER NOT NULL,
    attempts    INTEGER NOT NULL DEFAULT 0,
    failures    INTEGER NOT NULL DEFAULT 0,
    result_id   BLOB CHECK (length(result_id) = 16),
    reason      TEXT,
    bytes       INTEGER NOT NULL DEFAULT 0,
    instance    BLOB CHECK (length(instance) = 32),
    content     BLOB CHECK (length(content) = 32),
    CHECK ((state = 'set_aside') = (reason IS NOT NULL)),
    CHECK (state NOT IN ('queued', 'done') OR result_id IS NOT NULL)
) STRICT;
CREATE INDEX images_received ON images (arrival) WHERE state = 'received';
CREATE INDEX images_set_aside ON images (arrival) WHERE state = 'set_aside';
CREATE INDEX images_by_result ON images (result_id) WHERE result_id IS NOT NULL;
CREATE INDEX images_by_instance ON images (instance) WHERE instance IS NOT NULL;
CREATE INDEX images_with_files ON images (bytes) WHERE state <> 'done';

CREATE TABLE outbox (
    position    INTEGER PRIMARY KEY AUTOINCREMENT,
    result_id   BLOB NOT NULL UNIQUE CHECK (length(result_id) = 16),
    envelope    BLOB NOT NULL,
    queued_at   INTEGER NOT NULL,
    attempts    INTEGER NOT NULL DEFAULT 0,
    delivered   INTEGER NOT NULL DEFAULT 0 CHECK (delivered IN (0, 1)),
    due_at      INTEGER NOT NULL DEFAULT 0
) STRICT;
-- Envelopes are large: what waits is found and counted without touching them.
CREATE INDEX outbox_waiting ON outbox (position, due_at, delivered, attempts, queued_at);

CREATE TABLE taken (
    fingerprint BLOB PRIMARY KEY CHECK (length(fingerprint) = 32),
    taken_at    INTEGER NOT NULL,
    refusal     TEXT
) STRICT, WITHOUT ROWID;
CREATE INDEX taken_refused ON taken (fingerprint) WHERE refusal IS NOT NULL;
";

/// From format 1, which had no failures, sizes, instances and contents.
const FROM_1: &str = "
ALTER TABLE images ADD COLUMN failures INTEGER NOT NULL DEFAULT 0;
ALTER TABLE images ADD COLUMN bytes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE images ADD COLUMN instance BLOB CHECK (length(instance) = 32);
ALTER TABLE images ADD COLUMN content BLOB CHECK (length(content) = 32);
CREATE INDEX images_by_instance ON images (instance) WHERE instance IS NOT NULL;
CREATE INDEX images_with_files ON images (bytes) WHERE state <> 'done';
CREATE INDEX outbox_waiting ON outbox (position, due_at, delivered, attempts, queued_at);
";

/// A database, and whether it is a new one in place of one that was damaged.
pub(super) struct Opened {
    pub(super) db: Connection,
    pub(super) replaced: bool,
}

/// Opens or creates the database. One that is damaged is kept beside it under another name.
pub(super) fn open(path: &Path) -> Result<Opened, StoreError> {
    match open_sound(path) {
        Err(error) if error.is_damage() => {
            tracing::error!(%error, "the state database is damaged; it is set aside and rebuilt from the images");
            set_aside(path)?;
            Ok(Opened { db: open_sound(path)?, replaced: true })
        }
        opened => Ok(Opened { db: opened?, replaced: false }),
    }
}

/// Opens a database that another process may be using.
pub(super) fn attach(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags).map_err(sql("open"))?;
    match configure(&db).map_err(sql("configure"))? {
        FORMAT => Ok(db),
        found => Err(StoreError::Format { path: path.to_owned(), found, known: FORMAT }),
    }
}

/// Renames a damaged database with its log, so that somebody may look at it.
fn set_aside(path: &Path) -> Result<(), StoreError> {
    let suffixed = |suffix: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    let damaged = (1..).map(|n| format!(".damaged-{n}")).find(|suffix| !suffixed(suffix).exists());
    let damaged = damaged.expect("no folder holds infinitely many files");
    for log in ["", "-wal", "-shm"] {
        let (from, to) = (suffixed(log), suffixed(&format!("{damaged}{log}")));
        match std::fs::rename(&from, &to) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(at("set aside", &from)(error));
            }
            _ => {}
        }
    }
    Ok(())
}

fn configure(db: &Connection) -> rusqlite::Result<i64> {
    db.busy_timeout(Duration::from_secs(5))?;
    db.pragma_update(None, "journal_mode", "WAL")?;
    // FULL syncs the log at every commit: what was answered survives a power cut.
    db.pragma_update(None, "synchronous", "FULL")?;
    db.pragma_update(None, "foreign_keys", true)?;
    db.query_row("PRAGMA user_version", [], |row| row.get::<_, i64>(0))
}

fn open_sound(path: &Path) -> Result<Connection, StoreError> {
    let mut db = Connection::open(path).map_err(sql("open"))?;
    let found = configure(&db).map_err(sql("configure"))?;
    let check: String = db.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(sql("check"))?;
    if check != "ok" {
        return Err(StoreError::DatabaseDamaged);
    }
    let change = match found {
        FORMAT => return Ok(db),
        0 => TABLES,
        1 => FROM_1,
        found => return Err(StoreError::Format { path: path.to_owned(), found, known: FORMAT }),
    };
    let error = || sql("create tables");
    let tx = db.transaction().map_err(error())?;
    tx.execute_batch(change).map_err(error())?;
    tx.pragma_update(None, "user_version", FORMAT).map_err(error())?;
    tx.commit().map_err(error())?;
    Ok(db)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_of_format_1_gets_what_it_lacks() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.db");
        let tables = |db: &Connection| -> Vec<String> {
            let query = "SELECT group_concat(c.name) FROM sqlite_master t, pragma_table_info(t.name) c
                         WHERE t.type = 'table' GROUP BY t.name ORDER BY t.name";
            let mut statement = db.prepare(query).unwrap();
            statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
        };
        let new = tables(&open(&dir.path().join("new.db")).unwrap().db);
        let old = TABLES
            .lines()
            .filter(|line| {
                ![
                    "failures ",
                    "bytes ",
                    "instance ",
                    "content ",
                    "CREATE INDEX images_by_i",
                    "CREATE INDEX images_w",
                    "CREATE INDEX outbox_w",
                    "-- ",
                ]
                .iter()
                .any(|left_out| line.trim_start().starts_with(left_out))
            })
            .collect::<Vec<_>>()
            .join("\n");
        let db = Connection::open(&path).unwrap();
        db.execute_batch(&old).unwrap();
        db.pragma_update(None, "user_version", 1).unwrap();
        assert_ne!(tables(&db).concat(), new.concat());
        drop(db);
        let opened = open(&path).unwrap();
        assert!(!opened.replaced);
        let sorted = |tables: Vec<String>| {
            let mut columns: Vec<String> =
                tables.iter().flat_map(|table| table.split(',').map(str::to_owned)).collect();
            columns.sort();
            columns
        };
        assert_eq!(sorted(tables(&opened.db)), sorted(new));
    }
}
