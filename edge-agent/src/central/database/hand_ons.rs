use uuid::Uuid;

use super::backend::Value;
use super::entry::bounded;
use super::{Database, DatabaseError, int, now_ms, optional_text, text};

/// Milliseconds for which a claim holds if its holder vanishes without coming back.
const LEASE_MS: i64 = 15 * 60 * 1000;

/// A result that is to be handed on, held by one instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Which.
    pub result_id: Uuid,
    /// How often it was tried, this time included.
    pub attempts: u32,
}

/// What became of handing on a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandOn {
    /// Which result.
    pub result_id: Uuid,
    /// How it stands.
    pub state: HandOnState,
    /// How often it was tried.
    pub attempts: u32,
    /// When it is tried next, milliseconds since 1970, if it waits.
    pub due_at: i64,
    /// Why it was not taken, or is not sent.
    pub reason: Option<String>,
}

/// How a hand-on stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandOnState {
    /// To be sent.
    Waiting,
    /// The PACS has it.
    Done,
    /// Nothing that a PACS could take.
    Skipped,
}

impl HandOnState {
    /// The name, in the tables and for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Done => "done",
            Self::Skipped => "skipped",
        }
    }

    fn parse(name: &str) -> Result<Self, DatabaseError> {
        [Self::Waiting, Self::Done, Self::Skipped]
            .into_iter()
            .find(|state| state.name() == name)
            .ok_or(DatabaseError::Damaged("a hand-on has no known state"))
    }
}

impl Database {
    /// Gives back what this instance held when it was cut.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn release_claims(&self, instance: &str) -> Result<(), DatabaseError> {
        let mut db = self.backend().await?;
        let values = [instance.into()];
        db.execute(
            "UPDATE hand_ons SET due_at = 0, claimed_by = NULL WHERE state = 'waiting' AND claimed_by = $1",
            &values,
        )
        .await
        .map(drop)
    }

    /// Takes the result that is due the longest, so that no other instance takes it.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn claim(&self, instance: &str) -> Result<Option<Claim>, DatabaseError> {
        let mut db = self.begin().await?;
        let now = now_ms();
        let values: [Value; 3] = [(now + LEASE_MS).into(), instance.into(), now.into()];
        // The second look at `due_at` is for PostgreSQL: two instances may find the same row at once.
        let rows = db
            .query(
                "UPDATE hand_ons SET due_at = $1, claimed_by = $2, attempts = attempts + 1 \
                 WHERE state = 'waiting' AND due_at <= $3 AND result_id = (SELECT result_id FROM hand_ons \
                 WHERE state = 'waiting' AND due_at <= $3 ORDER BY due_at, result_id LIMIT 1) \
                 RETURNING result_id, attempts",
                &values,
            )
            .await?;
        db.batch("COMMIT").await?;
        rows.first()
            .map(|row| Ok(Claim { result_id: uuid(text(row, 0)?)?, attempts: int(row, 1)? as u32 }))
            .transpose()
    }

    /// Ends a claim: the PACS has it, or there is nothing to send and why.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn settle(&self, id: Uuid, skipped: Option<&str>) -> Result<(), DatabaseError> {
        let state = if skipped.is_some() { HandOnState::Skipped } else { HandOnState::Done };
        let values: [Value; 3] = [state.name().into(), skipped.map(bounded).into(), id.to_string().into()];
        let mut db = self.backend().await?;
        db.execute(
            "UPDATE hand_ons SET state = $1, reason = $2, claimed_by = NULL WHERE result_id = $3",
            &values,
        )
        .await
        .map(drop)
    }

    /// Ends a claim that failed; it is due again in so many milliseconds.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn postpone(&self, id: Uuid, pause_ms: u64, reason: &str) -> Result<(), DatabaseError> {
        let due = now_ms().saturating_add(i64::try_from(pause_ms).unwrap_or(i64::MAX));
        let values: [Value; 3] = [due.into(), bounded(reason).into(), id.to_string().into()];
        let mut db = self.backend().await?;
        db.execute(
            "UPDATE hand_ons SET due_at = $1, reason = $2, claimed_by = NULL \
             WHERE result_id = $3 AND state = 'waiting'",
            &values,
        )
        .await
        .map(drop)
    }

    /// Makes everything that waits due now, and what was skipped wait again. Gives how many.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn retry_hand_ons(&self) -> Result<u64, DatabaseError> {
        let mut db = self.backend().await?;
        db.execute(
            "UPDATE hand_ons SET due_at = 0, state = 'waiting' \
             WHERE state = 'skipped' OR (state = 'waiting' AND claimed_by IS NULL)",
            &[],
        )
        .await
    }

    /// What waits or was skipped, the next due first; with `all`, what is done too.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn hand_ons(&self, all: bool, limit: u32) -> Result<Vec<HandOn>, DatabaseError> {
        let mut db = self.backend().await?;
        let values: [Value; 2] = [i64::from(all).into(), i64::from(limit).into()];
        let rows = db
            .query(
                "SELECT result_id, state, attempts, due_at, reason FROM hand_ons \
                 WHERE state <> 'done' OR CAST($1 AS BIGINT) = 1 ORDER BY state DESC, due_at, result_id LIMIT $2",
                &values,
            )
            .await?;
        rows.iter().map(|row| hand_on(row)).collect()
    }

    /// What became of handing on one result; none if it was not to be.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn hand_on(&self, id: Uuid) -> Result<Option<HandOn>, DatabaseError> {
        let mut db = self.backend().await?;
        let rows = db
            .query(
                "SELECT result_id, state, attempts, due_at, reason FROM hand_ons WHERE result_id = $1",
                &[id.to_string().into()],
            )
            .await?;
        rows.first().map(|row| hand_on(row)).transpose()
    }
}

fn hand_on(row: &[Value]) -> Result<HandOn, DatabaseError> {
    Ok(HandOn {
        result_id: uuid(text(row, 0)?)?,
        state: HandOnState::parse(text(row, 1)?)?,
        attempts: int(row, 2)? as u32,
        due_at: int(row, 3)?,
        reason: optional_text(row, 4).map(str::to_owned),
    })
}

pub(super) fn uuid(text: &str) -> Result<Uuid, DatabaseError> {
    text.parse().map_err(|_| DatabaseError::Damaged("a result id is no UUID"))
}
