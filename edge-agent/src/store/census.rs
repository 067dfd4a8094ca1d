use rusqlite::OptionalExtension;
use uuid::Uuid;

use super::error::sql;
use super::{ImageId, Store, StoreError, now_ms};

/// Where an image stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageState {
    /// Waits for analysis.
    Received,
    /// Its result waits for delivery.
    Queued,
    /// Its result is delivered.
    Done,
    /// Waits for a person, for this reason.
    SetAside(String),
}

/// What the store knows of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageRecord {
    /// Where it stands.
    pub state: ImageState,
    /// Its result, from `Queued` on.
    pub result_id: Option<Uuid>,
}

/// How much waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Images that wait for analysis.
    pub images_waiting: u64,
    /// Results that no broker has.
    pub results_waiting: u64,
    /// Results that the broker has and central has not acknowledged.
    pub unacknowledged: u64,
    /// Age of the oldest result that no broker has, in seconds.
    pub oldest_unsent_s: Option<u64>,
    /// Images set aside and files refused.
    pub set_aside: u64,
}

impl Store {
    /// What is known of an image; none if it never came.
    ///
    /// # Errors
    /// If the database fails.
    pub fn image(&self, id: ImageId) -> Result<Option<ImageRecord>, StoreError> {
        let query = "SELECT state, result_id, reason FROM images WHERE image_id = ?1";
        let row = self.db().query_row(query, [id.as_bytes()], |row| {
            let state = match row.get_ref(0)?.as_str()? {
                "received" => ImageState::Received,
                "queued" => ImageState::Queued,
                "done" => ImageState::Done,
                _ => ImageState::SetAside(row.get::<_, Option<String>>(2)?.unwrap_or_default()),
            };
            let result_id = row.get::<_, Option<[u8; 16]>>(1)?.map(Uuid::from_bytes);
            Ok(ImageRecord { state, result_id })
        });
        row.optional().map_err(sql("look up an image"))
    }

    /// Counts the images that wait for analysis; cheaper than a whole census.
    ///
    /// # Errors
    /// If the database fails.
    pub fn images_waiting(&self) -> Result<u64, StoreError> {
        let query = "SELECT count(*) FROM images WHERE state = 'received'";
        self.db().query_row(query, [], |row| row.get(0)).map_err(sql("count"))
    }

    /// Counts what waits.
    ///
    /// # Errors
    /// If the database fails.
    pub fn census(&self) -> Result<Census, StoreError> {
        let query = "SELECT
            (SELECT count(*) FROM images WHERE state = 'received'),
            (SELECT count(*) FROM outbox WHERE delivered = 0),
            (SELECT count(*) FROM outbox WHERE delivered = 1),
            (SELECT min(queued_at) FROM outbox WHERE delivered = 0),
            (SELECT count(*) FROM images WHERE state = 'set_aside')
                + (SELECT count(*) FROM taken WHERE refusal IS NOT NULL)";
        let now = now_ms();
        let row = self.db().query_row(query, [], |row| {
            let oldest: Option<i64> = row.get(3)?;
            Ok(Census {
                images_waiting: row.get(0)?,
                results_waiting: row.get(1)?,
                unacknowledged: row.get(2)?,
                // A clock that was set back makes no negative age.
                oldest_unsent_s: oldest.map(|at| u64::try_from((now - at) / 1000).unwrap_or(0)),
                set_aside: row.get(4)?,
            })
        });
        row.map_err(sql("count"))
    }
}
