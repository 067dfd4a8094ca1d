use std::fs;
use std::io::{Error, ErrorKind, Read as _};
use std::path::Path;

use super::BundleError;

/// Nothing in a bundle is larger; bounds what a hostile one can make us read.
const MAX_FILE: u64 = 512 << 20;

/// Reads a file of a bundle.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, BundleError> {
    read_at_most(path, MAX_FILE)
}

/// Reads a regular file of at most `limit` bytes. Links are not followed, and a pipe would never end.
pub(super) fn read_at_most(path: &Path, limit: u64) -> Result<Vec<u8>, BundleError> {
    let io = io(path);
    let refuse = |reason: String| Error::new(ErrorKind::InvalidData, reason);
    let metadata = fs::symlink_metadata(path).map_err(&io)?;
    if !metadata.is_file() {
        return Err(io(refuse("not a regular file: a bundle holds no links and no pipes".into())));
    }
    // One byte more than is allowed: the file may grow meanwhile.
    let mut bytes = Vec::new();
    fs::File::open(path).and_then(|file| file.take(limit + 1).read_to_end(&mut bytes)).map_err(&io)?;
    if bytes.len() as u64 > limit {
        return Err(io(refuse(format!("it exceeds the limit of {limit} bytes for this file of a bundle"))));
    }
    Ok(bytes)
}

/// Whether there is anything under the name, be it a link to nowhere.
pub(super) fn exists(path: &Path) -> Result<bool, BundleError> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(io(path)(error)),
    }
}

/// Every file below the folder, as sorted relative paths with forward slashes.
pub(super) fn list(dir: &Path) -> Result<Vec<String>, BundleError> {
    let mut found = Vec::new();
    let mut folders = vec![(dir.to_owned(), String::new())];
    while let Some((folder, prefix)) = folders.pop() {
        let io = io(&folder);
        for entry in fs::read_dir(&folder).map_err(&io)? {
            let entry = entry.map_err(&io)?;
            let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
            if entry.file_type().map_err(&io)?.is_dir() {
                folders.push((entry.path(), format!("{name}/")));
            } else {
                found.push(name);
            }
        }
    }
    found.sort();
    Ok(found)
}

pub(super) fn io(path: &Path) -> impl Fn(Error) -> BundleError {
    |source| BundleError::Io { path: path.to_owned(), source }
}
