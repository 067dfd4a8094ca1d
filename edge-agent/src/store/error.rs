use std::io;
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

use super::ImageId;

/// Why the store refused or failed. After any error the image in question is either wholly in the store or
/// not at all.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file operation failed.
    #[error("failed to {action} {path}: {source}; check that the disk has room and that the agent may write there", path = .path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// Where: a path inside the state folder, never one of the watched folder.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// Bytes of an image could not be read from where it comes from.
    #[error("failed to read the incoming image: {0}")]
    Source(io::Error),
    /// The database failed.
    #[error("failed to {action} in the state database: {source}; check that the disk has room and is sound")]
    Database {
        /// What was tried.
        action: &'static str,
        /// The cause.
        source: rusqlite::Error,
    },
    /// The database is damaged: found when it was opened.
    #[error("the state database is damaged")]
    DatabaseDamaged,
    /// No room for new images.
    #[error(
        "no room for new images: {found} MiB {what}, the bound is {bound} MiB (`store.{key}`); free the disk, or clear \
         away images set aside with `edge-agent queue purge`"
    )]
    NoRoom {
        /// `free` or `taken`.
        what: &'static str,
        /// How much of it.
        found: u64,
        /// Where the bound is.
        bound: u64,
        /// The configuration's key.
        key: &'static str,
    },
    /// Another process holds the state folder.
    #[error("state folder {path} is in use by another agent: stop it, or give this one its own `state_dir`", path = .0.display())]
    InUse(PathBuf),
    /// Written by a later program.
    #[error("state folder {path} has format {found}, this agent knows up to {known}: use the newer agent", path = .path.display())]
    Format {
        /// The folder.
        path: PathBuf,
        /// Its format.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// More bytes than allowed; nothing was kept.
    #[error("the file holds more than {limit} bytes (`limits.max_file_bytes`)")]
    TooLarge {
        /// The limit.
        limit: u64,
    },
    /// A file that changed or vanished under us.
    #[error("image {0} is damaged on disk: its bytes no longer match its digest, or are gone; send it again")]
    Damaged(ImageId),
}

impl StoreError {
    /// Whether there is no room: on the disk, or by configuration.
    pub fn is_full(&self) -> bool {
        match self {
            Self::NoRoom { .. } => true,
            Self::Io { source, .. } => {
                matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
            }
            Self::Database { source, .. } => source.sqlite_error_code() == Some(ErrorCode::DiskFull),
            _ => false,
        }
    }

    /// Whether the database's content is broken, not the disk.
    pub(super) fn is_damage(&self) -> bool {
        match self {
            Self::DatabaseDamaged => true,
            Self::Database { source, .. } => matches!(
                source.sqlite_error_code(),
                Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
            ),
            _ => false,
        }
    }
}

/// Names the path of a failed file operation.
pub(super) fn at<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> StoreError + 'a {
    move |source| StoreError::Io { action, path: path.to_owned(), source }
}

/// Names what a failed statement was for.
pub(super) fn sql(action: &'static str) -> impl FnOnce(rusqlite::Error) -> StoreError {
    move |source| StoreError::Database { action, source }
}
