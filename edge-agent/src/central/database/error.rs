use std::error::Error;
use std::path::PathBuf;

use crate::exit_code::{Exit, ExitStatus};

/// Why the database refused or failed.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// The file cannot be used.
    #[error("failed to open database {path}: {source}; its folder must exist and be writable", path = .path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: rusqlite::Error,
    },
    /// SQLite failed.
    #[error("the database failed: {0}; check that the disk has room and is sound")]
    Sqlite(#[from] rusqlite::Error),
    /// PostgreSQL failed or is out of reach.
    #[error("the database failed: {}; check `database.url` and the server's log", chain(.0))]
    Postgres(#[from] tokio_postgres::Error),
    /// PostgreSQL does not answer.
    #[error("the database does not answer; check `database.url` and the network")]
    Silent,
    /// The configuration names something that cannot work.
    #[error("`database.url`: {0}")]
    Url(String),
    /// Written by a later program.
    #[error("{place} has format {found}, this program knows {known}: use the newer program", known = super::schema::FORMAT)]
    Format {
        /// Which database.
        place: String,
        /// Its format.
        found: i64,
    },
    /// The tables hold what nobody put there.
    #[error("the database is damaged: {0}")]
    Damaged(&'static str),
}

impl ExitStatus for DatabaseError {
    fn exit(&self) -> Exit {
        match self {
            Self::Url(_) => Exit::Config,
            _ => Exit::Storage,
        }
    }
}

/// tokio-postgres says "db error" and leaves the rest to the source.
fn chain(error: &tokio_postgres::Error) -> String {
    error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
}
