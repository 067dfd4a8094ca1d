use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use shared::message::{Birth, Message, ResultEnvelope, Status, StatusKind};
use shared::topic::Channel;
use tempfile::TempDir;
use tokio::sync::mpsc;
use uuid::Uuid;

use super::{courier, enqueue, silence, within};
use crate::health::progress::StoreState;
use crate::publisher::courier::Courier;
use crate::publisher::{Link, Outbound, PublishError, Publisher, Taken};
use crate::store::{Next, Store};

/// What the next results meet; everything later is taken.
type Script = Arc<Mutex<VecDeque<Fate>>>;

#[derive(Clone, Copy)]
enum Fate {
    Refused,
    Lost,
    Stuck,
    Unheard,
}

struct Scripted {
    script: Script,
    sent: mpsc::Sender<Outbound>,
}

impl Publisher for Scripted {
    type Link = Scripted;

    async fn connect(&mut self) -> Result<Self, PublishError> {
        Ok(Self { script: Arc::clone(&self.script), sent: self.sent.clone() })
    }
}

impl Link for Scripted {
    fn max_payload(&self, _: &Channel) -> usize {
        1 << 20
    }

    async fn send(&mut self, message: Outbound) -> Result<Taken, PublishError> {
        let channel = message.channel.clone();
        let fate = if channel == Channel::Result { self.script.lock().unwrap().pop_front() } else { None };
        self.sent.send(message).await.unwrap();
        match fate {
            None => Ok(Taken::Accepted),
            Some(Fate::Unheard) => Ok(Taken::Unheard),
            Some(Fate::Refused) => Err(PublishError::Refused { channel, reason: "QuotaExceeded".into() }),
            Some(Fate::Lost) => Err(PublishError::Lost("script".into())),
            Some(Fate::Stuck) => std::future::pending().await,
        }
    }

    async fn lost(&mut self) -> PublishError {
        std::future::pending().await
    }

    async fn close(self) {}
}

/// Runs a courier over a script until `count` results were tried; returns id and `replayed` of each.
async fn scripted(store: &Store, fates: &[Fate], count: usize) -> Vec<(Uuid, bool)> {
    acted(courier(store, false), fates, count).await
}

async fn acted(courier: Courier, fates: &[Fate], count: usize) -> Vec<(Uuid, bool)> {
    let (sent, mut tried) = mpsc::channel(100);
    let script = Arc::new(Mutex::new(fates.iter().copied().collect()));
    let stop = courier.stop.clone();
    let running = tokio::spawn(courier.run(Scripted { script, sent }, silence()));
    let mut results = Vec::new();
    while results.len() < count {
        let message = within(tried.recv()).await.unwrap();
        if message.channel == Channel::Result {
            let envelope = ResultEnvelope::parse(&message.payload).unwrap();
            results.push((envelope.result_id, envelope.replayed));
        }
    }
    stop.cancel();
    within(running).await.unwrap();
    results
}

#[tokio::test]
async fn a_refused_result_lets_others_pass_and_stays() {
    let dir = TempDir::new().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let (a, b) = (enqueue(&store, 1), enqueue(&store, 2));
    assert_eq!(scripted(&store, &[Fate::Refused], 2).await, [(a, false), (b, false)]);
    assert_eq!(store.census().unwrap().results_waiting, 1);
    drop(store);
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(scripted(&store, &[], 1).await, [(a, true)]);
    assert_eq!(store.next_due().unwrap(), Next::Empty);
}

#[tokio::test]
async fn a_result_on_which_links_die_lets_others_pass() {
    let dir = TempDir::new().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let (a, b) = (enqueue(&store, 1), enqueue(&store, 2));
    let tried = scripted(&store, &[Fate::Lost; 4], 5).await;
    assert_eq!(tried, [(a, false), (a, true), (a, true), (a, true), (b, false)]);
}

#[tokio::test]
async fn a_result_that_a_bad_line_cut_again_and_again_goes_soon_after_the_line_is_back() {
    let dir = TempDir::new().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let a = enqueue(&store, 1);
    let tried = scripted(&store, &[Fate::Lost; 5], 6).await;
    assert_eq!(tried.last(), Some(&(a, true)));
    assert_eq!(store.next_due().unwrap(), Next::Empty);
}

#[tokio::test]
async fn what_nobody_hears_is_tried_one_at_a_time_and_goes_when_somebody_listens() {
    let dir = TempDir::new().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let ids: Vec<Uuid> = (1..=4).map(|n| enqueue(&store, n)).collect();
    let (start, courier) = (Instant::now(), courier(&store, true));
    let vitals = Arc::clone(&courier.vitals);
    let tried = acted(courier, &[Fate::Unheard; 2], 6).await;
    assert!(
        start.elapsed() >= Duration::from_millis(750),
        "there was no pause between two that nobody heard"
    );
    let mut heard: Vec<Uuid> = tried[2..].iter().map(|(id, _)| *id).collect();
    heard.sort_by_key(|id| ids.iter().position(|known| known == id));
    assert_eq!(heard, ids);
    assert_eq!(store.census().unwrap().unacknowledged, 4);
    assert_eq!(
        vitals.measure(&store).unwrap().delivered,
        4,
        "what was heard counts once, what was not never"
    );
}

