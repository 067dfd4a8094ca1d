//! MQTT 5 with rumqttc, built around what its clients stumble over:
//!
//! - Every connection is a new client with a clean start. rumqttc's own reconnection drops unacknowledged
//!   publishes or repeats them under reused packet ids; here nothing survives but the outbox.
//! - One QoS 1 publish is in flight at a time, so the next PUBACK is its own: rumqttc does not tell packet
//!   ids to publishers.
//! - A task of its own polls the event loop and never publishes, so a full request queue cannot block it.
//! - Packet sizes are set both ways and checked before sending: an oversize publish would end the connection,
//!   for ever again.
//! - A link on which nothing is heard for [`SILENT_KEEP_ALIVES`] keep-alives is given up from outside.

use std::time::Duration;

use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{
    Filter, LastWill, LastWillProperties, Packet, PubAck, PubAckReason, Publish, PublishProperties, SubAck,
    SubscribeReasonCode,
};
use rumqttc::v5::{AsyncClient, Event, EventLoop, MqttOptions};
use rumqttc::{Outgoing, TlsConfiguration, Transport};
use shared::topic::{Channel, DeviceId};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};

use super::inbox::{Inbound, Request};
use super::{Assurance, Link, Outbound, PublishError, Publisher, Taken};
use crate::config::MqttConfig;
use crate::tls;

/// Keep-alives without any packet from the broker after which a link is given up. rumqttc itself gives up
/// after two in the good case.
const SILENT_KEEP_ALIVES: u32 = 3;
/// For the broker to acknowledge a publish.
const PUBACK_TIMEOUT: Duration = Duration::from_secs(30);
/// For the broker to close after our DISCONNECT.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// Requests between us and the polling task.
const REQUESTS: usize = 8;
/// Packet ids: one publish in flight and a subscription.
const INFLIGHT: u16 = 8;
/// More than fixed header, packet id, lengths and expiry of a publish take.
const PUBLISH_OVERHEAD: usize = 64;

/// Opens MQTT connections.
pub struct MqttPublisher {
    config: MqttConfig,
    device: DeviceId,
    will: Outbound,
    inbound: mpsc::Sender<Inbound>,
}

/// One MQTT connection.
pub struct MqttLink {
    client: AsyncClient,
    device: DeviceId,
    max_packet: usize,
    pubacks: mpsc::Receiver<PubAck>,
    poller: JoinHandle<PublishError>,
}

impl MqttPublisher {
    /// A publisher for a device; `will` is what the broker says for it when the connection is lost, and
    /// `inbound` gets what central sends.
    ///
    /// # Errors
    /// If a credential file cannot be used. The files are read again at every connection, so certificates can
    /// be renewed under a running agent.
    pub fn new(
        config: MqttConfig,
        device: DeviceId,
        will: Outbound,
        inbound: mpsc::Sender<Inbound>,
    ) -> Result<Self, PublishError> {
        let publisher = Self { config, device, will, inbound };
        publisher.options()?;
        Ok(publisher)
    }

    fn options(&self) -> Result<MqttOptions, PublishError> {
        let config = &self.config;
        let mut options = connect_options(config, &client_id(&self.device))?;
        let properties =
            LastWillProperties { content_type: Some(self.will.content_type.into()), ..no_will_properties() };
        options.set_last_will(LastWill::new(
            self.device.topic(&self.will.channel),
            self.will.payload.clone(),
            QoS::AtLeastOnce,
            self.will.retain,
            Some(properties),
        ));
        Ok(options)
    }

    fn broker(&self) -> String {
        format!("{}:{}", self.config.host, self.config.port)
    }
}

/// The device's name as a client: one connection a device, a newer one takes over.
pub fn client_id(device: &DeviceId) -> String {
    format!("cxr-{}-{}", device.site, device.device)
}

/// Options of any client of this program: limits, credentials and transport, without a last will.
///
/// # Errors
/// If a credential file cannot be used.
pub fn connect_options(config: &MqttConfig, client_id: &str) -> Result<MqttOptions, PublishError> {
    let mut options = MqttOptions::new(client_id, &config.host, config.port);
    options
        .set_keep_alive(Duration::from_secs(config.keep_alive_s.into()))
        .set_clean_start(true)
        .set_connection_timeout(config.connect_timeout_s.into())
        .set_max_packet_size(Some(config.max_packet_bytes))
        .set_outgoing_inflight_upper_limit(INFLIGHT);
    if let (Some(username), Some(path)) = (&config.username, &config.password_file) {
        options.set_credentials(username, tls::secret("mqtt.password_file", path)?);
    }
    if let Some(tls) = &config.tls {
        options.set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(tls::client_config(
            "mqtt.tls", tls,
        )?)));
    }
    Ok(options)
}

