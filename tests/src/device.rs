use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::Packet;
use rumqttc::v5::{Client, Event, MqttOptions};
use shared::PIPELINE_VERSION;
use shared::manifest::{Code, Quantization};
use shared::mask::{Mask, Rle};
use shared::measure::Measurements;
use shared::message::{
    Ack, Finding, LatencyMs, Message, ModelRef, ResultEnvelope, SCHEMA, SourceImage, result_id,
};
use shared::pixel::{Photometric, VoiApplied};
use shared::preprocess::Letterbox;
use shared::topic::{Channel, DeviceId};
use uuid::Uuid;

use crate::wait_for;

/// Plays a device: publishes what it is told to, and counts acknowledgements of central.
pub struct Device {
    id: DeviceId,
    client: Client,
    state: Arc<Mutex<State>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct State {
    subscribed: bool,
    taken_over: usize,
    acks: BTreeMap<Uuid, usize>,
    stop: bool,
}

impl Device {
    /// Connects as `test-site/NAME`.
    pub fn connect(port: u16, name: &str) -> Self {
        let id = DeviceId {
            site: "test-site".parse().expect("a valid name"),
            device: name.parse().expect("tests choose valid names"),
        };
        let mut options = MqttOptions::new(format!("device-{name}"), "127.0.0.1", port);
        options.set_keep_alive(Duration::from_secs(5));
        options.set_max_packet_size(Some(1 << 20));
        let (client, mut connection) = Client::new(options, 1000);
        client.try_subscribe(id.topic(&Channel::Ack), QoS::AtLeastOnce).expect("room in the queue");
        let state = Arc::new(Mutex::new(State::default()));
        let thread = std::thread::spawn({
            let state = Arc::clone(&state);
            move || {
                for event in connection.iter() {
                    let mut state = state.lock().expect("no thread panics while it holds the lock");
                    if state.stop {
                        return;
                    }
                    match event {
                        Ok(Event::Incoming(Packet::SubAck(_))) => state.subscribed = true,
                        Ok(Event::Incoming(Packet::PubAck(_))) => state.taken_over += 1,
                        Ok(Event::Incoming(Packet::Publish(publish))) => {
                            let ack = Ack::parse(&publish.payload).expect("central sends valid messages");
                            *state.acks.entry(ack.result_id).or_default() += 1;
                        }
                        Ok(_) => {}
                        // This device keeps no outbox: its broker must stay.
                        Err(_) => return,
                    }
                }
            }
        });
        let device = Self { id, client, state, thread: Some(thread) };
        wait_for("the device's subscription", || device.lock().subscribed.then_some(()));
        device
    }

    /// Publishes a result at QoS 1; it is the broker's once [`Device::flush`] returns.
    pub fn publish(&self, result: &ResultEnvelope) {
        self.publish_raw(&self.id.topic(&Channel::Result), result.to_json());
    }

    /// Publishes anything, anywhere, at QoS 1.
    pub fn publish_raw(&self, topic: &str, payload: impl Into<Vec<u8>>) {
        self.client.publish(topic, QoS::AtLeastOnce, false, payload.into()).expect("the broker stays");
    }

    /// Waits until the broker has taken over `messages` in all.
    pub fn flush(&self, messages: usize) {
        wait_for("the broker to take over", || (self.lock().taken_over >= messages).then_some(()));
    }

    /// How often each result was acknowledged by central.
    pub fn acks(&self) -> BTreeMap<Uuid, usize> {
        self.lock().acks.clone()
    }

    /// Waits until central has acknowledged a result so often.
    pub fn wait_for_acks(&self, result: &ResultEnvelope, times: usize) {
        let id = result.result_id;
        wait_for("an acknowledgement", || {
            (self.lock().acks.get(&id).copied().unwrap_or(0) >= times).then_some(())
        });
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no thread panics while it holds the lock")
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        if let Ok(mut state) = self.state.lock() {
            state.stop = true;
        }
        let _ = self.client.try_disconnect();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A valid result of the `n`th image, a DICOM object of 512 × 400 pixels.
pub fn result(n: u64) -> ResultEnvelope {
    let (rows, cols) = (512, 400);
    let uid = |text: String| text.parse().expect("a valid UID");
    let sop_instance_uid = uid(format!("1.2.3.4.{n}"));
    let model = ModelRef {
        name: "test".into(),
        version: "1".into(),
        sha256: "a".repeat(64),
        quantization: Quantization::QdqInt8,
    };
    let finding = |label: &str, code: Code, mask: Mask| Finding {
        code,
        label: label.into(),
        score: 0.9,
        threshold: 0.5,
        area_px: mask.area() as u64,
        area_fraction: mask.area() as f64 / (mask.rows() * mask.cols()) as f64,
        bbox: mask.bbox().map(|b| [b.x as f64, b.y as f64, b.width as f64, b.height as f64]),
        mask: Rle::encode(&mask),
    };
    let code = |scheme: &str, value: &str, meaning: &str| Code {
        scheme: scheme.into(),
        value: value.into(),
        meaning: meaning.into(),
    };
    let ragged = Mask::from_fn(rows, cols, |r, c| {
        let edge = 120.0 + 40.0 * ((r + n as usize) as f64 / 3.0).sin();
        (c as f64 - 200.0).abs() < edge && (60..450).contains(&r)
    });
    let coarse = Mask::from_fn(200, 131, |r, c| r < 90 && (r * 7 + c * 3) % 11 < 6);
    ResultEnvelope {
        schema: SCHEMA,
        result_id: result_id(&sop_instance_uid, &model.sha256, PIPELINE_VERSION),
        boot_id: Uuid::from_u128(7),
        seq: n,
        acquired_at: None,
        inferred_at: "2026-11-23T12:00:00Z".parse().expect("a valid time"),
        clock_synced: false,
        image: SourceImage {
            study_instance_uid: Some(uid(format!("1.2.3.{n}"))),
            series_instance_uid: Some(uid(format!("1.2.3.{n}.1"))),
            sop_instance_uid,
            sop_class_uid: Some(uid("1.2.840.10008.5.1.4.1.1.1.1".into())),
            rows,
            cols,
            photometric: Photometric::Monochrome2,
            voi_applied: VoiApplied::None,
            revision: None,
        },
        transform: Letterbox::new(rows, cols, 320),
        model,
        pipeline_version: PIPELINE_VERSION,
        findings: vec![
            finding("lung", code("SCT", "39607008", "Lung structure"), ragged),
            finding("opacity", code("99CHEXSEG", "lung-opacity", "Lung opacity"), coarse),
            finding("devices", code("SCT", "49062001", "Device"), Mask::empty(200, 131)),
        ],
        measurements: Measurements::default(),
        quality: vec![],
        replayed: false,
        latency_ms: LatencyMs::default(),
    }
}
