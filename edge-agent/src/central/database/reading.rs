use shared::message::{Birth, Health, Message, ResultEnvelope, Status};
use shared::topic::DeviceId;
use uuid::Uuid;

use super::backend::Value;
use super::hand_ons::uuid;
use super::{Database, DatabaseError, int, optional_text, text};

/// A result that is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct ResultRecord {
    /// Who sent it first.
    pub device: DeviceId,
    /// When it came, milliseconds since 1970.
    pub received_at: i64,
    /// What it says.
    pub envelope: ResultEnvelope,
    /// As it came.
    pub json: String,
    /// How often it came again with the same content.
    pub repeats: u64,
    /// How often it came again with other content.
    pub conflicts: u64,
}

/// Which results are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Of one site.
    pub site: Option<String>,
    /// Of one device.
    pub device: Option<String>,
    /// Of one study.
    pub study_uid: Option<String>,
    /// Of one image.
    pub sop_uid: Option<String>,
    /// Only those of which another content came, too.
    pub conflicts: bool,
}

/// A device as it last told of itself.
#[derive(Clone, Debug, PartialEq)]
pub struct DeviceRecord {
    /// Which.
    pub device: DeviceId,
    /// Its state, and when that came, milliseconds since 1970.
    pub status: Option<(Status, i64)>,
    /// What it runs.
    pub birth: Option<Birth>,
    /// How it is, and when that came, milliseconds since 1970.
    pub health: Option<(Health, i64)>,
    /// Results of it.
    pub results: u64,
    /// When the last of them came, milliseconds since 1970.
    pub last_result_at: Option<i64>,
}

/// A message that was set aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetAsideRecord {
    /// Its number.
    pub position: i64,
    /// When it came, milliseconds since 1970.
    pub received_at: i64,
    /// Where from.
    pub topic: String,
    /// Why; may quote the message.
    pub reason: String,
    /// Its size.
    pub bytes: u64,
    /// Its beginning, with what is no text replaced.
    pub payload: String,
}

impl Database {
    /// Results, the newest first.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn results(&self, filter: &Filter, limit: u32) -> Result<Vec<ResultRecord>, DatabaseError> {
        let mut db = self.backend().await?;
        let any = |wanted: &Option<String>| wanted.clone().unwrap_or_default().into();
        let values: [Value; 6] = [
            any(&filter.site),
            any(&filter.device),
            any(&filter.study_uid),
            any(&filter.sop_uid),
            i64::from(filter.conflicts).into(),
            i64::from(limit).into(),
        ];
        let rows = db
            .query(
                "SELECT site, device, received_at, envelope, repeats, conflicts FROM results \
                 WHERE ($1 = '' OR site = $1) AND ($2 = '' OR device = $2) AND ($3 = '' OR study_uid = $3) \
                 AND ($4 = '' OR sop_uid = $4) AND (CAST($5 AS BIGINT) = 0 OR conflicts > 0) \
                 ORDER BY received_at DESC, result_id LIMIT $6",
                &values,
            )
            .await?;
        rows.iter().map(|row| record(row)).collect()
    }

    /// One result.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn result(&self, id: Uuid) -> Result<Option<ResultRecord>, DatabaseError> {
        let mut db = self.backend().await?;
        let rows = db
            .query(
                "SELECT site, device, received_at, envelope, repeats, conflicts FROM results \
                 WHERE result_id = $1",
                &[id.to_string().into()],
            )
            .await?;
        rows.first().map(|row| record(row)).transpose()
    }

    /// The ids of all results, in order.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn result_ids(&self) -> Result<Vec<Uuid>, DatabaseError> {
        let mut db = self.backend().await?;
        let rows = db.query("SELECT result_id FROM results ORDER BY result_id", &[]).await?;
        rows.iter().map(|row| uuid(text(row, 0)?)).collect()
    }

    /// Every device that was ever heard of.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn devices(&self) -> Result<Vec<DeviceRecord>, DatabaseError> {
        let mut db = self.backend().await?;
        let rows = db
            .query(
                "SELECT d.site, d.device, status, status_at, birth, health, health_at, r.number, r.latest \
                 FROM (SELECT site, device FROM devices UNION SELECT site, device FROM results) d \
                 LEFT JOIN devices t ON t.site = d.site AND t.device = d.device \
                 LEFT JOIN (SELECT site, device, count(*) AS number, max(received_at) AS latest \
                 FROM results GROUP BY site, device) r ON r.site = d.site AND r.device = d.device \
                 ORDER BY d.site, d.device",
                &[],
            )
            .await?;
        rows.iter().map(|row| device_record(row)).collect()
    }

    /// What was set aside, the newest first.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn set_aside(&self, limit: u32) -> Result<Vec<SetAsideRecord>, DatabaseError> {
        let mut db = self.backend().await?;
        let rows = db
            .query(
                "SELECT position, received_at, topic, reason, bytes, payload FROM set_aside \
                 ORDER BY position DESC LIMIT $1",
                &[i64::from(limit).into()],
            )
            .await?;
        let record = |row: &Vec<Value>| {
            Ok(SetAsideRecord {
                position: int(row, 0)?,
                received_at: int(row, 1)?,
                topic: text(row, 2)?.to_owned(),
                reason: text(row, 3)?.to_owned(),
                bytes: int(row, 4)? as u64,
                payload: text(row, 5)?.to_owned(),
            })
        };
        rows.iter().map(record).collect()
    }
}

fn record(row: &[Value]) -> Result<ResultRecord, DatabaseError> {
    let json = text(row, 3)?.to_owned();
    let envelope = ResultEnvelope::parse(json.as_bytes())
        .map_err(|_| DatabaseError::Damaged("a result can no longer be read"))?;
    Ok(ResultRecord {
        device: device(row)?,
        received_at: int(row, 2)?,
        envelope,
        json,
        repeats: int(row, 4)? as u64,
        conflicts: int(row, 5)? as u64,
    })
}

fn device_record(row: &[Value]) -> Result<DeviceRecord, DatabaseError> {
    let at = |column| int(row, column).ok();
    Ok(DeviceRecord {
        device: device(row)?,
        status: message(row, 2)?.zip(at(3)),
        birth: message(row, 4)?,
        health: message(row, 5)?.zip(at(6)),
        results: at(7).unwrap_or(0) as u64,
        last_result_at: at(8),
    })
}

fn device(row: &[Value]) -> Result<DeviceId, DatabaseError> {
    let damaged = |_| DatabaseError::Damaged("a device has no valid name");
    Ok(DeviceId {
        site: text(row, 0)?.parse().map_err(damaged)?,
        device: text(row, 1)?.parse().map_err(damaged)?,
    })
}

fn message<M: Message>(row: &[Value], column: usize) -> Result<Option<M>, DatabaseError> {
    optional_text(row, column)
        .map(|json| M::parse(json.as_bytes()))
        .transpose()
        .map_err(|_| DatabaseError::Damaged("what a device told can no longer be read"))
}
