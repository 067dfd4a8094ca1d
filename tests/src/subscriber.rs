use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::Packet;
use rumqttc::v5::{Client, Event, MqttOptions};
use shared::message::{Ack, Message, ResultEnvelope, SCHEMA};
use shared::topic::{Channel, DeviceId};

use crate::wait_for;

/// Plays the central server: subscribes to every result, acknowledges each, and keeps what came. Survives the
/// loss of its broker.
pub struct Subscriber {
    client: Client,
    state: Arc<Mutex<State>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct State {
    subscribed: bool,
    results: Vec<ResultEnvelope>,
    others: Vec<(Channel, Vec<u8>)>,
    refused: Vec<String>,
    stop: bool,
}

impl Subscriber {
    /// Connects, and returns when the broker has confirmed the subscription.
    pub fn start(port: u16) -> Self {
        let subscriber = Self::launch(port);
        subscriber.wait_until_subscribed();
        subscriber
    }

    /// Connects as soon as there is a broker.
    pub fn launch(port: u16) -> Self {
        let mut options = MqttOptions::new("central-test", "127.0.0.1", port);
        options.set_keep_alive(Duration::from_secs(5));
        options.set_clean_start(true);
        options.set_max_packet_size(Some(1 << 20));
        let (client, mut connection) = Client::new(options, 100);
        let state = Arc::new(Mutex::new(State::default()));
        let thread = std::thread::spawn({
            let (client, state) = (client.clone(), Arc::clone(&state));
            move || {
                for event in connection.iter() {
                    let mut state = state.lock().expect("no thread panics while it holds the lock");
                    if state.stop {
                        return;
                    }
                    match event {
                        Ok(Event::Incoming(Packet::ConnAck(_))) => {
                            client.try_subscribe("cxr/v1/#", QoS::AtLeastOnce).expect("room in the queue");
                        }
                        Ok(Event::Incoming(Packet::SubAck(_))) => state.subscribed = true,
                        Ok(Event::Incoming(Packet::Publish(publish))) => {
                            let topic = String::from_utf8_lossy(&publish.topic).into_owned();
                            state.take(&client, &topic, &publish.payload);
                        }
                        Ok(_) => {}
                        Err(_) => {
                            state.subscribed = false;
                            drop(state);
                            std::thread::sleep(Duration::from_millis(100));
                        }
                    }
                }
            }
        });
        Self { client, state, thread: Some(thread) }
    }

    /// Waits until the broker has confirmed the subscription.
    pub fn wait_until_subscribed(&self) {
        wait_for("the subscription", || self.lock().subscribed.then_some(()));
    }

    /// Every result so far, repeats included.
    ///
    /// # Panics
    /// If a message came that does not parse.
    pub fn results(&self) -> Vec<ResultEnvelope> {
        let state = self.lock();
        assert!(state.refused.is_empty(), "malformed messages: {:?}", state.refused);
        state.results.clone()
    }

    /// Payloads of a channel other than `result`.
    pub fn payloads(&self, channel: &Channel) -> Vec<Vec<u8>> {
        self.lock().others.iter().filter(|(c, _)| c == channel).map(|(_, p)| p.clone()).collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("no thread panics while it holds the lock")
    }
}

impl State {
    fn take(&mut self, client: &Client, topic: &str, payload: &[u8]) {
        match DeviceId::parse_topic(topic) {
            Ok((device, Channel::Result)) => match ResultEnvelope::parse(payload) {
                Ok(result) => {
                    let ack = Ack { schema: SCHEMA, result_id: result.result_id };
                    self.results.push(result);
                    client
                        .try_publish(device.topic(&Channel::Ack), QoS::AtLeastOnce, false, ack.to_json())
                        .expect("room in the queue");
                }
                Err(error) => self.refused.push(error.to_string()),
            },
            Ok((_, channel)) => self.others.push((channel, payload.to_vec())),
            Err(error) => self.refused.push(error.to_string()),
        }
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        if let Ok(mut state) = self.state.lock() {
            state.stop = true;
        }
        // Wakes the thread: either the broker answers, or reconnecting fails; both are events.
        let _ = self.client.try_disconnect();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
