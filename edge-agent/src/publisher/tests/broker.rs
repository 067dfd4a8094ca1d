use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{Publish, PublishProperties};
use shared::bundle::Signature;
use shared::message::{Ack, Birth, Command, Message, Response, ResultEnvelope, SCHEMA, Status, StatusKind};
use shared::topic::Channel;
use tempfile::TempDir;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::proxy::Proxy;
use super::{courier, device, enqueue, envelope, model, until_empty, within};
use crate::commands::Commands;
use crate::config::MqttConfig;
use crate::demo::broker::EmbeddedBroker;
use crate::demo::subscriber::Subscriber;
use crate::publisher::fit;
use crate::publisher::inbox::Inbox;
use crate::publisher::mqtt::MqttPublisher;
use crate::store::{Next, Store};

struct Running {
    stop: CancellationToken,
    wake: Arc<Notify>,
    courier: JoinHandle<()>,
}

/// A courier with the real MQTT publisher.
fn start(store: &Store, address: SocketAddr, change: impl FnOnce(&mut MqttConfig)) -> Running {
    let mut config = MqttConfig::plain(address.ip().to_string(), address.port());
    config.keep_alive_s = 5;
    change(&mut config);
    let courier = courier(store, config.require_ack);
    let (inbound, received) = mpsc::channel(8);
    let will = courier.presence.status(StatusKind::Offline);
    let publisher = MqttPublisher::new(config, device(), will, inbound).unwrap();
    let (stop, wake) = (courier.stop.clone(), Arc::clone(&courier.wake));
    let (responder, responses) = mpsc::channel(8);
    let commands = Commands::new(
        store.clone(),
        Arc::clone(&courier.vitals),
        Arc::default(),
        Arc::clone(&wake),
        toml::from_str("site='s'\ndevice='d'\nbundle='/m'\nstate_dir='/x'\n[mqtt]\nhost='b'\n").unwrap(),
    );
    let inbox = Inbox {
        store: store.clone(),
        vitals: Arc::clone(&courier.vitals),
        wake: Arc::clone(&wake),
        device: device(),
        commands: Some(commands),
        responses: responder,
    };
    tokio::spawn(inbox.listen(received));
    Running { stop, wake, courier: tokio::spawn(courier.run(publisher, responses)) }
}

impl Running {
    async fn stop(self) {
        self.stop.cancel();
        within(self.courier).await.unwrap();
    }
}

fn broker() -> SocketAddr {
    EmbeddedBroker::start(1 << 20).unwrap().address()
}

async fn subscribe(broker: SocketAddr, channel: &Channel) -> Subscriber {
    within(Subscriber::connect(broker, &Uuid::new_v4().to_string(), &[channel.everywhere()])).await.unwrap()
}

async fn subscribe_to(broker: SocketAddr, filter: &str) -> Subscriber {
    within(Subscriber::connect(broker, &Uuid::new_v4().to_string(), &[filter.to_owned()])).await.unwrap()
}

async fn next(subscriber: &mut Subscriber) -> Publish {
    within(subscriber.next()).await.expect("the subscriber lost its broker")
}

async fn result(subscriber: &mut Subscriber) -> ResultEnvelope {
    ResultEnvelope::parse(&next(subscriber).await.payload).unwrap()
}

