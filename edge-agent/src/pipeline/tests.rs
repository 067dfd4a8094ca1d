use std::collections::VecDeque;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use shared::bundle::{Bundle, BundleError, GOLDEN, PublicKey, Signature, write_digests};
use shared::message::{Birth, Message, ResultEnvelope, Status, StatusKind};
use shared::topic::Channel;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::config::{HttpConfig, LimitsConfig, LogConfig, MqttConfig, OnTaken, StoreConfig, WatchConfig};
use crate::demo::broker::EmbeddedBroker;
use crate::demo::subscriber::Subscriber;
use crate::engine::{Engine, EngineError, EngineOutput, TractEngine};
use crate::health::progress::StoreState;
use crate::infer::{Analyzer, AnalyzerOptions};
use crate::store::{ImageId, ImageState, Store};
use crate::testing::{disc, write_bundle};

/// A guard against hanging, not a measure.
const PATIENCE: Duration = Duration::from_secs(60);

/// A device in a temporary folder: `model`, `in` and `state`.
struct Device {
    dir: TempDir,
    bundle: Bundle,
}

enum Fault {
    Panic,
    Error,
    /// Says so, then hangs until `end`'s sender goes.
    Hang {
        begun: tokio::sync::oneshot::Sender<()>,
        end: std::sync::mpsc::Receiver<()>,
    },
}

/// Fails at first as it is told, then runs.
struct Faulty {
    faults: Arc<Mutex<VecDeque<Fault>>>,
    engine: TractEngine,
}

impl Engine for Faulty {
    fn run(&mut self, input: &[f32]) -> Result<EngineOutput, EngineError> {
        let fault = self.faults.lock().unwrap().pop_front();
        match fault {
            Some(Fault::Panic) => panic!("a defect in the engine"),
            Some(Fault::Error) => Err(EngineError::Run("out of sorts".into())),
            Some(Fault::Hang { begun, end }) => {
                let _ = begun.send(());
                let _ = end.recv();
                self.engine.run(input)
            }
            None => self.engine.run(input),
        }
    }

    fn describe(&self) -> String {
        "faulty".into()
    }
}

impl Device {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        fs::create_dir(dir.path().join("in")).unwrap();
        let model = dir.path().join("model");
        fs::create_dir(&model).unwrap();
        let bundle = write_bundle(&model).unwrap();
        Self { dir, bundle }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    fn config(&self, broker: SocketAddr) -> AgentConfig {
        AgentConfig {
            source: None,
            site: "north".parse().unwrap(),
            device: "cart-3".parse().unwrap(),
            bundle: self.path("model"),
            trusted_keys: vec![],
            allow_unsigned: true,
            state_dir: self.path("state"),
            threads: 1,
            mqtt: MqttConfig { max_backoff_s: 1, ..MqttConfig::plain("127.0.0.1", broker.port()) },
            watch_folder: Some(WatchConfig {
                path: self.path("in"),
                settle_ms: 50,
                recursive: true,
                on_taken: OnTaken::Leave,
            }),
            dicom: None,
            store: StoreConfig::default(),
            http: None,
            limits: LimitsConfig::default(),
            log: LogConfig::default(),
        }
    }

    /// Puts a file into the watched folder as a unit does.
    fn send(&self, name: &str, bytes: &[u8]) -> ImageId {
        let part = self.path("in").join(format!("{name}.part"));
        fs::write(&part, bytes).unwrap();
        fs::rename(&part, self.path("in").join(name)).unwrap();
        ImageId::of(bytes)
    }

    fn faulty(&self, faults: impl IntoIterator<Item = Fault>) -> AnalyzerFactory {
        let faults = Arc::new(Mutex::new(faults.into_iter().collect::<VecDeque<_>>()));
        let dir = self.path("model");
        Box::new(move || {
            let bundle = Bundle::open(&dir).unwrap();
            let engine = TractEngine::load(&bundle, 1)?;
            let engine = Box::new(Faulty { faults: Arc::clone(&faults), engine });
            Ok(Analyzer::open(&bundle, engine, AnalyzerOptions::default()))
        })
    }
}

