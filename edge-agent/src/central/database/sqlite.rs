use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, ToSql, types::ToSqlOutput};
use tokio::task::block_in_place;

use super::backend::{Answer, Backend, Row, Value};
use super::{DatabaseError, schema};

/// A file. WAL and `synchronous=FULL`: what was committed survives a power cut.
pub(super) struct Sqlite {
    path: PathBuf,
    db: Connection,
}

impl Sqlite {
    pub(super) fn open(path: &Path) -> Result<Self, DatabaseError> {
        let open = || {
            let db = Connection::open(path)?;
            db.busy_timeout(Duration::from_secs(10))?;
            db.pragma_update(None, "journal_mode", "WAL")?;
            db.pragma_update(None, "synchronous", "FULL")?;
            db.pragma_update(None, "foreign_keys", true)?;
            Ok(db)
        };
        let failed = |source| DatabaseError::Open { path: path.to_owned(), source };
        Ok(Self { path: path.to_owned(), db: open().map_err(failed)? })
    }

    fn ensure_tables(&mut self) -> Result<(), DatabaseError> {
        let tx = self.db.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        let found = tx.pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0))?;
        match found {
            schema::FORMAT => Ok(()),
            0 => {
                tx.execute_batch(&schema::sqlite())?;
                tx.execute("INSERT INTO central_format VALUES ($1)", [schema::FORMAT])?;
                tx.pragma_update(None, "user_version", schema::FORMAT)?;
                Ok(tx.commit()?)
            }
            found => Err(DatabaseError::Format { place: self.path.display().to_string(), found }),
        }
    }
}

impl Backend for Sqlite {
    fn prepare(&mut self) -> Answer<'_, ()> {
        Box::pin(async {
            block_in_place(|| {
                if !self.db.is_autocommit() {
                    self.db.execute_batch("ROLLBACK")?;
                }
                // A file that was opened before has its tables: this is a read of its header.
                match self.db.pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0))? {
                    schema::FORMAT => Ok(()),
                    _ => self.ensure_tables(),
                }
            })
        })
    }

    fn batch<'a>(&'a mut self, sql: &'a str) -> Answer<'a, ()> {
        // A writer takes the lock at once: one that reads first could not be let through to write.
        let sql = if sql == "BEGIN" { "BEGIN IMMEDIATE" } else { sql };
        Box::pin(async move { Ok(block_in_place(|| self.db.execute_batch(sql))?) })
    }

    fn execute<'a>(&'a mut self, sql: &'static str, values: &'a [Value]) -> Answer<'a, u64> {
        Box::pin(async move {
            let changed =
                block_in_place(|| self.db.prepare_cached(sql)?.execute(rusqlite::params_from_iter(values)))?;
            Ok(changed as u64)
        })
    }

    fn query<'a>(&'a mut self, sql: &'static str, values: &'a [Value]) -> Answer<'a, Vec<Row>> {
        Box::pin(async move {
            let rows = block_in_place(|| {
                let mut statement = self.db.prepare_cached(sql)?;
                let columns = statement.column_count();
                statement
                    .query_map(rusqlite::params_from_iter(values), |row| {
                        (0..columns).map(|i| value(row.get_ref(i)?)).collect()
                    })?
                    .collect::<Result<Vec<Row>, _>>()
            })?;
            Ok(rows)
        })
    }
}

fn value(value: ValueRef<'_>) -> Result<Value, rusqlite::Error> {
    Ok(match value {
        ValueRef::Integer(number) => Value::Int(number),
        ValueRef::Text(_) => Value::Text(value.as_str()?.to_owned()),
        ValueRef::Null | ValueRef::Real(_) | ValueRef::Blob(_) => Value::Null,
    })
}

impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        match self {
            Self::Null => rusqlite::types::Null.to_sql(),
            Self::Int(number) => number.to_sql(),
            Self::Text(text) => text.to_sql(),
        }
    }
}
