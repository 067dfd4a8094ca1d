//! Room on the disk.

use rusqlite::params;

use super::error::{at, sql};
use super::{ImageId, Store, StoreError, now_ms};

const DAY_MS: i64 = 86_400_000;
const MIB: u64 = 1 << 20;

impl Store {
    /// Whether a new image may come. The reserve keeps room for results and the database.
    pub(super) fn check_room(&self) -> Result<(), StoreError> {
        let free = self.free_bytes()? / MIB;
        let config = self.inner.config;
        if free < config.reserve_mib {
            let (found, bound) = (free, config.reserve_mib);
            return Err(StoreError::NoRoom { what: "free", found, bound, key: "reserve_mib" });
        }
        if config.quota_mib == 0 {
            return Ok(());
        }
        let query = "SELECT coalesce(sum(bytes), 0) FROM images WHERE state <> 'done'";
        let taken: i64 = self.db().query_row(query, [], |row| row.get(0)).map_err(sql("sum up sizes"))?;
        let taken = taken.unsigned_abs() / MIB;
        if taken >= config.quota_mib {
            let (found, bound) = (taken, config.quota_mib);
            return Err(StoreError::NoRoom { what: "taken", found, bound, key: "quota_mib" });
        }
        Ok(())
    }

    /// Bytes free to the agent on the disk of the state folder.
    ///
    /// # Errors
    /// If the system does not say.
    pub fn free_bytes(&self) -> Result<u64, StoreError> {
        let dir = &self.inner.dir;
        self.files().free(dir).map_err(at("inspect", dir))
    }

    /// Forgets what is old enough by the configuration: done images, and images set aside with their files. Nothing that
    /// is unsent.
    ///
    /// # Errors
    /// If the database fails.
    pub fn housekeep(&self) -> Result<(), StoreError> {
        let config = self.inner.config;
        let before = |days: u32| now_ms() - i64::from(days) * DAY_MS;
        let forget = "DELETE FROM images WHERE state = 'done' AND received_at < ?1";
        self.db().execute(forget, [before(config.remember_days)]).map_err(sql("forget images"))?;
        if config.set_aside_days > 0 {
            self.purge(None, before(config.set_aside_days))?;
        }
        Ok(())
    }

    /// Deletes images set aside before a time, in milliseconds since 1970: one, or all. Returns how many.
    pub(super) fn purge(&self, one: Option<ImageId>, before_ms: i64) -> Result<usize, StoreError> {
        let change = "DELETE FROM images WHERE state = 'set_aside' AND received_at < ?1
                      AND (?2 IS NULL OR image_id = ?2) RETURNING image_id";
        let images: Vec<ImageId> = {
            let db = self.db();
            let mut statement = db.prepare(change).map_err(sql("delete images"))?;
            let rows = statement
                .query_map(params![before_ms, one.map(|id| *id.as_bytes())], |row| row.get(0))
                .map_err(sql("delete images"))?;
            rows.map(|row| row.map(ImageId::from_digest))
                .collect::<Result<_, _>>()
                .map_err(sql("delete images"))?
        };
        // What a crash leaves of them the next start removes.
        for id in &images {
            let path = self.image_path(*id);
            self.files().remove(&path).map_err(at("remove", &path))?;
        }
        Ok(images.len())
    }
}
