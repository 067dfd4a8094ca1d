//! What central must not forget, in SQLite or PostgreSQL.
//!
//! # Invariants
//! 1. *One row a result.* `results` is keyed by the result id. A repeat with the same content is counted; one with
//!    other content is counted, and set aside whole, while the first stays.
//! 2. *Acknowledged is committed.* [`Database::commit`] returns after the commit of everything in its batch;
//!    nobody acknowledges before.
//! 3. *What is to be handed on is not forgotten.* Its row is made in the transaction that keeps the result, and ends
//!    as `done` only once the PACS took every object of it.
//! 4. *Bounded.* Messages that are set aside go, oldest first, once there are more than `database.max_set_aside`.
//!
//! A connection is used by one transaction at a time; several instances may share a PostgreSQL server.

mod backend;
mod entry;
mod error;
mod hand_ons;
mod postgres;
mod reading;
mod schema;
mod sqlite;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::sync::{Mutex, MutexGuard};

pub use entry::{Entry, Kept, SetAside};
pub use error::DatabaseError;
pub use hand_ons::{Claim, HandOn, HandOnState};
pub use reading::{DeviceRecord, Filter, ResultRecord, SetAsideRecord};

use self::backend::{Backend, Value};
use super::config::{DatabaseConfig, DatabaseUrl};

/// Handle to the database; clones share one connection.
#[derive(Clone)]
pub struct Database {
    backend: Arc<Mutex<Box<dyn Backend>>>,
    hand_on: bool,
    max_set_aside: u32,
}

impl Database {
    /// Opens it, and makes the tables where there are none. With `hand_on`, results that come are also noted as to
    /// be handed on.
    ///
    /// # Errors
    /// If it is out of reach, of another format, or the configuration names a file that cannot be read.
    pub async fn open(config: &DatabaseConfig, hand_on: bool) -> Result<Self, DatabaseError> {
        let backend: Box<dyn Backend> =
            match config.target().map_err(|e| DatabaseError::Url(e.to_string()))? {
                DatabaseUrl::Sqlite(path) => Box::new(sqlite::Sqlite::open(&path)?),
                DatabaseUrl::Postgres(url) => Box::new(postgres::Postgres::new(&url, config)?),
            };
        let database =
            Self { backend: Arc::new(Mutex::new(backend)), hand_on, max_set_aside: config.max_set_aside };
        drop(database.backend().await?);
        Ok(database)
    }

    /// Keeps a batch in one transaction: all of it or, after an error, none of it for certain. A batch may be
    /// committed again. Gives what became of each entry, in order.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn commit(&self, batch: &[Entry]) -> Result<Vec<Kept>, DatabaseError> {
        let mut tx = self.begin().await?;
        let mut kept = vec![Kept::Noted; batch.len()];
        // In the order of keys, so that two instances never wait for each other.
        let mut order: Vec<usize> = (0..batch.len()).collect();
        order.sort_by_key(|&i| batch[i].key());
        for i in order {
            kept[i] = entry::keep(&mut **tx, &batch[i], self.hand_on).await?;
        }
        entry::trim(&mut **tx, batch, &kept, self.max_set_aside).await?;
        tx.batch("COMMIT").await?;
        Ok(kept)
    }

    async fn backend(&self) -> Result<MutexGuard<'_, Box<dyn Backend>>, DatabaseError> {
        let mut backend = self.backend.lock().await;
        backend.prepare().await?;
        Ok(backend)
    }

    /// A transaction that was not committed is rolled back by the next [`Backend::prepare`].
    async fn begin(&self) -> Result<MutexGuard<'_, Box<dyn Backend>>, DatabaseError> {
        let mut backend = self.backend().await?;
        backend.batch("BEGIN").await?;
        Ok(backend)
    }
}

/// Milliseconds since 1970.
pub(super) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// A column that the tables define as a number.
fn int(row: &[Value], column: usize) -> Result<i64, DatabaseError> {
    match row.get(column) {
        Some(Value::Int(number)) => Ok(*number),
        _ => Err(DatabaseError::Damaged("a number is missing")),
    }
}

/// A column that the tables define as text.
fn text(row: &[Value], column: usize) -> Result<&str, DatabaseError> {
    optional_text(row, column).ok_or(DatabaseError::Damaged("a text is missing"))
}

fn optional_text(row: &[Value], column: usize) -> Option<&str> {
    match row.get(column) {
        Some(Value::Text(text)) => Some(text),
        _ => None,
    }
}
