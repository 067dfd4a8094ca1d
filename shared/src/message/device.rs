use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::contract::DateTime;
use super::{Message, MessageError, ModelRef};
use crate::bundle::Signature;
use crate::schema::SchemaVersion;

/// Retained on `status`; `offline` is the last will.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Status {
    /// Version of this message's form.
    pub schema: SchemaVersion,
    /// The state.
    pub status: StatusKind,
    /// The start of the agent that it speaks of.
    pub boot_id: Uuid,
}

/// State of a device as its broker knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum StatusKind {
    /// Connected.
    Online,
    /// Stopped in order.
    Stopped,
    /// The connection was lost.
    Offline,
}

/// Retained on `birth`, at every connection: what the device runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Birth {
    /// Version of this message's form.
    pub schema: SchemaVersion,
    /// This start of the agent.
    pub boot_id: Uuid,
    /// When it started.
    #[schemars(with = "DateTime")]
    pub started_at: Timestamp,
    /// Version of the agent.
    pub firmware: String,
    /// The model that it serves.
    pub model: ModelRef,
    /// Who answers for the model. Since 1.1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<Signature>,
    /// Version of the manifest's form.
    pub manifest_schema: SchemaVersion,
    /// [`crate::PIPELINE_VERSION`] of the agent.
    pub pipeline_version: u32,
    /// What it can do, such as `watch-folder`.
    pub capabilities: Vec<String>,
    /// How many images were found when the state database was damaged and had to be rebuilt at this start. They are
    /// analysed again and give the results that they gave before. Since 1.2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store_rebuilt: Option<u64>,
}

/// On `health`, QoS 0, every minute or so.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Health {
    /// Version of this message's form.
    pub schema: SchemaVersion,
    /// This start of the agent.
    pub boot_id: Uuid,
    /// When it was measured.
    #[schemars(with = "DateTime")]
    pub at: Timestamp,
    /// Images not yet inferred.
    pub images_waiting: u64,
    /// Results not yet delivered.
    pub results_waiting: u64,
    /// Age of the oldest undelivered result in seconds.
    pub oldest_unsent_s: Option<u64>,
    /// Images set aside, waiting for a person.
    pub set_aside: u64,
    /// Results delivered since the start.
    pub delivered: u64,
    /// Memory of the agent in bytes, if the system tells.
    pub rss_bytes: Option<u64>,
    /// Free bytes for the agent on the disk of its state folder. Since 1.2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk_free_bytes: Option<u64>,
    /// Size of that disk in bytes. Since 1.2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk_bytes: Option<u64>,
    /// The hottest sensor of the box in degrees Celsius. Since 1.2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature_c: Option<f64>,
    /// Milliseconds that the last images took from bytes to result; none before the first. Since 1.2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub analysis_ms: Option<Percentiles>,
    /// Milliseconds between arrival of an image and delivery of its result, over the last results. Since 1.2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery_ms: Option<Percentiles>,
}

/// Percentiles by nearest rank over the last `count` values.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Percentiles {
    /// How many values.
    pub count: u64,
    /// The median.
    pub p50: f64,
    /// 95 of 100 are no larger.
    pub p95: f64,
    /// The largest.
    pub max: f64,
}

/// Central to device, on `ack`, after its own commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Ack {
    /// Version of this message's form.
    pub schema: SchemaVersion,
    /// The result that is safe.
    pub result_id: Uuid,
}

impl Message for Status {
    const WHAT: &'static str = "status";
    const CONTENT_TYPE: &'static str = "application/vnd.chexseg.status+json; v=1";

    fn validate(&self) -> Result<(), MessageError> {
        Ok(())
    }
}

impl Message for Birth {
    const WHAT: &'static str = "birth";
    const CONTENT_TYPE: &'static str = "application/vnd.chexseg.birth+json; v=1";

    fn validate(&self) -> Result<(), MessageError> {
        if crate::manifest::is_sha256(&self.model.sha256) {
            return Ok(());
        }
        let problem = "is not 64 lower-case hex digits".into();
        Err(MessageError::Field { what: Self::WHAT, field: "model.sha256".into(), problem })
    }
}

impl Message for Health {
    const WHAT: &'static str = "health";
    const CONTENT_TYPE: &'static str = "application/vnd.chexseg.health+json; v=1";

    fn validate(&self) -> Result<(), MessageError> {
        Ok(())
    }
}

impl Message for Ack {
    const WHAT: &'static str = "ack";
    const CONTENT_TYPE: &'static str = "application/vnd.chexseg.ack+json; v=1";

    fn validate(&self) -> Result<(), MessageError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::Quantization;
    use crate::message::SCHEMA;

    #[test]
    fn status_is_lower_case_on_the_wire() {
        let status = Status { schema: SCHEMA, status: StatusKind::Offline, boot_id: Uuid::nil() };
        let json = String::from_utf8(status.to_json()).unwrap();
        assert!(json.contains(r#""status":"offline""#), "{json}");
        assert_eq!(Status::parse(json.as_bytes()).unwrap(), status);
    }

    #[test]
    fn an_ack_of_another_major_is_refused() {
        let json = br#"{"schema":"3.1","result_id":"00000000-0000-0000-0000-000000000000"}"#;
        assert!(Ack::parse(json).unwrap_err().to_string().contains("schema 3.1"));
    }

    #[test]
    fn a_birth_tells_who_answers_for_the_model_and_an_older_one_does_not() {
        let key_id = "00000000000000FF".to_owned().try_into().unwrap();
        let mut birth = Birth {
            schema: SCHEMA,
            boot_id: Uuid::nil(),
            started_at: Timestamp::UNIX_EPOCH,
            firmware: "1".into(),
            model: ModelRef {
                name: "test".into(),
                version: "1".into(),
                sha256: "0".repeat(64),
                quantization: Quantization::F32,
            },
            signature: Some(Signature::Verified { key_id, comment: "ours".into() }),
            manifest_schema: SCHEMA,
            pipeline_version: 1,
            capabilities: vec![],
            store_rebuilt: None,
        };
        let json = String::from_utf8(birth.to_json()).unwrap();
        let told = r#""signature":{"state":"verified","key_id":"00000000000000FF","comment":"ours"}"#;
        assert!(json.contains(told), "{json}");
        assert_eq!(Birth::parse(json.as_bytes()).unwrap(), birth);
        birth.signature = None;
        birth.schema = SchemaVersion { major: 1, minor: 0 };
        assert_eq!(Birth::parse(&birth.to_json()).unwrap(), birth);
    }

    #[test]
    fn a_health_message_of_1_0_is_read_and_what_it_lacks_is_not_written() {
        let json = r#"{"schema":"1.0","boot_id":"00000000-0000-0000-0000-000000000000","at":"2026-11-23T12:00:00Z","images_waiting":0,"results_waiting":1,"oldest_unsent_s":5,"set_aside":0,"delivered":7,"rss_bytes":null}"#;
        let mut health = Health::parse(json.as_bytes()).unwrap();
        assert_eq!(health.to_json(), json.as_bytes());
        health.schema = SCHEMA;
        health.temperature_c = Some(48.5);
        health.analysis_ms = Some(Percentiles { count: 2, p50: 40.0, p95: 41.5, max: 41.5 });
        assert_eq!(Health::parse(&health.to_json()).unwrap(), health);
    }

    #[test]
    fn a_status_that_nobody_defined_is_refused() {
        let json = br#"{"schema":"1.0","status":"sleepy","boot_id":"00000000-0000-0000-0000-000000000000"}"#;
        assert!(Status::parse(json).unwrap_err().to_string().contains("sleepy"));
    }
}
