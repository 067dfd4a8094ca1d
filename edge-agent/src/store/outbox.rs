use rusqlite::{OptionalExtension, params};
use uuid::Uuid;

use super::error::sql;
use super::{ImageId, Store, StoreError, now_ms};

/// Nothing is postponed for longer. A time beyond it comes from a clock that was set back since, and counts as now.
const HORIZON_MS: i64 = 2 * 3_600_000;

/// A result that is to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// Its identity.
    pub result_id: Uuid,
    /// The envelope as JSON, as it was queued.
    pub envelope: Vec<u8>,
    /// How often it was sent before, with or without success.
    pub attempts: u32,
    /// Whether a broker took it over before.
    pub delivered: bool,
    /// When the first of its images came, in milliseconds since 1970.
    pub received_at_ms: Option<i64>,
}

/// Which of the results whose time has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// The oldest; those that only await central's word come after them, and suspects last.
    Backlog,
    /// The newest that was never sent; the oldest where there is none.
    Fresh,
}

/// What the outbox wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Send this one.
    Send(Due),
    /// Nothing for this many milliseconds.
    Wait(u64),
    /// Nothing at all.
    Empty,
}

/// Sendings of a result that no broker ever took after which it comes last: perhaps it is what connections die of.
pub const SUSPECT: u32 = 3;

impl Lane {
    /// What is looked for, until something is found. `:suspect` is [`SUSPECT`].
    fn orders(self) -> &'static [&'static str] {
        const NEWEST: &str = "delivered = 0 AND attempts = 0 ORDER BY position DESC";
        const UNSENT: &str = "delivered = 0 AND attempts <= :suspect ORDER BY position";
        const UNACKNOWLEDGED: &str = "delivered = 1 ORDER BY position";
        const SUSPECTS: &str = "delivered = 0 AND attempts > :suspect ORDER BY attempts, position";
        match self {
            Self::Backlog => &[UNSENT, UNACKNOWLEDGED, SUSPECTS],
            Self::Fresh => &[NEWEST, UNSENT, UNACKNOWLEDGED, SUSPECTS],
        }
    }
}

/// Whether a result was new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enqueued {
    /// It will be sent.
    New,
    /// A result of this id waits already.
    Duplicate,
    /// A result of this id was delivered before; the image is done.
    Delivered,
}

impl Store {
    /// Queues the result of a received image, and in the same transaction makes the image `queued`. `content` is the
    /// digest of the pixels that were decoded of it.
    ///
    /// # Errors
    /// If the database fails; the image is still `received` then.
    pub fn enqueue(
        &self,
        image: ImageId,
        result_id: Uuid,
        content: &[u8; 32],
        envelope: &[u8],
    ) -> Result<Enqueued, StoreError> {
        let error = || sql("queue a result");
        let mut db = self.db();
        let tx = db.transaction().map_err(error())?;
        let known = "SELECT EXISTS (SELECT 1 FROM images WHERE result_id = ?1 AND state = 'done')";
        if tx.query_row(known, [result_id.as_bytes()], |row| row.get(0)).map_err(error())? {
            let change = "UPDATE images SET state = 'done', result_id = ?2, content = ?3
                          WHERE image_id = ?1 AND state = 'received'";
            tx.execute(change, params![image.as_bytes(), result_id.as_bytes(), content]).map_err(error())?;
            tx.commit().map_err(error())?;
            drop(db);
            self.remove_finished([image]);
            return Ok(Enqueued::Delivered);
        }
        let inserted = tx
            .execute(
                "INSERT INTO outbox (result_id, envelope, queued_at) VALUES (?1, ?2, ?3)
                 ON CONFLICT (result_id) DO NOTHING",
                params![result_id.as_bytes(), envelope, now_ms()],
            )
            .map_err(error())?;
        tx.execute(
            "UPDATE images SET state = 'queued', result_id = ?2, content = ?3
             WHERE image_id = ?1 AND state = 'received'",
            params![image.as_bytes(), result_id.as_bytes(), content],
        )
        .map_err(error())?;
        tx.commit().map_err(error())?;
        Ok(if inserted == 1 { Enqueued::New } else { Enqueued::Duplicate })
    }

    /// The oldest result whose time has come.
    ///
    /// # Errors
    /// If the database fails.
    pub fn next_due(&self) -> Result<Next, StoreError> {
        self.next_due_in(Lane::Backlog)
    }