#[tokio::test]
async fn sendings_that_nobody_heard_do_not_put_a_result_off() {
    let dir = TempDir::new().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let id = enqueue(&store, 1);
    let tried = acted(courier(&store, true), &[Fate::Unheard; 4], 5).await;
    assert_eq!(tried.last(), Some(&(id, true)));
    let Next::Wait(ms) = store.next_due().unwrap() else { panic!("central's word is awaited") };
    assert!(ms <= 120_000, "{ms}");
}

#[tokio::test]
async fn a_broker_that_counts_nobody_though_central_hears_is_not_believed() {
    let dir = TempDir::new().unwrap();
    let store = Store::open(dir.path()).unwrap();
    for n in 1..=50 {
        enqueue(&store, n);
    }
    let (sent, mut tried) = mpsc::channel(1);
    let courier = courier(&store, true);
    let (wake, stop) = (Arc::clone(&courier.wake), courier.stop.clone());
    let script = Arc::new(Mutex::new(VecDeque::from([Fate::Unheard; 50])));
    let running = tokio::spawn(courier.run(Scripted { script, sent }, silence()));
    // With the pauses of a silence it would take half an hour.
    within(async {
        for _ in 0..50 {
            let message = loop {
                let message = tried.recv().await.unwrap();
                if message.channel == Channel::Result {
                    break message;
                }
            };
            store.finish(ResultEnvelope::parse(&message.payload).unwrap().result_id).unwrap();
            wake.notify_one();
        }
    })
    .await;
    stop.cancel();
    drop(tried);
    let _ = within(running).await;
    assert_eq!(store.next_due().unwrap(), Next::Empty);
}

#[tokio::test]
async fn the_newest_and_the_oldest_take_turns() {
    let dir = TempDir::new().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let ids: Vec<Uuid> = (1..=6).map(|n| enqueue(&store, n)).collect();
    let sent: Vec<Uuid> = scripted(&store, &[], 6).await.into_iter().map(|(id, _)| id).collect();
    assert_eq!(sent, [0, 5, 1, 4, 2, 3].map(|i| ids[i]));
}

#[tokio::test]
async fn a_courier_that_is_stuck_is_a_fault_and_one_that_rests_is_none() {
    let dir = TempDir::new().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let (sent, mut tried) = mpsc::channel(100);
    let courier = courier(&store, false);
    let (wake, vitals) = (Arc::clone(&courier.wake), Arc::clone(&courier.vitals));
    let far = Instant::now() + Duration::from_secs(3600);
    // As if an hour later the store had just answered.
    vitals.progress.set_store(StoreState::Sound, far);
    let script = Arc::new(Mutex::new(VecDeque::from([Fate::Stuck])));
    let running = tokio::spawn(courier.run(Scripted { script, sent }, silence()));
    while within(tried.recv()).await.unwrap().channel != Channel::Health {}
    within(async {
        while vitals.progress.fault(far).is_some() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    enqueue(&store, 1);
    wake.notify_one();
    while within(tried.recv()).await.unwrap().channel != Channel::Result {}
    assert!(vitals.progress.fault(far).unwrap().contains("publisher"));
    running.abort();
}

#[tokio::test]
async fn pauses_grow_to_the_longest_and_differ_between_devices() {
    let dir = TempDir::new().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let courier = courier(&store, false);
    let pauses = || courier.pauses().take(20).collect::<Vec<_>>();
    let (one, other) = (pauses(), pauses());
    assert_ne!(one, other, "a fleet must not come back in step");
    // Jitter adds up to a pause to itself.
    assert!(
        one.iter().all(|pause| *pause >= Duration::from_millis(250) && *pause <= 2 * courier.max_backoff)
    );
}

#[tokio::test]
async fn an_envelope_that_cannot_be_read_is_kept_and_passed_over() {
    let dir = TempDir::new().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let image = store.stage(&b"x"[..], 10).unwrap().commit(crate::store::Origin::Unknown).unwrap().id();
    store.enqueue(image, Uuid::from_u128(9), &[0; 32], b"{\"schema\":\"9.0\"}").unwrap();
    let b = enqueue(&store, 2);
    assert_eq!(scripted(&store, &[], 1).await, [(b, false)]);
    assert_eq!(store.census().unwrap().results_waiting, 1);
}

#[tokio::test]
async fn online_and_birth_come_first_and_stopped_last() {
    let dir = TempDir::new().unwrap();
    let store = Store::open(dir.path()).unwrap();
    enqueue(&store, 1);
    let (sent, mut tried) = mpsc::channel(100);
    let courier = courier(&store, false);
    // A stop that was asked before the connection stands sends nothing; so ask after the first message.
    let stop = courier.stop.clone();
    let running = tokio::spawn(courier.run(Scripted { script: Script::default(), sent }, silence()));
    let first = within(tried.recv()).await.unwrap();
    stop.cancel();
    within(running).await.unwrap();
    let mut all = vec![first];
    while let Some(message) = tried.recv().await {
        all.push(message);
    }
    let status = |message: &Outbound| Status::parse(&message.payload).unwrap().status;
    assert_eq!(status(&all[0]), StatusKind::Online);
    assert_eq!(all[1].channel, Channel::Birth);
    assert!(Birth::parse(&all[1].payload).is_ok());
    assert_eq!(all[2].channel, Channel::Result, "what is due is flushed");
    assert_eq!(status(all.last().unwrap()), StatusKind::Stopped);
    assert!(all.iter().all(|m| m.retain == matches!(m.channel, Channel::Status | Channel::Birth)));
}
