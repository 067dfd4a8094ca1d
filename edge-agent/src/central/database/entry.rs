use jiff::Timestamp;
use sha2::{Digest, Sha256};
use shared::message::{Birth, Health, LatencyMs, Message, ResultEnvelope, SCHEMA, Status};
use shared::topic::DeviceId;
use uuid::Uuid;

use super::backend::{Backend, Value};
use super::{DatabaseError, int, now_ms, text};

/// Most bytes of a message that is set aside that are kept.
const MAX_PAYLOAD: usize = 64 << 10;
/// Most characters of a topic or a reason that are kept.
const MAX_TEXT: usize = 1000;

/// What came.
#[derive(Clone, Debug, PartialEq)]
pub enum Entry {
    /// A result.
    Result {
        /// Who sent it.
        device: DeviceId,
        /// What it says.
        envelope: Box<ResultEnvelope>,
        /// As it came.
        json: String,
    },
    /// The state of a device.
    Status {
        /// Of whom.
        device: DeviceId,
        /// The message.
        status: Status,
    },
    /// What a device runs.
    Birth {
        /// Of whom.
        device: DeviceId,
        /// The message.
        birth: Box<Birth>,
    },
    /// How a device is.
    Health {
        /// Of whom.
        device: DeviceId,
        /// The message.
        health: Box<Health>,
    },
    /// Something that nobody can use.
    SetAside(SetAside),
}

/// A message that nobody can use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetAside {
    /// Where it came from.
    pub topic: String,
    /// Why; may quote the message.
    pub reason: String,
    /// What it says.
    pub payload: Vec<u8>,
}

/// What became of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// A result that was not there.
    New,
    /// A result that was there, with the same content.
    Repeat,
    /// A result that was there with other content; the first stays, this one is set aside.
    Conflict,
    /// Anything else.
    Noted,
}

impl Entry {
    /// Rows are written in this order.
    pub(super) fn key(&self) -> (u8, String) {
        match self {
            Self::Result { envelope, .. } => (0, envelope.result_id.to_string()),
            Self::Status { device, .. } | Self::Birth { device, .. } | Self::Health { device, .. } => {
                (1, format!("{}/{}", device.site, device.device))
            }
            Self::SetAside(_) => (2, String::new()),
        }
    }
}

/// Digest of what a result says about its image: without what differs between two analyses of the same image by
/// the same model, or two sendings of one.
pub(super) fn content(envelope: &ResultEnvelope) -> String {
    let stripped = ResultEnvelope {
        schema: SCHEMA,
        boot_id: Uuid::nil(),
        seq: 0,
        inferred_at: Timestamp::UNIX_EPOCH,
        clock_synced: false,
        replayed: false,
        latency_ms: LatencyMs::default(),
        ..envelope.clone()
    };
    Sha256::digest(stripped.to_json()).iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) async fn keep(db: &mut dyn Backend, entry: &Entry, hand_on: bool) -> Result<Kept, DatabaseError> {
    match entry {
        Entry::Result { device, envelope, json } => {
            return keep_result(db, device, envelope, json, hand_on).await;
        }
        Entry::Status { device, status } => {
            let json = String::from_utf8_lossy(&status.to_json()).into_owned();
            note(db, STATUS, device, json, now_ms()).await?;
        }
        Entry::Birth { device, birth } => {
            let json = String::from_utf8_lossy(&birth.to_json()).into_owned();
            note(db, BIRTH, device, json, birth.started_at.as_millisecond()).await?;
        }
        Entry::Health { device, health } => {
            let json = String::from_utf8_lossy(&health.to_json()).into_owned();
            note(db, HEALTH, device, json, now_ms()).await?;
        }
        Entry::SetAside(message) => set_aside(db, message).await?,
    }
    Ok(Kept::Noted)
}

