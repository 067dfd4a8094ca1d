use std::path::Path;

use rusqlite::{Connection, params};

use super::error::{at, sql};
use super::{FileSystem, ImageId, ImageState, Store, StoreError, now_ms};

/// Fills a new database with the images that are there, to be analysed again; returns how many.
///
/// Every image that was acknowledged to somebody and is not done has its file. One that was set aside is set aside again.
pub(super) fn rebuild(dir: &Path, db: &Connection, files: &dyn FileSystem) -> Result<usize, StoreError> {
    let images = dir.join("images");
    let mut found = 0;
    for path in files.list(&images).map_err(at("list", &images))? {
        let Some(id) = image_of(&path) else { continue };
        let bytes = files.size(&path).map_err(at("inspect", &path))?;
        let row = "INSERT INTO images (image_id, state, received_at, bytes) VALUES (?1, 'received', ?2, ?3)";
        db.execute(row, params![id.as_bytes(), now_ms(), bytes as i64]).map_err(sql("rebuild"))?;
        found += 1;
    }
    Ok(found)
}

fn image_of(path: &Path) -> Option<ImageId> {
    path.file_name().and_then(|name| name.to_str()).and_then(ImageId::from_hex)
}

impl Store {
    /// Restores the invariants after whatever ended the last run: removes half arrived images, files that
    /// were never acknowledged and files of finished images, and makes every waiting result due, since the
    /// times kept with them may come from a clock that has been set since.
    pub(super) fn recover(&self) -> Result<(), StoreError> {
        let incoming = self.incoming_dir();
        for path in self.files().list(&incoming).map_err(at("list", &incoming))? {
            self.files().remove(&path).map_err(at("remove", &path))?;
        }
        let images = self.images_dir();
        for path in self.files().list(&images).map_err(at("list", &images))? {
            let Some(id) = image_of(&path) else { continue };
            let state = self.image(id)?.map(|record| record.state);
            if matches!(state, None | Some(ImageState::Done)) {
                self.files().remove(&path).map_err(at("remove", &path))?;
            }
        }
        self.db().execute("UPDATE outbox SET due_at = 0", []).map_err(sql("make results due"))?;
        Ok(())
    }
}
