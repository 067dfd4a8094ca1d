//! Follows every radiograph until it has a result or a reason.

use std::collections::HashMap;
use std::time::Duration;

use shared::message::{Message, ResultEnvelope};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use uuid::Uuid;

use super::picture::{Drawn, Studio};
use super::subscriber::Subscriber;
use super::unit::{Dropped, Sent};
use super::{DemoError, table};
use crate::store::{ImageState, Store, StoreError, Taken};

/// Without any event for this long, what is missing will not come. Generous: a debug build on a busy
/// machine takes many seconds for an image.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two looks at what the agent set aside.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// A radiograph and what came of it.
pub(super) struct Entry {
    pub(super) number: usize,
    pub(super) title: String,
    pub(super) outcome: Outcome,
}

/// What came of a radiograph.
pub(super) enum Outcome {
    /// A result over MQTT.
    Result(Box<Drawn>),
    /// No result, for this reason.
    SetAside(String),
    /// Neither came in time.
    Missing,
}

/// What the agent made of a radiograph so far.
enum Fate {
    Waits,
    Result(Uuid),
    SetAside(String),
}

impl Outcome {
    pub(super) fn is_result(&self) -> bool {
        matches!(self, Self::Result(_))
    }

    pub(super) fn is_missing(&self) -> bool {
        matches!(self, Self::Missing)
    }
}

/// Prints every event and returns the radiographs in the order in which they were sent.
pub(super) async fn follow(
    store: &Store,
    mut subscriber: Subscriber,
    mut sent: mpsc::Receiver<Sent>,
    studio: &Studio,
) -> Result<Vec<Entry>, DemoError> {
    let mut entries = Vec::new();
    let mut open: Vec<(usize, String, Dropped)> = Vec::new();
    let mut results: HashMap<Uuid, ResultEnvelope> = HashMap::new();
    let mut unit_done = false;
    let mut deadline = Instant::now() + PATIENCE;
    while !(unit_done && open.is_empty()) {
        tokio::select! {
            exposure = sent.recv(), if !unit_done => match exposure {
                None => unit_done = true,
                Some(Sent { number, title, delivery }) => {
                    deadline = Instant::now() + PATIENCE;
                    match delivery {
                        Ok(dropped) => {
                            println!("unit     {number:>3} sent: {title}");
                            open.push((number, title, dropped));
                        }
                        Err(reason) => {
                            println!("unit     {number:>3} not sent: {title}: {reason}");
                            entries.push(Entry { number, title, outcome: Outcome::SetAside(reason) });
                        }
                    }
                }
            },
            message = subscriber.next() => {
                let message = message.ok_or(DemoError::Subscriber)?;
                deadline = Instant::now() + PATIENCE;
                match ResultEnvelope::parse(&message.payload) {
                    Ok(envelope) => drop(results.insert(envelope.result_id, envelope)),
                    Err(error) => println!("central  refused a message: {error}"),
                }
            }
            () = sleep_until(deadline) => break,
            () = tokio::time::sleep(LOOK_EVERY), if !open.is_empty() => {}
        }
        let mut waiting = Vec::new();
        for (number, title, dropped) in open {
            let outcome = match fate(store, &dropped).await? {
                Fate::SetAside(reason) => {
                    println!("agent    {number:>3} set aside: {title}: {reason}");
                    Outcome::SetAside(reason)
                }
                Fate::Result(id) if results.contains_key(&id) => {
                    let drawn =
                        tokio::task::block_in_place(|| studio.draw(number, &dropped, results[&id].clone()))?;
                    println!("central  {number:>3} result: {title}\n{}", table::result(&drawn));
                    Outcome::Result(Box::new(drawn))
                }
                Fate::Waits | Fate::Result(_) => {
                    waiting.push((number, title, dropped));
                    continue;
                }
            };
            deadline = Instant::now() + PATIENCE;
            entries.push(Entry { number, title, outcome });
        }
        open = waiting;
    }
    entries.extend(open.into_iter().map(|(number, title, _)| {
        println!("central  {number:>3} missing: {title}: neither result nor reason came within {PATIENCE:?}");
        Entry { number, title, outcome: Outcome::Missing }
    }));
    entries.sort_by_key(|entry| entry.number);
    Ok(entries)
}

async fn fate(store: &Store, sent: &Dropped) -> Result<Fate, StoreError> {
    let (image, file) = (sent.image, sent.file);
    store
        .run(move |store| {
            if let Some(Taken::Refused(reason)) = store.taken(&file)? {
                return Ok(Fate::SetAside(reason));
            }
            let Some(record) = store.image(image)? else { return Ok(Fate::Waits) };
            Ok(match (record.state, record.result_id) {
                (ImageState::SetAside(reason), _) => Fate::SetAside(reason),
                (_, Some(result)) => Fate::Result(result),
                _ => Fate::Waits,
            })
        })
        .await
}
