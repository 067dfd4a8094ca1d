//! What central sends: acknowledgements and commands.
//!
//! It stands apart from the courier, so that a courier who waits for the broker never keeps the connection from being
//! read.

use std::sync::Arc;

use shared::message::{Ack, Message};
use shared::topic::{Channel, DeviceId, Slug};
use tokio::sync::{Notify, mpsc};

use super::Outbound;
use crate::commands::Commands;
use crate::health::Vitals;
use crate::store::Store;

/// Longest correlation data that is echoed, in bytes.
const MOST_CORRELATION: usize = 256;

/// What MQTT 5 says beside a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// Where the response should go, as the sender gave it.
    pub response_topic: Option<String>,
    /// What the response should carry.
    pub correlation_data: Option<Vec<u8>>,
    /// Whether the broker kept it for whoever comes.
    pub retained: bool,
}

/// A message from central.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inbound {
    /// Which of the device's topics.
    pub channel: Channel,
    /// What was sent: anything at all.
    pub payload: Vec<u8>,
    /// What MQTT 5 says beside it.
    pub request: Request,
}

/// Takes what central sends.
pub struct Inbox {
    /// Of whom the outbox is.
    pub store: Store,
    /// What is counted.
    pub vitals: Arc<Vitals>,
    /// Tells the courier that something left the outbox.
    pub wake: Arc<Notify>,
    /// The device, to which a response topic must belong.
    pub device: DeviceId,
    /// Who answers commands; none where none are served.
    pub commands: Option<Commands>,
    /// Responses, on their way to the courier.
    pub responses: mpsc::Sender<Outbound>,
}

impl Inbox {
    /// Takes messages until their sender is gone.
    pub async fn listen(self, mut inbound: mpsc::Receiver<Inbound>) {
        while let Some(message) = inbound.recv().await {
            match (&message.channel, &self.commands) {
                (Channel::Ack, _) => self.acknowledge(&message.payload).await,
                (Channel::Command(verb), Some(commands)) => {
                    self.obey(commands, verb, &message.payload, message.request).await;
                }
                (channel, _) => {
                    tracing::warn!(%channel, "ignored a message on a channel that is not served");
                }
            }
        }
    }

    async fn acknowledge(&self, payload: &[u8]) {
        let ack = match Ack::parse(payload) {
            Ok(ack) => ack,
            Err(error) => {
                tracing::warn!(%error, "ignored an acknowledgement");
                return;
            }
        };
        // Without it the result is sent again, and central acknowledges again.
        match self.store.run(move |s| s.finish(ack.result_id)).await {
            Ok(true) => {
                tracing::info!(result = %ack.result_id, "acknowledged by central");
                self.vitals.metrics.count_acknowledgement();
                self.wake.notify_one();
            }
            Ok(false) => tracing::debug!(result = %ack.result_id, "acknowledged again"),
            Err(error) => {
                tracing::error!(%error, result = %ack.result_id, "failed to note an acknowledgement");
            }
        }
    }

    async fn obey(&self, commands: &Commands, verb: &Slug, payload: &[u8], request: Request) {
        let Request { response_topic, correlation_data, retained } = request;
        if retained {
            // It would be done again at every connection.
            tracing::warn!(%verb, "ignored a retained command: commands must not be retained");
            return;
        }
        let Some(channel) = self.response_channel(verb, response_topic.as_deref()) else {
            tracing::warn!(%verb, "ignored a command whose response topic is none of the device's own");
            return;
        };
        if correlation_data.as_ref().is_some_and(|data| data.len() > MOST_CORRELATION) {
            tracing::warn!(%verb, most = MOST_CORRELATION, "ignored a command with long correlation data");
            return;
        }
        let response = commands.answer(verb, payload).await;
        let response = Outbound { correlation_data, ..Outbound::acknowledged(channel, &response) };
        // Waiting here would keep acknowledgements waiting; who asks so fast can ask again.
        if self.responses.try_send(response).is_err() {
            tracing::warn!(%verb, "dropped a response: too many commands at a time");
        }
    }

    /// `rsp/{verb}`, or another `rsp/` of the device's own that was asked for: whoever may send commands must not make
    /// the device write anywhere else.
    fn response_channel(&self, verb: &Slug, asked: Option<&str>) -> Option<Channel> {
        let Some(asked) = asked else { return Some(Channel::Response(verb.clone())) };
        match DeviceId::parse_topic(asked) {
            Ok((device, channel @ Channel::Response(_))) if device == self.device => Some(channel),
            _ => None,
        }
    }
}
