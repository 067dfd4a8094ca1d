use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::contract::DateTime;
use super::{Message, MessageError};
use crate::schema::SchemaVersion;
use crate::topic::Slug;

/// What central may ask of a device: the last part of `cmd/{verb}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verb {
    /// Whether the device hears commands.
    Ping,
    /// What waits.
    Queue,
    /// Send waiting results now and analyse again what was set aside.
    Retry,
    /// Read the configuration file again.
    ReloadConfig,
}

/// A request, on `cmd/{verb}`, QoS 1, never retained. The verb stands in the topic. MQTT 5's response topic (one of
/// the device's own `rsp/…`) and correlation data are honoured. A device that is away misses it; one that gets it
/// twice does it twice, which does no harm. Since 1.2.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Command {
    /// Version of this message's form.
    pub schema: SchemaVersion,
}

/// The answer to a request, on `rsp/{verb}`. Since 1.2.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Response {
    /// Version of this message's form.
    pub schema: SchemaVersion,
    /// This start of the agent.
    pub boot_id: Uuid,
    /// When it was done.
    #[schemars(with = "DateTime")]
    pub at: Timestamp,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// To `ping`.
    Pong {
        /// When the agent started.
        #[schemars(with = "DateTime")]
        started_at: Timestamp,
    },
    /// To `queue`.
    Queue {
        /// Images not yet inferred.
        images_waiting: u64,
        /// Results not yet delivered.
        results_waiting: u64,
        /// Results delivered and not yet acknowledged by central.
        unacknowledged: u64,
        /// Age of the oldest undelivered result in seconds.
        oldest_unsent_s: Option<u64>,
        /// Images set aside, waiting for a person.
        set_aside: u64,
    },
    /// To `retry`.
    Retried {
        /// Images that were set aside and will be analysed again.
        images: u64,
        /// Results that wait and will be sent now.
        results: u64,
    },
    /// To `reload-config`.
    Reloaded {
        /// Keys that changed and are in force now.
        applied: Vec<String>,
        /// Keys that changed and take effect when the agent is restarted.
        needs_restart: Vec<String>,
    },
    /// Nothing was done.
    Error {
        /// The class of error.
        code: CommandErrorCode,
        /// For people.
        message: String,
    },
}

/// Why nothing was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CommandErrorCode {
    /// No such verb.
    UnknownVerb,
    /// Not a request, too long, or retained.
    Malformed,
    /// The configuration file cannot be used; the agent goes on with what it has.
    Config,
    /// The store failed.
    Store,
}

impl Verb {
    /// Every verb.
    pub const ALL: [Self; 4] = [Self::Ping, Self::Queue, Self::Retry, Self::ReloadConfig];

    /// As it stands in the topic.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ping => "ping",
            Self::Queue => "queue",
            Self::Retry => "retry",
            Self::ReloadConfig => "reload-config",
        }
    }

    /// As a part of a topic.
    pub fn slug(self) -> Slug {
        self.as_str().parse().expect("lower-case letters and '-'")
    }

    /// The verb of a topic, if it is known.
    pub fn find(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|verb| verb.as_str() == name)
    }
}

impl Message for Command {
    const WHAT: &'static str = "command";
    const CONTENT_TYPE: &'static str = "application/vnd.chexseg.command+json; v=1";

    fn validate(&self) -> Result<(), MessageError> {
        Ok(())
    }
}

impl Message for Response {
    const WHAT: &'static str = "response";
    const CONTENT_TYPE: &'static str = "application/vnd.chexseg.response+json; v=1";

    fn validate(&self) -> Result<(), MessageError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::SCHEMA;

    #[test]
    fn verbs_are_slugs_and_found_by_name() {
        for verb in Verb::ALL {
            assert_eq!(verb.slug().as_str(), verb.as_str());
            assert_eq!(Verb::find(verb.as_str()), Some(verb));
        }
        assert_eq!(Verb::find("reboot"), None);
    }

    #[test]
    fn a_response_names_its_outcome_and_what_is_unknown_in_it_is_refused() {
        let response =
            |outcome| Response { schema: SCHEMA, boot_id: Uuid::nil(), at: Timestamp::UNIX_EPOCH, outcome };
        let retried = response(Outcome::Retried { images: 1, results: 2 });
        let json = String::from_utf8(retried.to_json()).unwrap();
        assert!(json.contains(r#""outcome":{"retried":{"images":1,"results":2}}"#), "{json}");
        assert_eq!(Response::parse(json.as_bytes()).unwrap(), retried);
        let error = response(Outcome::Error { code: CommandErrorCode::UnknownVerb, message: "fly".into() });
        let json = String::from_utf8(error.to_json()).unwrap();
        assert!(json.contains(r#"{"error":{"code":"unknown-verb","message":"fly"}}"#), "{json}");
        let odd = json.replace(r#""message""#, r#""colour":1,"message""#);
        assert!(Response::parse(odd.as_bytes()).unwrap_err().to_string().contains("outcome"));
    }

    #[test]
    fn a_command_is_its_version_and_nothing_else() {
        let json = Command { schema: SCHEMA }.to_json();
        assert_eq!(Command::parse(&json).unwrap(), Command { schema: SCHEMA });
        for bad in [&b""[..], b"{}", b"now", br#"{"schema":"1.0","now":true}"#] {
            assert!(Command::parse(bad).is_err(), "{}", String::from_utf8_lossy(bad));
        }
    }
}
