use std::io;
use std::path::{Path, PathBuf};

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

/// Names the path of a failed file operation.
pub(super) fn at<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> StoreError + 'a {
    move |source| StoreError::Io { action, path: path.to_owned(), source }
}

/// Names what a failed statement was for.
pub(super) fn sql(action: &'static str) -> impl FnOnce(rusqlite::Error) -> StoreError {
    move |source| StoreError::Database { action, source }
}
