//! From the broker to the database.
//!
//! - The session at the broker is persistent and results come at QoS 1 by a shared subscription. A PUBACK goes out
//!   after the commit: what was cut before it comes again, and is a repeat.
//! - The acknowledgement to the device precedes the PUBACK on the same connection. A broker that has the second has the
//!   first.
//! - Every connection is a new client, as the agent's: nothing survives in rumqttc but what the broker holds.
//! - A task of its own polls the event loop and never publishes. It does not wait either: unacknowledged messages are
//!   bounded by Receive Maximum, and what has no acknowledgement is dropped when the database is behind.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use rumqttc::Outgoing;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{Filter, Packet, Publish, PublishProperties, SubAck, SubscribeReasonCode};
use rumqttc::v5::{AsyncClient, Event, EventLoop, MqttOptions};
use shared::message::{Ack, Birth, Health, Message, MessageError, ResultEnvelope, SCHEMA, Status};
use shared::topic::{Channel, DeviceId};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;

use super::config::CentralConfig;
use super::database::{Database, Entry, Kept, SetAside};
use crate::publisher::PublishError;
use crate::publisher::mqtt::connect_options;

/// Messages that the broker may send before an acknowledgement; also the most of one transaction.
const RECEIVE_MAXIMUM: u16 = 100;
/// Messages without acknowledgement that may wait beside them.
const UNACKNOWLEDGED: usize = 100;
/// Requests between us and the polling task.
const REQUESTS: usize = 16;
/// Acknowledgements to devices that the broker has not taken over yet.
const INFLIGHT: u16 = 100;
/// Keep-alives without any packet from the broker after which a connection is given up.
const SILENT_KEEP_ALIVES: u32 = 3;
/// First pause between attempts to connect.
const RECONNECT: Duration = Duration::from_millis(250);
/// Pause after a failure of the database; the broker waits meanwhile.
const DATABASE_PAUSE: Duration = Duration::from_secs(2);
/// For the broker to close after our DISCONNECT.
const CLOSE: Duration = Duration::from_secs(2);

/// Takes messages.
pub struct Subscriber<'a> {
    /// The broker and who we are.
    pub config: &'a CentralConfig,
    /// Where messages are kept.
    pub database: Database,
    /// Rung when a result is there that was not.
    pub wake: &'a Notify,
    /// Ends it; what came is finished.
    pub stop: CancellationToken,
}

/// One connection. Dropping it without [`Connection::close`] is a lost connection to the broker.
struct Connection {
    client: AsyncClient,
    messages: mpsc::Receiver<Publish>,
    poller: JoinHandle<PublishError>,
}

