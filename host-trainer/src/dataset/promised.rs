use std::fs;
use std::path::Path;

use shared::bundle::sha256_hex;

use super::{Annotated, DatasetError, Index, Record, load_annotated};

/// What an imported index says of an image's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Promised {
    /// Digest of the file.
    pub sha256: String,
    /// Its rows.
    pub rows: usize,
    /// Its columns.
    pub cols: usize,
}

impl Promised {
    /// An error that names `record`, unless its file is the one that was imported.
    pub(super) fn check(
        &self,
        record: &Record,
        (rows, cols): (usize, usize),
        sha256: &str,
    ) -> Result<(), DatasetError> {
        let changed = |reason| {
            let (id, path) = (record.id.clone(), record.image.clone());
            Err(DatasetError::Changed { id, path, reason })
        };
        if (self.rows, self.cols) != (rows, cols) {
            return changed(format!(
                "{} × {} pixels in the index, {rows} × {cols} here",
                self.rows, self.cols
            ));
        }
        if self.sha256 != sha256 {
            return changed(format!("SHA-256 {} in the index, {sha256} here", self.sha256));
        }
        Ok(())
    }
}

/// SHA-256 of a file.
pub(crate) fn file_digest(path: &Path) -> Result<String, DatasetError> {
    let bytes = fs::read(path).map_err(|source| DatasetError::Read { path: path.to_owned(), source })?;
    Ok(sha256_hex(&bytes))
}

impl Index {
    /// As [`load_annotated`], and the file is the one that an index promises, if the record comes from one.
    pub fn load_checked(&self, record: &Record, labels: &[String]) -> Result<Annotated, DatasetError> {
        let annotated = load_annotated(record, labels)?;
        if let Some(promised) = self.promised.get(&record.image) {
            let size = (annotated.frame.rows(), annotated.frame.cols());
            promised.check(record, size, &file_digest(&record.image)?)?;
        }
        Ok(annotated)
    }
}
