use std::path::{Component, Path, PathBuf};

use super::super::DatasetError;

/// `relative` below `folder`; a table must not point elsewhere.
pub(crate) fn inside(folder: &Path, relative: &str, place: &str) -> Result<PathBuf, DatasetError> {
    let plain = Path::new(relative).components().all(|part| matches!(part, Component::Normal(_)));
    if plain && !relative.is_empty() {
        return Ok(folder.join(relative));
    }
    Err(DatasetError::Escapes { place: place.to_owned(), value: relative.to_owned() })
}

/// As [`inside`], and the file is there.
pub(crate) fn existing(folder: &Path, relative: &str, place: &str) -> Result<PathBuf, DatasetError> {
    let path = inside(folder, relative, place)?;
    if path.is_file() { Ok(path) } else { Err(DatasetError::MissingFile { path, place: place.to_owned() }) }
}