/// The disc, a little different for each `n`.
fn picture(n: u16) -> Vec<u8> {
    let mut frame = disc();
    frame.samples_mut()[0] = n;
    let mut bytes = std::io::Cursor::new(Vec::new());
    frame.to_image16().write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}

fn broker() -> SocketAddr {
    EmbeddedBroker::start(1 << 20).unwrap().address()
}

/// An address on which nobody listens.
fn nobody() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("the test hangs")
}

async fn subscribe(broker: SocketAddr, channel: &Channel) -> Subscriber {
    within(Subscriber::connect(broker, &format!("test-{channel}"), &[channel.everywhere()])).await.unwrap()
}

async fn result(subscriber: &mut Subscriber) -> ResultEnvelope {
    let message = within(subscriber.next()).await.expect("the broker went");
    ResultEnvelope::parse(&message.payload).unwrap()
}

async fn until(store: &Store, id: ImageId, wanted: impl Fn(&ImageState) -> bool) -> ImageState {
    within(async {
        loop {
            if let Some(record) = store.run(move |s| s.image(id)).await.unwrap()
                && wanted(&record.state)
            {
                return record.state;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
}

async fn stop(pipeline: Pipeline, shutdown: &CancellationToken) {
    shutdown.cancel();
    within(pipeline.join()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn from_folder_to_subscriber_the_masks_are_the_analyzers() {
    let (device, broker) = (Device::new(), broker());
    let mut results = subscribe(broker, &Channel::Result).await;
    let mut status = subscribe(broker, &Channel::Status).await;
    let shutdown = CancellationToken::new();
    let pipeline = Pipeline::start(device.config(broker), shutdown.clone()).await.unwrap();
    let mut analyzer = Analyzer::with_tract(&device.bundle, 1, AnalyzerOptions::default()).unwrap();
    for seq in 1..=2 {
        let bytes = picture(seq);
        let id = device.send(&format!("{seq}.png"), &bytes);
        let got = result(&mut results).await;
        let provenance =
            crate::infer::Provenance { boot_id: got.boot_id, seq: seq.into(), clock_synced: false };
        let expected = analyzer.analyze(&bytes).unwrap().to_envelope(provenance);
        assert_eq!((got.result_id, got.seq), (expected.result_id, expected.seq));
        let masks = |envelope: &ResultEnvelope| -> Vec<_> {
            envelope.findings.iter().map(|f| (f.label.clone(), f.score, f.mask.clone())).collect()
        };
        assert_eq!(masks(&got), masks(&expected));
        until(pipeline.store(), id, |state| *state == ImageState::Done).await;
    }
    stop(pipeline, &shutdown).await;
    assert_eq!(fs::read_dir(device.path("state/images")).unwrap().count(), 0);
    let mut last = StatusKind::Offline;
    while last != StatusKind::Stopped {
        last = Status::parse(&within(status.next()).await.unwrap().payload).unwrap().status;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_crashes_the_engine_twice_is_set_aside_and_the_next_is_served() {
    let (device, broker) = (Device::new(), broker());
    let mut results = subscribe(broker, &Channel::Result).await;
    let shutdown = CancellationToken::new();
    let faulty = device.faulty([Fault::Panic, Fault::Panic]);
    let pipeline = Pipeline::start_with(device.config(broker), faulty, shutdown.clone()).await.unwrap();
    let killer = device.send("killer.png", &picture(1));
    let state = until(pipeline.store(), killer, |s| matches!(s, ImageState::SetAside(_))).await;
    assert_eq!(state, ImageState::SetAside("its analysis crashed 2 times".into()));
    device.send("good.png", &picture(2));
    assert_eq!(result(&mut results).await.seq, 1);
    stop(pipeline, &shutdown).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_crash_or_one_failure_is_forgiven() {
    for fault in [Fault::Panic, Fault::Error] {
        let (device, broker) = (Device::new(), broker());
        let mut results = subscribe(broker, &Channel::Result).await;
        let shutdown = CancellationToken::new();
        let faulty = device.faulty([fault]);
        let pipeline = Pipeline::start_with(device.config(broker), faulty, shutdown.clone()).await.unwrap();
        let id = device.send("1.png", &picture(1));
        assert_eq!(result(&mut results).await.findings.len(), 2);
        until(pipeline.store(), id, |s| *s == ImageState::Done).await;
        stop(pipeline, &shutdown).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_and_a_failure_use_up_both_attempts() {
    let (device, broker) = (Device::new(), broker());
    let mut results = subscribe(broker, &Channel::Result).await;
    let shutdown = CancellationToken::new();
    let faulty = device.faulty([Fault::Panic, Fault::Error]);
    let pipeline = Pipeline::start_with(device.config(broker), faulty, shutdown.clone()).await.unwrap();
    // The panic meets the first image; the error its second attempt, which is its last.
    let first = device.send("1.png", &picture(1));
    let state = until(pipeline.store(), first, |s| matches!(s, ImageState::SetAside(_))).await;
    assert!(matches!(state, ImageState::SetAside(reason) if reason.contains("out of sorts")));
    device.send("2.png", &picture(2));
    assert_eq!(result(&mut results).await.findings.len(), 2);
    stop(pipeline, &shutdown).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_image_is_set_aside_and_the_agent_goes_on() {
    let (device, broker) = (Device::new(), broker());
    let mut results = subscribe(broker, &Channel::Result).await;
    let shutdown = CancellationToken::new();
    let pipeline = Pipeline::start(device.config(broker), shutdown.clone()).await.unwrap();
    let mut truncated = picture(1);
    truncated.truncate(truncated.len() / 2);
    for (name, bytes) in [("a.dcm", b"Dear colleague,".to_vec()), ("b.png", vec![]), ("c.png", truncated)] {
        let id = device.send(name, &bytes);
        until(pipeline.store(), id, |s| matches!(s, ImageState::SetAside(reason) if !reason.is_empty()))
            .await;
    }
    device.send("d.png", &picture(2));
    result(&mut results).await;
    assert_eq!(pipeline.store().census().unwrap().set_aside, 3);
    stop(pipeline, &shutdown).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_broker_the_agent_works_and_the_next_start_delivers() {
    let device = Device::new();
    let shutdown = CancellationToken::new();
    let pipeline = Pipeline::start(device.config(nobody()), shutdown.clone()).await.unwrap();
    let id = device.send("a.png", &picture(1));
    until(pipeline.store(), id, |s| *s == ImageState::Queued).await;
    let promised = pipeline.store().image(id).unwrap().unwrap().result_id;
    stop(pipeline, &shutdown).await;

    let broker = broker();
    let mut results = subscribe(broker, &Channel::Result).await;
    let shutdown = CancellationToken::new();
    let pipeline = Pipeline::start(device.config(broker), shutdown.clone()).await.unwrap();
    let got = result(&mut results).await;
    assert_eq!((Some(got.result_id), got.replayed), (promised, false));
    until(pipeline.store(), id, |s| *s == ImageState::Done).await;
    stop(pipeline, &shutdown).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_accepted_before_a_crash_is_analysed_after_it() {
    let (device, broker) = (Device::new(), broker());
    let bytes = picture(1);
    let store = Store::open(&device.path("state")).unwrap();
    let id = store.stage(&bytes[..], 1 << 20).unwrap().commit(crate::store::Origin::Unknown).unwrap().id();
    store.begin_analysis(id).unwrap();
    drop(store);
    let mut results = subscribe(broker, &Channel::Result).await;
    let shutdown = CancellationToken::new();
    let pipeline = Pipeline::start(device.config(broker), shutdown.clone()).await.unwrap();
    let got = result(&mut results).await;
    assert_eq!(Some(got.result_id), pipeline.store().image(id).unwrap().unwrap().result_id);
    stop(pipeline, &shutdown).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_on_which_the_engine_hangs_is_a_fault_until_it_ends() {
    let (device, broker) = (Device::new(), broker());
    let mut results = subscribe(broker, &Channel::Result).await;
    let shutdown = CancellationToken::new();
    let (hold, end) = std::sync::mpsc::sync_channel(1);
    let (begun, hanging) = tokio::sync::oneshot::channel();
    let faulty = device.faulty([Fault::Hang { begun, end }]);
    let pipeline = Pipeline::start_with(device.config(broker), faulty, shutdown.clone()).await.unwrap();
    let far = std::time::Instant::now() + Duration::from_secs(3600);
    let hangs = || {
        // As if an hour later the store had just answered.
        pipeline.vitals().progress.set_store(StoreState::Sound, far);
        pipeline.vitals().progress.fault(far).is_some_and(|fault| fault.contains("analysis"))
    };
    // A look into the store is a piece of work too, so the worker may be at one when it is asked.
    let rests = async || {
        within(async {
            while hangs() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
    };
    rests().await;
    device.send("1.png", &picture(1));
    within(hanging).await.unwrap();
    assert!(hangs());
    drop(hold);
    result(&mut results).await;
    rests().await;
    stop(pipeline, &shutdown).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_broker_the_agent_is_alive_and_ready_and_an_intake_that_is_gone_makes_it_unready() {
    let device = Device::new();
    let shutdown = CancellationToken::new();
    let listen = "127.0.0.1:0".parse().unwrap();
    let config = AgentConfig { http: Some(HttpConfig { listen }), ..device.config(nobody()) };
    let pipeline = Pipeline::start(config, shutdown.clone()).await.unwrap();
    let web = pipeline.web().unwrap();
    let get = async |path: &str| {
        let mut stream = TcpStream::connect(web).await.unwrap();
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = String::new();
        within(stream.read_to_string(&mut answer)).await.unwrap();
        answer
    };
    let until = async |path: &str, text: &str| {
        within(async {
            while !get(path).await.contains(text) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
    };
    until("/readyz", "200 OK").await;
    device.send("1.png", &picture(1));
    device.send("2.png", b"Dear colleague,");
    until("/metrics", "cxr_images_analysed_total 1").await;
    until("/metrics", "cxr_images_set_aside_total 1").await;
    for line in [
        "cxr_images_accepted_total{intake=\"watch_folder\"} 2",
        "cxr_results_waiting 1.0",
        "cxr_broker_connected 0",
        "cxr_stage_seconds_count{stage=\"infer\"} 1",
        &format!("model_sha256=\"{}\"", device.bundle.model_sha256()),
    ] {
        until("/metrics", line).await;
    }
    fs::rename(device.path("in"), device.path("away")).unwrap();
    until("/readyz", "intake watch_folder is closed").await;
    assert!(get("/healthz").await.contains("200 OK"));
    stop(pipeline, &shutdown).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_fails_its_golden_images_never_serves() {
    let device = Device::new();
    let golden = device.path("model").join(GOLDEN);
    let mut cases: serde_json::Value = serde_json::from_slice(&fs::read(&golden).unwrap()).unwrap();
    let dark = cases[0]["masks"]["dark"].take();
    cases[0]["masks"]["dark"] = cases[0]["masks"]["bright"].take();
    cases[0]["masks"]["bright"] = dark;
    fs::write(&golden, cases.to_string()).unwrap();
    write_digests(&device.path("model")).unwrap();
    let started = Pipeline::start(device.config(nobody()), CancellationToken::new()).await;
    assert!(matches!(started.err(), Some(RunError::Model(ModelError::Golden(_)))));
    assert!(!Path::new(&device.path("state")).exists(), "nothing was accepted");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_nobody_answers_for_never_serves_unless_allowed() {
    let device = Device::new();
    let config = AgentConfig {
        trusted_keys: vec![PublicKey::project()],
        allow_unsigned: false,
        ..device.config(nobody())
    };
    let started = Pipeline::start(config, CancellationToken::new()).await;
    assert!(matches!(started.err(), Some(RunError::Bundle(BundleError::Unsigned { .. }))));
    assert!(!Path::new(&device.path("state")).exists(), "nothing was accepted");

    let broker = broker();
    let mut births = subscribe(broker, &Channel::Birth).await;
    let shutdown = CancellationToken::new();
    let pipeline = Pipeline::start(device.config(broker), shutdown.clone()).await.unwrap();
    let birth = Birth::parse(&within(births.next()).await.unwrap().payload).unwrap();
    assert_eq!(birth.signature, Some(Signature::Unsigned));
    stop(pipeline, &shutdown).await;
}