async fn keep_result(
    db: &mut dyn Backend,
    device: &DeviceId,
    envelope: &ResultEnvelope,
    json: &str,
    hand_on: bool,
) -> Result<Kept, DatabaseError> {
    let (id, content) = (envelope.result_id.to_string(), content(envelope));
    let image = &envelope.image;
    let values: [Value; 8] = [
        id.clone().into(),
        device.site.as_str().into(),
        device.device.as_str().into(),
        now_ms().into(),
        image.study_instance_uid.as_ref().map(shared::uid::Uid::as_str).into(),
        image.sop_instance_uid.as_str().into(),
        content.clone().into(),
        json.into(),
    ];
    let inserted = db
        .execute(
            "INSERT INTO results (result_id, site, device, received_at, study_uid, sop_uid, content, envelope) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (result_id) DO NOTHING",
            &values,
        )
        .await?;
    if inserted == 1 {
        if hand_on {
            db.execute(
                "INSERT INTO hand_ons (result_id, state, due_at) VALUES ($1, 'waiting', 0)",
                &values[..1],
            )
            .await?;
        }
        return Ok(Kept::New);
    }
    let rows = db.query("SELECT content FROM results WHERE result_id = $1", &values[..1]).await?;
    let first = rows.first().ok_or(DatabaseError::Damaged("a result that is there cannot be read"))?;
    if text(first, 0)? == content {
        db.execute("UPDATE results SET repeats = repeats + 1 WHERE result_id = $1", &values[..1]).await?;
        return Ok(Kept::Repeat);
    }
    db.execute("UPDATE results SET conflicts = conflicts + 1 WHERE result_id = $1", &values[..1]).await?;
    let other = SetAside {
        topic: device.topic(&shared::topic::Channel::Result),
        reason: format!("result {id} is there with other content, which stays"),
        payload: json.as_bytes().to_vec(),
    };
    set_aside(db, &other).await?;
    Ok(Kept::Conflict)
}

const STATUS: &str = "INSERT INTO devices (site, device, status, status_at) VALUES ($1, $2, $3, $4) \
     ON CONFLICT (site, device) DO UPDATE SET status = excluded.status, status_at = excluded.status_at";
const BIRTH: &str = "INSERT INTO devices (site, device, birth, birth_at) VALUES ($1, $2, $3, $4) \
     ON CONFLICT (site, device) DO UPDATE SET birth = excluded.birth, birth_at = excluded.birth_at";
const HEALTH: &str = "INSERT INTO devices (site, device, health, health_at) VALUES ($1, $2, $3, $4) \
     ON CONFLICT (site, device) DO UPDATE SET health = excluded.health, health_at = excluded.health_at";

async fn note(
    db: &mut dyn Backend,
    sql: &'static str,
    device: &DeviceId,
    json: String,
    at: i64,
) -> Result<(), DatabaseError> {
    let values: [Value; 4] =
        [device.site.as_str().into(), device.device.as_str().into(), json.into(), at.into()];
    db.execute(sql, &values).await.map(drop)
}

async fn set_aside(db: &mut dyn Backend, message: &SetAside) -> Result<(), DatabaseError> {
    let kept = &message.payload[..message.payload.len().min(MAX_PAYLOAD)];
    let values: [Value; 5] = [
        now_ms().into(),
        bounded(&message.topic).into(),
        bounded(&message.reason).into(),
        (message.payload.len() as i64).into(),
        printable(&String::from_utf8_lossy(kept)).into(),
    ];
    db.execute(
        "INSERT INTO set_aside (received_at, topic, reason, bytes, payload) VALUES ($1, $2, $3, $4, $5)",
        &values,
    )
    .await
    .map(drop)
}

/// Drops the oldest of what was set aside, where this batch added to it.
pub(super) async fn trim(
    db: &mut dyn Backend,
    batch: &[Entry],
    kept: &[Kept],
    most: u32,
) -> Result<(), DatabaseError> {
    let added = batch
        .iter()
        .zip(kept)
        .any(|(entry, kept)| *kept == Kept::Conflict || matches!(entry, Entry::SetAside(_)));
    if !added {
        return Ok(());
    }
    // Counted, not by difference of positions: those may have gaps.
    let oldest = db
        .query(
            "SELECT position FROM set_aside ORDER BY position DESC LIMIT 1 OFFSET $1",
            &[i64::from(most).into()],
        )
        .await?;
    if let Some(row) = oldest.first() {
        db.execute("DELETE FROM set_aside WHERE position <= $1", &[int(row, 0)?.into()]).await?;
    }
    Ok(())
}

/// A text of at most [`MAX_TEXT`] characters that any database takes.
pub(super) fn bounded(text: &str) -> String {
    printable(&text.chars().take(MAX_TEXT).collect::<String>())
}

/// PostgreSQL's text holds no NUL.
fn printable(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publisher::tests::envelope;

    #[test]
    fn content_is_what_is_said_of_the_image_and_nothing_of_the_sending() {
        let first = envelope(1);
        let replay = ResultEnvelope {
            replayed: true,
            boot_id: Uuid::from_u128(8),
            seq: 9,
            clock_synced: true,
            inferred_at: Timestamp::UNIX_EPOCH,
            ..first.clone()
        };
        assert_eq!(content(&first), content(&replay));
        let mut other = first.clone();
        other.findings[0].score = 0.8;
        assert_ne!(content(&first), content(&other));
    }
}
