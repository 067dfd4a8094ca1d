//! Whether the store reads and writes.

use super::error::{at, sql};
use super::{Store, StoreError};

impl Store {
    /// Writes, syncs and removes a small file, and takes and releases the database's write lock.
    ///
    /// # Errors
    /// What an image that comes now would meet.
    pub fn probe(&self) -> Result<(), StoreError> {
        self.check_room()?;
        let path = self.incoming_dir().join("probe.part");
        let mut file = self.files().create(&path).map_err(at("create", &path))?;
        let written = file.write_all(b"probe").map_err(at("write", &path));
        let written = written.and_then(|()| file.sync().map_err(at("sync", &path)));
        drop(file);
        self.files().remove(&path).map_err(at("remove", &path))?;
        written?;
        self.db().execute_batch("BEGIN IMMEDIATE; ROLLBACK").map_err(sql("lock"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::faults::{Budget, FaultyFiles};
    use super::*;

    #[test]
    fn a_sound_store_passes_and_keeps_nothing_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        store.probe().unwrap();
        assert_eq!(std::fs::read_dir(dir.path().join("incoming")).unwrap().count(), 0);
        assert_eq!(store.census().unwrap(), Default::default());
    }

    #[test]
    fn a_full_disk_is_told_from_a_broken_one() {
        let dir = tempfile::tempdir().unwrap();
        let budget = Budget::unlimited();
        let files = FaultyFiles { budget: budget.clone() };
        let store =
            Store::open_with(dir.path(), Box::new(files), crate::config::StoreConfig::default()).unwrap();
        budget.set(0);
        assert!(store.probe().unwrap_err().is_full());
        budget.set(usize::MAX);
        std::fs::remove_dir(dir.path().join("incoming")).unwrap();
        assert!(!store.probe().unwrap_err().is_full());
    }
}
