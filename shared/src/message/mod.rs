//! What crosses the wire: JSON messages, each with its schema version.
//!
//! [`Message::parse`] reads strictly: the version first, then every field; a field that a document of our own
//! or an older minor cannot have is an error, a newer minor's additions are ignored.

mod command;
pub mod contract;
mod device;
mod result;

pub use command::{Command, CommandErrorCode, Outcome, Response, Verb};
pub use device::{Ack, Birth, Health, Percentiles, Status, StatusKind};
pub use result::{Finding, LatencyMs, ModelRef, QualityNote, ResultEnvelope, SourceImage, result_id};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::schema::{SchemaError, SchemaVersion};

/// The message schema that this program writes. 1.1 added a result's `measurements` and birth's `signature`,
/// 1.2 commands and responses, health's disk, temperature and latencies, an image's `revision` and `sop_class_uid`, and
/// birth's `store_rebuilt`.
pub const SCHEMA: SchemaVersion = SchemaVersion { major: 1, minor: 2 };

/// Why a message was refused.
#[derive(Debug, thiserror::Error)]
pub enum MessageError {
    /// Not JSON, or not of the message's form.
    #[error("the {what} is not valid: {source}")]
    Json {
        /// Kind of message.
        what: &'static str,
        /// The cause.
        source: serde_json::Error,
    },
    /// Wrong, missing or contradicted version.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// A value out of its range.
    #[error("the {what} is not valid: {field} {problem}")]
    Field {
        /// Kind of message.
        what: &'static str,
        /// Path of the field.
        field: String,
        /// What is wrong with it.
        problem: String,
    },
}

/// A JSON message with a `schema` field.
pub trait Message: Serialize + DeserializeOwned {
    /// Kind of message, for errors.
    const WHAT: &'static str;
    /// MQTT 5 content type.
    const CONTENT_TYPE: &'static str;

    /// Checks the ranges that the types do not.
    fn validate(&self) -> Result<(), MessageError>;

    /// Parses and validates.
    fn parse(json: &[u8]) -> Result<Self, MessageError> {
        let what = Self::WHAT;
        let bad = |source| MessageError::Json { what, source };
        let value: serde_json::Value = serde_json::from_slice(json).map_err(bad)?;
        let schema = value.get("schema").and_then(|v| v.as_str()).ok_or(SchemaError::Missing { what })?;
        let schema: SchemaVersion = schema.parse()?;
        schema.check(what, SCHEMA)?;
        let mut unknown = Vec::new();
        let message: Self =
            serde_ignored::deserialize(value, |path| unknown.push(path.to_string())).map_err(bad)?;
        if schema <= SCHEMA && !unknown.is_empty() {
            return Err(SchemaError::UnknownFields { what, fields: unknown }.into());
        }
        message.validate()?;
        Ok(message)
    }

    /// As compact JSON.
    fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self)
            .expect("messages hold only strings, numbers, lists and maps with string keys")
    }
}
