use super::error::{at, sql};
use super::{ImageId, ImageState, Store, StoreError};

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
            let Some(id) = path.file_name().and_then(|n| n.to_str()).and_then(ImageId::from_hex) else {
                continue;
            };
            let state = self.image(id)?.map(|record| record.state);
            if matches!(state, None | Some(ImageState::Done)) {
                self.files().remove(&path).map_err(at("remove", &path))?;
            }
        }
        self.db().execute("UPDATE outbox SET due_at = 0", []).map_err(sql("make results due"))?;
        Ok(())
    }
}