impl Publisher for MqttPublisher {
    type Link = MqttLink;

    async fn connect(&mut self) -> Result<MqttLink, PublishError> {
        let options = self.options()?;
        let (client, mut events) = AsyncClient::new(options, REQUESTS);
        let failed = |reason: String| PublishError::Connect { broker: self.broker(), reason };
        // rumqttc bounds the whole handshake by its connection timeout.
        let connack = match events.poll().await {
            Ok(Event::Incoming(Packet::ConnAck(connack))) => connack,
            Ok(other) => return Err(failed(format!("expected CONNACK, got {other:?}"))),
            Err(error) => return Err(failed(error.to_string())),
        };
        let server = connack.properties.as_ref();
        let limits = Limits::agreed(
            &self.config,
            server.and_then(|p| p.max_packet_size),
            server.and_then(|p| p.server_keep_alive),
        );
        let (puback_tx, pubacks) = mpsc::channel(usize::from(INFLIGHT));
        let poller = tokio::spawn(poll(events, puback_tx, self.inbound.clone(), limits.silence));
        let link =
            MqttLink { client, device: self.device.clone(), max_packet: limits.max_packet, pubacks, poller };
        let filters = [self.device.topic(&Channel::Ack), self.device.commands()]
            .map(|filter| Filter::new(filter, QoS::AtLeastOnce));
        link.client.subscribe_many(filters).await.map_err(|e| failed(e.to_string()))?;
        Ok(link)
    }
}

/// What both sides allow.
struct Limits {
    max_packet: usize,
    silence: Duration,
}

impl Limits {
    /// The narrower packet limit, and the broker's keep-alive where it has one.
    fn agreed(config: &MqttConfig, max_packet: Option<u32>, keep_alive: Option<u16>) -> Self {
        // 0 says that the broker has none.
        let keep_alive = keep_alive.filter(|&s| s > 0).unwrap_or(config.keep_alive_s);
        Self {
            max_packet: config.max_packet_bytes.min(max_packet.unwrap_or(u32::MAX)) as usize,
            silence: Duration::from_secs(keep_alive.into()) * SILENT_KEEP_ALIVES,
        }
    }
}

/// Polls the event loop until the connection ends, and says why it did.
async fn poll(
    mut events: EventLoop,
    pubacks: mpsc::Sender<PubAck>,
    inbound: mpsc::Sender<Inbound>,
    silence: Duration,
) -> PublishError {
    let mut heard = Instant::now();
    loop {
        let packet = match timeout_at(heard + silence, events.poll()).await {
            Err(_) => return PublishError::Lost(format!("nothing heard for {silence:?}")),
            Ok(Err(error)) => return PublishError::Lost(error.to_string()),
            Ok(Ok(Event::Outgoing(Outgoing::Disconnect))) => {
                return PublishError::Lost("closed by the agent".into());
            }
            Ok(Ok(Event::Outgoing(_))) => continue,
            Ok(Ok(Event::Incoming(packet))) => packet,
        };
        heard = Instant::now();
        let in_order = match packet {
            // Never full: one publish is in flight, and a broker that acknowledges more breaks the protocol.
            Packet::PubAck(ack) => pubacks.try_send(ack).is_ok(),
            Packet::Publish(publish) => {
                forward(&inbound, publish).await;
                true
            }
            Packet::SubAck(ack) => {
                warn_of_refusal(&ack);
                true
            }
            _ => true,
        };
        if !in_order {
            return PublishError::Lost("the broker acknowledged what was not sent".into());
        }
    }
}

/// Results go out without the subscription to `ack`, but under `require_ack` none would ever be done.
fn warn_of_refusal(ack: &SubAck) {
    for code in &ack.return_codes {
        if !matches!(code, SubscribeReasonCode::Success(_)) {
            tracing::error!(
                reason = ?code,
                "the broker refused the subscription to `ack` or `cmd`: allow the device to read its own topics"
            );
        }
    }
}

/// Waits when the receiver is behind: the broker is pushed back over TCP.
async fn forward(inbound: &mpsc::Sender<Inbound>, publish: Publish) {
    let topic = String::from_utf8_lossy(&publish.topic);
    match DeviceId::parse_topic(&topic) {
        Ok((_, channel)) => {
            // A receiver that is gone means that the agent stops.
            let properties = publish.properties.unwrap_or_default();
            let request = Request {
                response_topic: properties.response_topic,
                correlation_data: properties.correlation_data.map(|data| data.to_vec()),
                retained: publish.retain,
            };
            let _ = inbound.send(Inbound { channel, payload: publish.payload.to_vec(), request }).await;
        }
        Err(error) => tracing::warn!(%error, "ignored a message"),
    }
}