impl Subscriber<'_> {
    /// Connects, serves, and connects again, until stopped. A broker that is away is no error.
    pub async fn run(&self) {
        let mut pauses = self.pauses();
        while !self.stop.is_cancelled() {
            let error = match self.connect().await {
                Ok(mut connection) => {
                    tracing::info!("connected to the broker");
                    match self.serve(&mut connection, || pauses = self.pauses()).await {
                        Ok(()) => return connection.close().await,
                        Err(error) => error,
                    }
                }
                Err(error) => error,
            };
            let most = Duration::from_secs(self.config.mqtt.max_backoff_s.into());
            let pause = pauses.next().unwrap_or(most);
            tracing::warn!(%error, retry_in_s = pause.as_secs_f32(), "no results come");
            tokio::select! {
                () = self.stop.cancelled() => {}
                () = sleep(pause) => {}
            }
        }
    }

    fn pauses(&self) -> impl Iterator<Item = Duration> + use<> {
        ExponentialBuilder::default()
            .with_min_delay(RECONNECT)
            .with_max_delay(Duration::from_secs(self.config.mqtt.max_backoff_s.into()))
            .with_jitter()
            .without_max_times()
            .build()
    }

    async fn connect(&self) -> Result<Connection, PublishError> {
        let config = self.config;
        let mut options = connect_options(&config.mqtt, &config.client_id())?;
        options
            .set_clean_start(false)
            .set_session_expiry_interval(Some(config.subscription.session_expiry_s))
            .set_receive_maximum(Some(RECEIVE_MAXIMUM))
            .set_outgoing_inflight_upper_limit(INFLIGHT)
            .set_manual_acks(true);
        let (client, mut events, silence) = connect(options, &config.mqtt).await?;
        let filters = filters(config);
        client.subscribe_many(filters).await.map_err(|_| PublishError::Lost("it closed".into()))?;
        // What the session holds comes before the broker's agreement: it is polled for from here on.
        let (sender, messages) = mpsc::channel(usize::from(RECEIVE_MAXIMUM) + UNACKNOWLEDGED);
        let poller = tokio::spawn(async move { poll(&mut events, &sender, silence).await });
        Ok(Connection { client, messages, poller })
    }

    /// `proven` is called once something was kept: a connection that dies at once must not reset the pauses.
    async fn serve(&self, connection: &mut Connection, mut proven: impl FnMut()) -> Result<(), PublishError> {
        let mut batch = Vec::new();
        loop {
            batch.clear();
            let received = tokio::select! {
                biased;
                () = self.stop.cancelled() => return Ok(()),
                received = connection.messages.recv_many(&mut batch, RECEIVE_MAXIMUM.into()) => received,
            };
            if received == 0 {
                return Err(connection.why().await);
            }
            let entries: Vec<Entry> = batch.iter().map(entry).collect();
            let Some(kept) = self.commit(&entries, connection).await? else { return Ok(()) };
            proven();
            for ((message, entry), kept) in batch.iter().zip(&entries).zip(kept) {
                self.acknowledge(connection, message, entry, kept).await?;
            }
        }
    }

    /// Commits, however long the database fails. None if stopped meanwhile.
    async fn commit(
        &self,
        entries: &[Entry],
        connection: &mut Connection,
    ) -> Result<Option<Vec<Kept>>, PublishError> {
        loop {
            match self.database.commit(entries).await {
                Ok(kept) => return Ok(Some(kept)),
                Err(error) => tracing::error!(%error, "results are not kept; the broker holds them"),
            }
            tokio::select! {
                () = self.stop.cancelled() => return Ok(None),
                () = sleep(DATABASE_PAUSE) => {}
            }
            if connection.poller.is_finished() {
                return Err(connection.why().await);
            }
        }
    }

    /// Tells the device, then the broker.
    async fn acknowledge(
        &self,
        connection: &mut Connection,
        message: &Publish,
        entry: &Entry,
        kept: Kept,
    ) -> Result<(), PublishError> {
        let gone = |_| PublishError::Lost("the connection ended".into());
        match entry {
            Entry::Result { device, envelope, .. } => {
                let result_id = envelope.result_id;
                self.report(device, result_id, kept);
                let ack = Ack { schema: SCHEMA, result_id };
                let properties = PublishProperties {
                    payload_format_indicator: Some(1),
                    content_type: Some(Ack::CONTENT_TYPE.into()),
                    ..PublishProperties::default()
                };
                connection
                    .client
                    .publish_with_properties(
                        device.topic(&Channel::Ack),
                        QoS::AtLeastOnce,
                        false,
                        ack.to_json(),
                        properties,
                    )
                    .await
                    .map_err(gone)?;
            }
            // The reason may quote the message, and a topic may be anything: both stand in the table.
            Entry::SetAside(_) => tracing::warn!("a message that cannot be used was set aside"),
            Entry::Status { .. } | Entry::Birth { .. } | Entry::Health { .. } => {}
        }
        if message.qos == QoS::AtMostOnce {
            return Ok(());
        }
        connection.client.ack(message).await.map_err(gone)
    }

    fn report(&self, device: &DeviceId, result: uuid::Uuid, kept: Kept) {
        let (site, device) = (&device.site, &device.device);
        match kept {
            Kept::New => {
                tracing::info!(%result, %site, %device, "kept");
                self.wake.notify_one();
            }
            Kept::Repeat | Kept::Noted => tracing::debug!(%result, %site, %device, "came again"),
            Kept::Conflict => tracing::warn!(
                %result, %site, %device,
                "came again with other content, which was set aside; the first stays"
            ),
        }
    }
}

/// Shared where one instance is enough, plain where each may listen.
fn filters(config: &CentralConfig) -> Vec<Filter> {
    let shared = format!("$share/{}/{}", config.subscription.group, Channel::Result.everywhere());
    let mut filters = vec![Filter::new(shared, QoS::AtLeastOnce)];
    filters.extend(
        [
            (Channel::Status, QoS::AtLeastOnce),
            (Channel::Birth, QoS::AtLeastOnce),
            (Channel::Health, QoS::AtMostOnce),
        ]
        .map(|(channel, qos)| Filter::new(channel.everywhere(), qos)),
    );
    filters
}

