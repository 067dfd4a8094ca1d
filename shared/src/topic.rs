//! MQTT topics: `cxr/v1/{site}/{device}/…`. No patient data ever stands in one.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

const PREFIX: &str = "cxr/v1";

/// A name of a site, a device or a command: 1 to 32 characters of `a-z`, `0-9` and `-`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Slug(String);

/// Where a device stands in the topic tree.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceId {
    /// The hospital or clinic.
    pub site: Slug,
    /// The box, unique within its site.
    pub device: Slug,
}

/// What a topic of a device carries.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Channel {
    /// Retained [`Status`](crate::message::Status), also the last will.
    Status,
    /// Retained [`Birth`](crate::message::Birth).
    Birth,
    /// [`Health`](crate::message::Health), QoS 0.
    Health,
    /// [`ResultEnvelope`](crate::message::ResultEnvelope), never retained.
    Result,
    /// Acquisition alerts.
    Quality,
    /// [`Ack`](crate::message::Ack), central to device.
    Ack,
    /// A command, central to device.
    Command(Slug),
    /// The response to a command.
    Response(Slug),
}

/// Why a topic or one of its parts was refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TopicError {
    /// A part that is no slug.
    #[error("'{0}' is not a name of 1 to 32 characters a-z, 0-9 and '-'")]
    Slug(String),
    /// A topic of another tree or another major version.
    #[error("topic '{0}' does not begin with {PREFIX}/SITE/DEVICE/")]
    Foreign(String),
    /// A channel that this version does not know.
    #[error("topic '{0}' names no known channel")]
    Channel(String),
}

impl DeviceId {
    /// The topic of a channel of this device.
    pub fn topic(&self, channel: &Channel) -> String {
        let Self { site, device } = self;
        format!("{PREFIX}/{site}/{device}/{channel}")
    }

    /// The filter that matches every command to this device.
    pub fn commands(&self) -> String {
        let Self { site, device } = self;
        format!("{PREFIX}/{site}/{device}/cmd/+")
    }

    /// Splits a full topic into its device and channel.
    pub fn parse_topic(topic: &str) -> Result<(Self, Channel), TopicError> {
        let foreign = || TopicError::Foreign(topic.to_owned());
        let rest = topic.strip_prefix(PREFIX).and_then(|r| r.strip_prefix('/')).ok_or_else(foreign)?;
        let mut parts = rest.splitn(3, '/');
        let (Some(site), Some(device), Some(channel)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(foreign());
        };
        Ok((Self { site: site.parse()?, device: device.parse()? }, channel.parse()?))
    }
}

impl Channel {
    /// The filter that matches this channel of every device of every site.
    pub fn everywhere(&self) -> String {
        format!("{PREFIX}/+/+/{self}")
    }
}

impl Slug {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status => f.write_str("status"),
            Self::Birth => f.write_str("birth"),
            Self::Health => f.write_str("health"),
            Self::Result => f.write_str("result"),
            Self::Quality => f.write_str("quality"),
            Self::Ack => f.write_str("ack"),
            Self::Command(verb) => write!(f, "cmd/{verb}"),
            Self::Response(verb) => write!(f, "rsp/{verb}"),
        }
    }
}

impl FromStr for Channel {
    type Err = TopicError;

    fn from_str(text: &str) -> Result<Self, TopicError> {
        Ok(match text.split_once('/') {
            None => match text {
                "status" => Self::Status,
                "birth" => Self::Birth,
                "health" => Self::Health,
                "result" => Self::Result,
                "quality" => Self::Quality,
                "ack" => Self::Ack,
                _ => return Err(TopicError::Channel(text.to_owned())),
            },
            Some(("cmd", verb)) => Self::Command(verb.parse()?),
            Some(("rsp", verb)) => Self::Response(verb.parse()?),
            Some(_) => return Err(TopicError::Channel(text.to_owned())),
        })
    }
}

impl FromStr for Slug {
    type Err = TopicError;

    fn from_str(text: &str) -> Result<Self, TopicError> {
        let fits = (1..=32).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if fits { Ok(Self(text.to_owned())) } else { Err(TopicError::Slug(text.to_owned())) }
    }
}

impl TryFrom<String> for Slug {
    type Error = TopicError;

    fn try_from(text: String) -> Result<Self, TopicError> {
        text.parse()
    }
}

impl From<Slug> for String {
    fn from(slug: Slug) -> Self {
        slug.0
    }
}

impl fmt::Display for Slug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn slug() -> impl Strategy<Value = Slug> {
        "[a-z0-9-]{1,32}".prop_map(|s| s.parse().unwrap())
    }

    fn channel() -> impl Strategy<Value = Channel> {
        prop_oneof![
            Just(Channel::Status),
            Just(Channel::Birth),
            Just(Channel::Health),
            Just(Channel::Result),
            Just(Channel::Quality),
            Just(Channel::Ack),
            slug().prop_map(Channel::Command),
            slug().prop_map(Channel::Response),
        ]
    }

    proptest! {
        #[test]
        fn parse_inverts_topic(site in slug(), device in slug(), channel in channel()) {
            let id = DeviceId { site, device };
            prop_assert_eq!(DeviceId::parse_topic(&id.topic(&channel)).unwrap(), (id, channel));
        }

        #[test]
        fn any_text_parses_or_errs(text in ".{0,60}") {
            if let Ok((id, channel)) = DeviceId::parse_topic(&text) {
                prop_assert_eq!(id.topic(&channel), text);
            }
        }
    }

    #[test]
    fn wildcards_and_foreign_trees_are_refused() {
        for bad in [
            "cxr/v1/+/cart/result",
            "cxr/v1/site/#",
            "cxr/v2/site/cart/result",
            "cxr/v1/site/cart",
            "cxr/v1",
            "cxr/v1/Site/cart/result",
            "cxr/v1//cart/result",
            "cxr/v1/site/cart/result/x",
            "cxr/v1/site/cart/cmd/",
            "other/v1/site/cart/result",
            "cxr/v11/site/cart/result",
        ] {
            assert!(DeviceId::parse_topic(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn filter_spans_every_device() {
        assert_eq!(Channel::Result.everywhere(), "cxr/v1/+/+/result");
    }
}