    /// A result whose time has come.
    ///
    /// # Errors
    /// If the database fails.
    pub fn next_due_in(&self, lane: Lane) -> Result<Next, StoreError> {
        let now = now_ms();
        let db = self.db();
        let mut due = None;
        for order in lane.orders() {
            let order = order.replace(":suspect", &SUSPECT.to_string());
            let query = format!(
                "SELECT result_id, envelope, attempts, delivered,
                     (SELECT min(received_at) FROM images WHERE images.result_id = outbox.result_id)
                 FROM outbox WHERE position =
                     (SELECT position FROM outbox WHERE (due_at <= ?1 OR due_at > ?2) AND {order} LIMIT 1)"
            );
            due = db
                .query_row(&query, [now, now + HORIZON_MS], |row| {
                    Ok(Due {
                        result_id: Uuid::from_bytes(row.get(0)?),
                        envelope: row.get(1)?,
                        attempts: row.get(2)?,
                        delivered: row.get(3)?,
                        received_at_ms: row.get(4)?,
                    })
                })
                .optional()
                .map_err(sql("find the next result"))?;
            if due.is_some() {
                break;
            }
        }
        if let Some(due) = due {
            return Ok(Next::Send(due));
        }
        let soonest: Option<i64> = db
            .query_row("SELECT min(due_at) FROM outbox", [], |row| row.get(0))
            .map_err(sql("find the next result"))?;
        Ok(soonest.map_or(Next::Empty, |at| Next::Wait(u64::try_from(at - now).unwrap_or(0))))
    }

    /// Makes results due that a broker has and central has not acknowledged: a new connection has no session, so the
    /// broker may have forgotten them.
    ///
    /// # Errors
    /// If the database fails.
    pub fn replay_unacknowledged(&self) -> Result<usize, StoreError> {
        let change = "UPDATE outbox SET due_at = 0 WHERE delivered = 1 AND due_at <> 0";
        self.db().execute(change, []).map_err(sql("make results due"))
    }

    /// Counts a sending, before it is tried: whatever becomes of it, the next one is a replay.
    ///
    /// # Errors
    /// If the database fails.
    pub fn count_sending(&self, result_id: Uuid) -> Result<(), StoreError> {
        let change = "UPDATE outbox SET attempts = attempts + 1 WHERE result_id = ?1";
        self.db().execute(change, [result_id.as_bytes()]).map_err(sql("count a sending"))?;
        Ok(())
    }

    /// The broker has the result, but central's word is awaited: send again after `retry_ms` without it.
    ///
    /// # Errors
    /// If the database fails.
    pub fn await_ack(&self, result_id: Uuid, retry_ms: u64) -> Result<(), StoreError> {
        self.set_due(result_id, retry_ms, true)
    }

    /// The broker had nobody to give the result to, which is no fault of the result's: it is due again as if that had not
    /// happened, but as a replay.
    ///
    /// # Errors
    /// If the database fails.
    pub fn await_audience(&self, result_id: Uuid) -> Result<(), StoreError> {
        let change = "UPDATE outbox SET due_at = 0, attempts = 1 WHERE result_id = ?1";
        self.db().execute(change, [result_id.as_bytes()]).map_err(sql("postpone a result"))?;
        Ok(())
    }

    /// Whether all these results wait, for the broker or for central's word.
    ///
    /// # Errors
    /// If the database fails.
    pub fn all_queued(&self, results: &[Uuid]) -> Result<bool, StoreError> {
        let db = self.db();
        let query = "SELECT EXISTS (SELECT 1 FROM outbox WHERE result_id = ?1)";
        for result in results {
            if !db.query_row(query, [result.as_bytes()], |row| row.get(0)).map_err(sql("find a result"))? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The broker refused the result: let others pass and try again after `retry_ms`.
    ///
    /// # Errors
    /// If the database fails.
    pub fn postpone(&self, result_id: Uuid, retry_ms: u64) -> Result<(), StoreError> {
        self.set_due(result_id, retry_ms, false)
    }

    fn set_due(&self, result_id: Uuid, retry_ms: u64, delivered: bool) -> Result<(), StoreError> {
        let due_at = now_ms().saturating_add_unsigned(retry_ms);
        self.db()
            .execute(
                "UPDATE outbox SET due_at = ?2, delivered = max(delivered, ?3) WHERE result_id = ?1",
                params![result_id.as_bytes(), due_at, delivered],
            )
            .map_err(sql("postpone a result"))?;
        Ok(())
    }

    /// The result is where it belongs: its row goes, its images are done, their files are removed. Returns
    /// whether it was still waiting.
    ///
    /// # Errors
    /// If the database fails; the result stays in the outbox then.
    pub fn finish(&self, result_id: Uuid) -> Result<bool, StoreError> {
        let error = || sql("finish a result");
        let mut db = self.db();
        let tx = db.transaction().map_err(error())?;
        let removed =
            tx.execute("DELETE FROM outbox WHERE result_id = ?1", [result_id.as_bytes()]).map_err(error())?;
        let images: Vec<[u8; 32]> = {
            let change = "UPDATE images SET state = 'done'
                          WHERE result_id = ?1 AND state = 'queued' RETURNING image_id";
            let mut statement = tx.prepare(change).map_err(error())?;
            let rows = statement.query_map([result_id.as_bytes()], |row| row.get(0)).map_err(error())?;
            rows.collect::<Result<_, _>>().map_err(error())?
        };
        tx.commit().map_err(error())?;
        drop(db);
        self.remove_finished(images.into_iter().map(ImageId::from_digest));
        Ok(removed > 0)
    }

    fn remove_finished(&self, images: impl IntoIterator<Item = ImageId>) {
        for id in images {
            if let Err(error) = self.files().remove(&self.image_path(id)) {
                tracing::warn!(image = %id, %error, "the file of a finished image stays until the next start");
            }
        }
    }
}