/// Connects, and tells for how long the broker may be silent.
pub(super) async fn connect(
    options: MqttOptions,
    config: &crate::config::MqttConfig,
) -> Result<(AsyncClient, EventLoop, Duration), PublishError> {
    let failed =
        |reason: String| PublishError::Connect { broker: format!("{}:{}", config.host, config.port), reason };
    let (client, mut events) = AsyncClient::new(options, REQUESTS);
    // rumqttc bounds the whole handshake by its connection timeout.
    let connack = match events.poll().await {
        Ok(Event::Incoming(Packet::ConnAck(connack))) => connack,
        Ok(other) => return Err(failed(format!("expected CONNACK, got {other:?}"))),
        Err(error) => return Err(failed(error.to_string())),
    };
    let theirs = connack.properties.as_ref().and_then(|p| p.server_keep_alive);
    let keep_alive = theirs.filter(|&s| s > 0).unwrap_or(config.keep_alive_s);
    Ok((client, events, Duration::from_secs(keep_alive.into()) * SILENT_KEEP_ALIVES))
}

/// Polls until the connection ends, and says why it did. Messages go to `sender`: those at QoS 0 only while there is
/// more room than Receive Maximum takes.
pub(super) async fn poll(
    events: &mut EventLoop,
    sender: &mpsc::Sender<Publish>,
    silence: Duration,
) -> PublishError {
    let mut heard = Instant::now();
    loop {
        let packet = match timeout_at(heard + silence, events.poll()).await {
            Err(_) => return PublishError::Lost(format!("nothing heard for {silence:?}")),
            Ok(Err(error)) => return PublishError::Lost(error.to_string()),
            Ok(Ok(Event::Outgoing(Outgoing::Disconnect))) => {
                return PublishError::Lost("closed by us".into());
            }
            Ok(Ok(Event::Outgoing(_))) => continue,
            Ok(Ok(Event::Incoming(packet))) => packet,
        };
        heard = Instant::now();
        match packet {
            Packet::Publish(publish) => {
                let room = sender.capacity() > usize::from(RECEIVE_MAXIMUM);
                if publish.qos == QoS::AtMostOnce && !room {
                    continue;
                }
                if sender.try_send(publish).is_err() {
                    return PublishError::Lost("the broker sent more than Receive Maximum allows".into());
                }
            }
            Packet::SubAck(ack) => match refusal(&ack) {
                None => tracing::info!("subscribed"),
                Some(reason) => {
                    return PublishError::Lost(format!(
                        "the broker refused a subscription ({reason}): allow this client to read cxr/v1/# and shared subscriptions"
                    ));
                }
            },
            _ => {}
        }
    }
}

fn refusal(ack: &SubAck) -> Option<String> {
    let refused = |code: &&SubscribeReasonCode| !matches!(code, SubscribeReasonCode::Success(_));
    ack.return_codes.iter().find(refused).map(|code| format!("{code:?}"))
}

/// What a message is.
fn entry(message: &Publish) -> Entry {
    let topic = String::from_utf8_lossy(&message.topic).into_owned();
    let set_aside = |reason: String| {
        Entry::SetAside(SetAside { topic: topic.clone(), reason, payload: message.payload.to_vec() })
    };
    let (device, channel) = match DeviceId::parse_topic(&topic) {
        Ok(parsed) => parsed,
        Err(error) => return set_aside(error.to_string()),
    };
    parse(device, &channel, &message.payload).unwrap_or_else(|error| set_aside(error.to_string()))
}

fn parse(device: DeviceId, channel: &Channel, payload: &[u8]) -> Result<Entry, MessageError> {
    Ok(match channel {
        Channel::Status => Entry::Status { device, status: Status::parse(payload)? },
        Channel::Birth => Entry::Birth { device, birth: Box::new(Birth::parse(payload)?) },
        Channel::Health => Entry::Health { device, health: Box::new(Health::parse(payload)?) },
        _ => {
            let envelope = Box::new(ResultEnvelope::parse(payload)?);
            // JSON that parsed is UTF-8.
            Entry::Result { device, envelope, json: String::from_utf8_lossy(payload).into_owned() }
        }
    })
}

impl Connection {
    /// Why it ended.
    async fn why(&mut self) -> PublishError {
        match (&mut self.poller).await {
            Ok(error) => error,
            Err(error) => PublishError::Lost(error.to_string()),
        }
    }

    async fn close(mut self) {
        if self.client.disconnect().await.is_ok() {
            let _ = tokio::time::timeout(CLOSE, &mut self.poller).await;
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.poller.abort();
    }
}
