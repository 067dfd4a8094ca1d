//! Central's acknowledgements.

use std::sync::Arc;

use shared::message::{Ack, Message};
use shared::topic::Channel;
use tokio::sync::{Notify, mpsc};

use crate::store::Store;

/// A message from central.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inbound {
    /// Which of the device's topics.
    pub channel: Channel,
    /// What was sent: anything at all.
    pub payload: Vec<u8>,
}

/// Takes acknowledged results out of the outbox until the sender is gone. `wake` tells the courier.
///
/// It stands apart from the courier, so that a courier who waits for the broker never keeps the connection
/// from being read.
pub async fn listen(mut inbound: mpsc::Receiver<Inbound>, store: Store, wake: Arc<Notify>) {
    while let Some(message) = inbound.recv().await {
        if message.channel != Channel::Ack {
            tracing::warn!(channel = %message.channel, "ignored a message on a channel that is not served");
            continue;
        }
        let ack = match Ack::parse(&message.payload) {
            Ok(ack) => ack,
            Err(error) => {
                tracing::warn!(%error, "ignored an acknowledgement");
                continue;
            }
        };
        // Without it the result is sent again, and central acknowledges again.
        match store.run(move |s| s.finish(ack.result_id)).await {
            Ok(true) => {
                tracing::info!(result = %ack.result_id, "acknowledged by central");
                wake.notify_one();
            }
            Ok(false) => tracing::debug!(result = %ack.result_id, "acknowledged again"),
            Err(error) => {
                tracing::error!(%error, result = %ack.result_id, "failed to note an acknowledgement");
            }
        }
    }
}
