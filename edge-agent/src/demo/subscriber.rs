//! An MQTT client that listens.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{Filter, Packet, Publish};
use rumqttc::v5::{AsyncClient, Event, EventLoop, MqttOptions};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Messages between connection and reader.
const BUFFERED: usize = 64;

/// A subscription; dropping it ends the connection.
pub struct Subscriber {
    messages: mpsc::Receiver<Publish>,
    client: AsyncClient,
    poller: JoinHandle<()>,
}

impl Subscriber {
    /// Connects, subscribes at QoS 1 and returns once the broker has agreed.
    ///
    /// # Errors
    /// If the broker is away or refuses.
    pub async fn connect(broker: SocketAddr, client_id: &str, filters: &[String]) -> io::Result<Self> {
        let mut options = MqttOptions::new(client_id, broker.ip().to_string(), broker.port());
        options
            .set_keep_alive(Duration::from_secs(5))
            .set_max_packet_size(Some(16 << 20))
            .set_outgoing_inflight_upper_limit(16);
        let (client, mut events) = AsyncClient::new(options, 16);
        let filters = filters.iter().map(|f| Filter::new(f.clone(), QoS::AtLeastOnce));
        client.subscribe_many(filters).await.map_err(io::Error::other)?;
        let (sender, messages) = mpsc::channel(BUFFERED);
        // Retained messages may come before the broker's agreement.
        loop {
            match events.poll().await.map_err(io::Error::other)? {
                Event::Incoming(Packet::SubAck(_)) => break,
                Event::Incoming(Packet::Publish(publish)) => {
                    sender.send(publish).await.map_err(io::Error::other)?;
                }
                _ => {}
            }
        }
        let poller = tokio::spawn(poll(events, sender));
        Ok(Self { messages, client, poller })
    }

    /// The next message; none once the connection is lost.
    pub async fn next(&mut self) -> Option<Publish> {
        self.messages.recv().await
    }

    /// To publish over the same connection.
    pub fn client(&self) -> &AsyncClient {
        &self.client
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.poller.abort();
    }
}

async fn poll(mut events: EventLoop, messages: mpsc::Sender<Publish>) {
    loop {
        match events.poll().await {
            Ok(Event::Incoming(Packet::Publish(publish))) => {
                if messages.send(publish).await.is_err() {
                    return;
                }
            }
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(%error, "the subscriber lost its connection");
                return;
            }
        }
    }
}