impl MqttLink {
    /// Publishes, and waits for the PUBACK of a QoS 1 message.
    async fn exchange(&mut self, message: Outbound) -> Result<Taken, PublishError> {
        let Outbound { channel, payload, content_type, retain, assurance, correlation_data } = message;
        let (qos, expiry) = match assurance {
            Assurance::Acknowledged => (QoS::AtLeastOnce, None),
            Assurance::Expires(seconds) => (QoS::AtMostOnce, Some(seconds)),
        };
        let properties = PublishProperties {
            payload_format_indicator: Some(1),
            message_expiry_interval: expiry,
            content_type: Some(content_type.into()),
            correlation_data: correlation_data.map(Into::into),
            ..PublishProperties::default()
        };
        let topic = self.device.topic(&channel);
        let gone = || PublishError::Lost("the connection ended".into());
        self.client
            .publish_with_properties(topic, qos, retain, payload, properties)
            .await
            .map_err(|_| gone())?;
        if qos == QoS::AtMostOnce {
            return Ok(Taken::Accepted);
        }
        let ack = self.pubacks.recv().await.ok_or_else(gone)?;
        match ack.reason {
            PubAckReason::Success => Ok(Taken::Accepted),
            PubAckReason::NoMatchingSubscribers => Ok(Taken::Unheard),
            reason => Err(PublishError::Refused { channel, reason: format!("{reason:?}") }),
        }
    }
}

impl Link for MqttLink {
    fn max_payload(&self, channel: &Channel) -> usize {
        let content_type = 64;
        let overhead = PUBLISH_OVERHEAD + content_type + self.device.topic(channel).len();
        self.max_packet.saturating_sub(overhead)
    }

    async fn send(&mut self, message: Outbound) -> Result<Taken, PublishError> {
        let correlation = message.correlation_data.as_ref().map_or(0, |data| data.len() + 3);
        let limit = self.max_payload(&message.channel).saturating_sub(correlation);
        if message.payload.len() > limit {
            let bytes = message.payload.len();
            return Err(PublishError::TooLarge { channel: message.channel, bytes, limit });
        }
        match timeout(PUBACK_TIMEOUT, self.exchange(message)).await {
            Ok(Err(PublishError::Lost(reason))) if self.poller.is_finished() => {
                // The poller knows better why.
                Err((&mut self.poller).await.unwrap_or(PublishError::Lost(reason)))
            }
            Ok(result) => result,
            Err(_) => {
                self.poller.abort();
                Err(PublishError::Lost(format!("no PUBACK within {PUBACK_TIMEOUT:?}")))
            }
        }
    }

    async fn lost(&mut self) -> PublishError {
        match (&mut self.poller).await {
            Ok(error) => error,
            Err(error) => PublishError::Lost(error.to_string()),
        }
    }

    async fn close(mut self) {
        if self.client.disconnect().await.is_ok() {
            let _ = timeout(CLOSE_TIMEOUT, &mut self.poller).await;
        }
    }
}

impl Drop for MqttLink {
    fn drop(&mut self) {
        // Ends the TCP connection: without a DISCONNECT before, the broker publishes the last will.
        self.poller.abort();
    }
}

fn no_will_properties() -> LastWillProperties {
    LastWillProperties {
        delay_interval: None,
        payload_format_indicator: Some(1),
        message_expiry_interval: None,
        content_type: None,
        response_topic: None,
        correlation_data: None,
        user_properties: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_narrower_packet_limit_and_the_brokers_keep_alive_count() {
        let config =
            MqttConfig { max_packet_bytes: 1000, keep_alive_s: 30, ..MqttConfig::plain("broker", 1883) };
        let agreed = |max_packet, keep_alive| {
            let limits = Limits::agreed(&config, max_packet, keep_alive);
            (limits.max_packet, limits.silence.as_secs())
        };
        assert_eq!(agreed(None, None), (1000, 90));
        assert_eq!(agreed(Some(400), None), (400, 90));
        assert_eq!(agreed(Some(4000), Some(10)), (1000, 30));
        assert_eq!(agreed(None, Some(0)), (1000, 90), "0 is no keep-alive, not an instant one");
    }
}