async fn wait_for_status(subscriber: &mut Subscriber, status: StatusKind) {
    while Status::parse(&next(subscriber).await.payload).unwrap().status != status {}
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_is_delivered_once_and_leaves_the_outbox() {
    let dir = TempDir::new().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let broker = broker();
    let mut results = subscribe(broker, &Channel::Result).await;
    let id = enqueue(&store, 1);
    let running = start(&store, broker, |_| {});
    let message = next(&mut results).await;
    assert_eq!(&message.topic[..], b"cxr/v1/north/cart-3/result");
    assert!(!message.retain);
    let properties = message.properties.unwrap();
    assert_eq!(properties.content_type.as_deref(), Some(ResultEnvelope::CONTENT_TYPE));
    assert_eq!(properties.message_expiry_interval, None);
    assert_eq!(ResultEnvelope::parse(&message.payload).unwrap(), envelope(1));
    until_empty(&store).await;
    let second = enqueue(&store, 2);
    running.wake.notify_one();
    assert_ne!(id, second);
    assert_eq!(result(&mut results).await.result_id, second);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_puback_means_a_replay_under_the_same_id() {
    let dir = TempDir::new().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let broker = broker();
    let proxy = Proxy::start(Some(broker)).await;
    let mut results = subscribe(broker, &Channel::Result).await;
    let mut health = subscribe(broker, &Channel::Health).await;
    let running = start(&store, proxy.address, |_| {});
    // Health goes out after the birth: now the connection stands and nothing is in flight.
    next(&mut health).await;
    proxy.deafen();
    let id = enqueue(&store, 1);
    running.wake.notify_one();
    let first = result(&mut results).await;
    assert_eq!((first.result_id, first.replayed), (id, false));
    assert!(matches!(store.next_due().unwrap(), Next::Send(due) if due.result_id == id));
    proxy.switch(Some(broker));
    let again = result(&mut results).await;
    assert_eq!((again.result_id, again.replayed), (id, true));
    assert_eq!(again.seq, first.seq);
    until_empty(&store).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_on_which_nothing_is_heard_is_given_up_for_another() {
    let dir = TempDir::new().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let broker = broker();
    let proxy = Proxy::start(Some(broker)).await;
    let mut results = subscribe(broker, &Channel::Result).await;
    let mut health = subscribe(broker, &Channel::Health).await;
    let running = start(&store, proxy.address, |_| {});
    next(&mut health).await;
    // The connection stays open, but no answer comes through any more.
    proxy.deafen();
    let id = enqueue(&store, 1);
    running.wake.notify_one();
    assert_eq!(result(&mut results).await.result_id, id);
    let again = result(&mut results).await;
    assert_eq!((again.result_id, again.replayed), (id, true));
    until_empty(&store).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn brokers_may_be_away_and_wiped_and_nothing_is_lost() {
    let dir = TempDir::new().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let proxy = Proxy::start(None).await;
    let expected: BTreeSet<Uuid> = (0..20).map(|n| enqueue(&store, n)).collect();
    let running = start(&store, proxy.address, |_| {});
    let (heard, mut ids) = mpsc::channel(100);
    let mut got = BTreeSet::new();
    // Each broker is new and knows nothing of the one before; its subscriber stays to the end.
    for wanted in [5, 10, expected.len()] {
        let broker = broker();
        let mut results = subscribe(broker, &Channel::Result).await;
        let heard = heard.clone();
        tokio::spawn(async move {
            while let Some(message) = results.next().await {
                let id = ResultEnvelope::parse(&message.payload).unwrap().result_id;
                if heard.send(id).await.is_err() {
                    return;
                }
            }
        });
        proxy.switch(Some(broker));
        while got.len() < wanted {
            got.insert(within(ids.recv()).await.unwrap());
        }
        if wanted < expected.len() {
            proxy.switch(None);
        }
    }
    assert_eq!(got, expected);
    until_empty(&store).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_central_must_acknowledge_only_its_word_ends_a_result() {
    let dir = TempDir::new().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let broker = broker();
    let mut results = subscribe(broker, &Channel::Result).await;
    let id = enqueue(&store, 1);
    let running = start(&store, broker, |config| config.require_ack = true);
    assert_eq!(result(&mut results).await.result_id, id);
    within(async {
        while store.census().unwrap().unacknowledged != 1 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    let topic = device().topic(&Channel::Ack);
    let ack = Ack { schema: SCHEMA, result_id: id }.to_json();
    for payload in [b"no json".to_vec(), ack] {
        results.client().publish(topic.clone(), QoS::AtLeastOnce, false, payload).await.unwrap();
    }
    until_empty(&store).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_are_answered_where_and_under_what_they_ask() {
    let dir = TempDir::new().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let broker = broker();
    let mut responses = subscribe_to(broker, "cxr/v1/north/cart-3/rsp/+").await;
    let mut health = subscribe(broker, &Channel::Health).await;
    let running = start(&store, broker, |_| {});
    // The subscription to commands was sent long before the first health message.
    next(&mut health).await;
    let ask = async |verb: &str, response_topic: Option<&str>, data: &str| {
        let topic = format!("cxr/v1/north/cart-3/cmd/{verb}");
        let properties = PublishProperties {
            response_topic: response_topic.map(str::to_owned),
            correlation_data: Some(data.to_owned().into()),
            ..PublishProperties::default()
        };
        let payload = Command { schema: SCHEMA }.to_json();
        let client = health.client();
        client.publish_with_properties(topic, QoS::AtLeastOnce, false, payload, properties).await.unwrap();
    };
    ask("ping", Some("cxr/v1/north/cart-4/rsp/ping"), "another device's").await;
    ask("ping", Some("cxr/v1/north/cart-3/result"), "no response topic").await;
    ask("ping", None, &"x".repeat(300)).await;
    ask("ping", None, "a").await;
    ask("fly", None, "b").await;
    ask("queue", Some("cxr/v1/north/cart-3/rsp/desk-7"), "c").await;
    for (topic, data, kind) in [("ping", "a", "pong"), ("fly", "b", "error"), ("desk-7", "c", "queue")] {
        let message = next(&mut responses).await;
        assert_eq!(&message.topic[..], format!("cxr/v1/north/cart-3/rsp/{topic}").as_bytes());
        assert!(!message.retain);
        let properties = message.properties.unwrap();
        assert_eq!(properties.correlation_data.as_deref(), Some(data.as_bytes()));
        assert_eq!(properties.content_type.as_deref(), Some(Response::CONTENT_TYPE));
        let response = Response::parse(&message.payload).unwrap();
        let json = serde_json::to_value(response.outcome).unwrap();
        assert!(json.get(kind).is_some(), "{kind}: {json}");
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_connection_repeats_what_central_has_not_acknowledged() {
    let dir = TempDir::new().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let broker = broker();
    let proxy = Proxy::start(Some(broker)).await;
    let mut results = subscribe(broker, &Channel::Result).await;
    let id = enqueue(&store, 1);
    let running = start(&store, proxy.address, |config| config.require_ack = true);
    assert_eq!(result(&mut results).await.result_id, id);
    within(async {
        while store.census().unwrap().unacknowledged != 1 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    // Its pause is a minute at least, but the broker may have been wiped.
    proxy.switch(Some(broker));
    let again = result(&mut results).await;
    assert_eq!((again.result_id, again.replayed), (id, true));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn status_says_online_offline_and_stopped_and_is_retained() {
    let dir = TempDir::new().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let broker = broker();
    let mut live = subscribe(broker, &Channel::Status).await;
    let running = start(&store, broker, |_| {});
    wait_for_status(&mut live, StatusKind::Online).await;
    running.courier.abort();
    wait_for_status(&mut live, StatusKind::Offline).await;
    let running = start(&store, broker, |_| {});
    wait_for_status(&mut live, StatusKind::Online).await;
    running.stop().await;
    wait_for_status(&mut live, StatusKind::Stopped).await;
    // Whoever comes late sees the last state and the birth.
    let mut late = subscribe(broker, &Channel::Status).await;
    let retained = next(&mut late).await;
    assert!(retained.retain);
    assert_eq!(Status::parse(&retained.payload).unwrap().status, StatusKind::Stopped);
    let birth = next(&mut subscribe(broker, &Channel::Birth).await).await;
    let birth = Birth::parse(&birth.payload).unwrap();
    assert_eq!((birth.model, birth.signature), (model(), Some(Signature::Unsigned)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_over_the_packet_limit_comes_coarser_and_says_so() {
    let dir = TempDir::new().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let broker = broker();
    let mut results = subscribe(broker, &Channel::Result).await;
    let limit = envelope(1).to_json().len() as u32 * 7 / 10;
    let id = enqueue(&store, 1);
    let running = start(&store, broker, |config| config.max_packet_bytes = limit);
    let coarse = result(&mut results).await;
    assert_eq!(coarse.result_id, id);
    assert_eq!(coarse.quality[0].code, fit::COARSENED);
    until_empty(&store).await;
    running.stop().await;
}
