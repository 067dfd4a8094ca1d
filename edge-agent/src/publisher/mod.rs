//! From the outbox to the broker.
//!
//! [`courier`] decides what is sent and when; a [`Publisher`] knows how. MQTT 5 is the one there is
//! ([`mqtt`]). The two meet in a [`Link`], one connection that is never mended: when it is lost the courier
//! opens another and goes on from the outbox, which is the only memory of what is unsent.

mod audience;
pub mod courier;
pub mod fit;
pub mod inbox;
pub mod mqtt;
pub mod presence;

#[cfg(test)]
pub(crate) mod tests;

use std::future::Future;

use shared::message::Message;
use shared::topic::Channel;

use crate::tls::CredentialsError;

/// Opens connections.
pub trait Publisher: Send {
    /// What it opens.
    type Link: Link;

    /// Opens a fresh connection: nothing of an earlier one survives in it.
    fn connect(&mut self) -> impl Future<Output = Result<Self::Link, PublishError>> + Send;
}

/// One connection. Dropping it without [`Link::close`] is a lost connection to the other side.
pub trait Link: Send {
    /// Largest payload that may be sent on a channel, in bytes.
    fn max_payload(&self, channel: &Channel) -> usize;

    /// Sends one message. [`Assurance::Acknowledged`] returns when the other side has taken it over. If the
    /// future is dropped the link must not be used again.
    fn send(&mut self, message: Outbound) -> impl Future<Output = Result<Taken, PublishError>> + Send;

    /// Waits until the connection is lost, and says why.
    fn lost(&mut self) -> impl Future<Output = PublishError> + Send;

    /// Takes leave.
    fn close(self) -> impl Future<Output = ()> + Send;
}

/// What became of a message that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It is on its way, as far as anybody tells.
    Accepted,
    /// The broker has it and knows nobody to give it to.
    Unheard,
}

/// A message on its way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outbound {
    /// Which of the device's topics.
    pub channel: Channel,
    /// JSON.
    pub payload: Vec<u8>,
    /// Media type of the payload.
    pub content_type: &'static str,
    /// Whether the broker keeps it for late subscribers.
    pub retain: bool,
    /// How hard to try.
    pub assurance: Assurance,
    /// Of the request that it answers.
    pub correlation_data: Option<Vec<u8>>,
}

/// How hard a message is tried to be delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Assurance {
    /// MQTT QoS 1: until acknowledged.
    Acknowledged,
    /// MQTT QoS 0: once, and worthless after this many seconds.
    Expires(u32),
}

/// Why a message or a connection failed.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// No connection came about.
    #[error("failed to connect to broker {broker}: {reason}")]
    Connect {
        /// Host and port.
        broker: String,
        /// The cause.
        reason: String,
    },
    /// The connection is gone.
    #[error("connection to the broker lost: {0}")]
    Lost(String),
    /// The broker does not take this message; the connection lives.
    #[error("the broker refused a message on '{channel}': {reason}; check its ACL and limits")]
    Refused {
        /// The channel.
        channel: Channel,
        /// The broker's reason code.
        reason: String,
    },
    /// More than the broker or the configuration allows.
    #[error(
        "a message of {bytes} bytes on '{channel}' exceeds the limit of {limit} (`mqtt.max_packet_bytes` or the broker's)"
    )]
    TooLarge {
        /// The channel.
        channel: Channel,
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// A certificate, key or password file.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
}

impl Outbound {
    /// A message that is kept until it is acknowledged.
    pub fn acknowledged<M: Message>(channel: Channel, message: &M) -> Self {
        Self::encoded(channel, message.to_json(), M::CONTENT_TYPE)
    }

    /// The same of a message that is JSON already.
    pub fn encoded(channel: Channel, payload: Vec<u8>, content_type: &'static str) -> Self {
        let assurance = Assurance::Acknowledged;
        Self { channel, payload, content_type, retain: false, assurance, correlation_data: None }
    }

    /// A message that is sent once.
    pub fn expiring<M: Message>(channel: Channel, message: &M, seconds: u32) -> Self {
        Self { assurance: Assurance::Expires(seconds), ..Self::acknowledged(channel, message) }
    }

    /// The same, kept by the broker for late subscribers.
    #[must_use]
    pub fn retained(self) -> Self {
        Self { retain: true, ..self }
    }
}
