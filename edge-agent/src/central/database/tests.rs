//! One suite over both databases.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use shared::message::{Birth, Health, Message, ResultEnvelope, SCHEMA, Status, StatusKind};
use shared::topic::DeviceId;
use uuid::Uuid;

use super::backend::Value;
use super::{Claim, Database, DatabaseError, Entry, Filter, HandOnState, Kept, SetAside};
use crate::central::config::DatabaseConfig;
use crate::config::TlsConfig;
use crate::publisher::tests::{device, envelope, model};

#[allow(unreachable_pub, reason = "the end-to-end tests export it")]
#[path = "../../../../tests/src/certificates.rs"]
mod certificates;
#[allow(unreachable_pub, reason = "the end-to-end tests share it")]
#[path = "../../../../tests/src/postgres.rs"]
mod server;

fn config(url: &str) -> DatabaseConfig {
    DatabaseConfig { url: url.into(), password_file: None, tls: None, max_set_aside: 3 }
}

async fn open(url: &str) -> Database {
    Database::open(&config(url), true).await.unwrap()
}

fn result(envelope: ResultEnvelope) -> Entry {
    let json = String::from_utf8(envelope.to_json()).unwrap();
    Entry::Result { device: device(), envelope: Box::new(envelope), json }
}

fn set_aside(n: usize) -> Entry {
    Entry::SetAside(SetAside {
        topic: format!("cxr/v1/x/y/result-{n}\0"),
        reason: "not JSON".into(),
        payload: vec![0, 0xFF, b'a'],
    })
}

async fn a_result_lands_once(url: String) {
    let db = open(&url).await;
    let (first, other) = (envelope(1), envelope(2));
    let replay = ResultEnvelope { replayed: true, seq: 77, ..first.clone() };
    let batch = [result(other.clone()), result(first.clone()), result(replay.clone())];
    assert_eq!(db.commit(&batch).await.unwrap(), [Kept::New, Kept::New, Kept::Repeat]);
    assert_eq!(db.commit(&[result(replay)]).await.unwrap(), [Kept::Repeat]);
    let mut ids = [first.result_id, other.result_id];
    ids.sort();
    assert_eq!(db.result_ids().await.unwrap(), ids);
    let record = db.result(first.result_id).await.unwrap().unwrap();
    assert_eq!((record.repeats, record.conflicts, &record.device), (2, 0, &device()));
    assert_eq!((record.envelope, record.json.as_bytes()), (first.clone(), first.to_json().as_slice()));
    // Another handle sees the same: it is on disk.
    assert_eq!(open(&url).await.result_ids().await.unwrap(), ids);
    assert_eq!(db.result(Uuid::nil()).await.unwrap(), None);
}

async fn other_content_under_an_id_never_replaces_the_first(url: String) {
    let db = open(&url).await;
    let first = envelope(1);
    let mut other = first.clone();
    other.findings[0].score = 0.6;
    db.commit(&[result(first.clone())]).await.unwrap();
    assert_eq!(db.commit(&[result(other.clone())]).await.unwrap(), [Kept::Conflict]);
    let record = db.result(first.result_id).await.unwrap().unwrap();
    assert_eq!((record.repeats, record.conflicts, record.envelope), (0, 1, first));
    let aside = db.set_aside(10).await.unwrap();
    assert_eq!(ResultEnvelope::parse(aside[0].payload.as_bytes()).unwrap(), other);
    let only = Filter { conflicts: true, ..Filter::default() };
    assert_eq!(db.results(&only, 10).await.unwrap().len(), 1);
}

async fn what_cannot_be_used_is_bounded(url: String) {
    let db = open(&url).await;
    for n in 0..5 {
        assert_eq!(db.commit(&[set_aside(n)]).await.unwrap(), [Kept::Noted]);
    }
    let kept = db.set_aside(10).await.unwrap();
    let topics: Vec<&str> = kept.iter().map(|r| r.topic.as_str()).collect();
    let expected = [4, 3, 2].map(|n| format!("cxr/v1/x/y/result-{n}\u{fffd}"));
    assert_eq!(topics, expected);
    assert_eq!((kept[0].bytes, kept[0].payload.as_str()), (3, "\u{fffd}\u{fffd}a"));
}

async fn results_are_found_by_what_they_are_of(url: String) {
    let db = open(&url).await;
    let mut of_study = envelope(1);
    of_study.image.study_instance_uid = Some("1.2.99".parse().unwrap());
    db.commit(&[result(of_study.clone()), result(envelope(2))]).await.unwrap();
    let find = async |filter: Filter| {
        let found = db.results(&filter, 10).await.unwrap();
        found.into_iter().map(|r| r.envelope.result_id).collect::<Vec<_>>()
    };
    let all = Filter::default;
    assert_eq!(find(all()).await.len(), 2);
    assert_eq!(find(Filter { study_uid: Some("1.2.99".into()), ..all() }).await, [of_study.result_id]);
    assert_eq!(find(Filter { sop_uid: Some("1.2.1".into()), ..all() }).await, [of_study.result_id]);
    assert_eq!(find(Filter { site: Some("north".into()), ..all() }).await.len(), 2);
    assert!(find(Filter { device: Some("cart-4".into()), ..all() }).await.is_empty());
    assert_eq!(db.results(&all(), 1).await.unwrap().len(), 1);
}

async fn the_fleet_is_as_it_last_told(url: String) {
    let db = open(&url).await;
    let status = |status| Entry::Status {
        device: device(),
        status: Status { schema: SCHEMA, status, boot_id: Uuid::nil() },
    };
    let birth = Birth {
        schema: SCHEMA,
        boot_id: Uuid::nil(),
        started_at: Timestamp::UNIX_EPOCH,
        firmware: "1".into(),
        model: model(),
        signature: None,
        manifest_schema: SCHEMA,
        pipeline_version: 1,
        capabilities: vec![],
        store_rebuilt: None,
    };
    let mute = DeviceId { device: "cart-9".parse().unwrap(), ..device() };
    let of_mute = envelope(3);
    let json = String::from_utf8(of_mute.to_json()).unwrap();
    db.commit(&[
        status(StatusKind::Online),
        Entry::Birth { device: device(), birth: Box::new(birth.clone()) },
        result(envelope(1)),
        Entry::Result { device: mute.clone(), envelope: Box::new(of_mute), json },
    ])
    .await
    .unwrap();
    db.commit(&[status(StatusKind::Offline)]).await.unwrap();
    let devices = db.devices().await.unwrap();
    assert_eq!(devices.len(), 2);
    assert_eq!(devices[0].device, device());
    assert_eq!(devices[0].status.as_ref().unwrap().0.status, StatusKind::Offline);
    assert_eq!(
        (devices[0].birth.as_ref(), devices[0].health.as_ref(), devices[0].results),
        (Some(&birth), None, 1)
    );
    assert_eq!((&devices[1].device, devices[1].status.is_none(), devices[1].results), (&mute, true, 1));
    let health = r#"{"schema":"1.0","boot_id":"00000000-0000-0000-0000-000000000000","at":"2026-11-23T12:00:00Z",
        "images_waiting":2,"results_waiting":3,"oldest_unsent_s":40,"set_aside":0,"delivered":5,"rss_bytes":null}"#;
    let health = Health::parse(health.as_bytes()).unwrap();
    db.commit(&[Entry::Health { device: device(), health: Box::new(health.clone()) }]).await.unwrap();
    assert_eq!(db.devices().await.unwrap()[0].health.as_ref().unwrap().0, health);
}

async fn what_is_to_be_handed_on_is_held_by_one_and_never_forgotten(url: String) {
    let (db, other) = (open(&url).await, open(&url).await);
    let id = envelope(1).result_id;
    db.commit(&[result(envelope(1)), result(envelope(1))]).await.unwrap();
    assert_eq!(db.claim("one").await.unwrap(), Some(Claim { result_id: id, attempts: 1 }));
    assert_eq!(other.claim("two").await.unwrap(), None, "it is held");
    other.release_claims("two").await.unwrap();
    assert_eq!(other.claim("two").await.unwrap(), None, "by another");
    db.release_claims("one").await.unwrap();
    assert_eq!(other.claim("two").await.unwrap(), Some(Claim { result_id: id, attempts: 2 }));
    other.postpone(id, 3_600_000, "it refused").await.unwrap();
    assert_eq!(db.claim("one").await.unwrap(), None, "not due");
    assert_eq!(db.hand_on(id).await.unwrap().unwrap().reason.as_deref(), Some("it refused"));
    assert_eq!(db.retry_hand_ons().await.unwrap(), 1);
    assert_eq!(db.claim("one").await.unwrap(), Some(Claim { result_id: id, attempts: 3 }));
    db.settle(id, Some("no study")).await.unwrap();
    assert_eq!(db.hand_on(id).await.unwrap().unwrap().state, HandOnState::Skipped);
    assert_eq!(db.retry_hand_ons().await.unwrap(), 1);
    db.claim("one").await.unwrap().unwrap();
    db.settle(id, None).await.unwrap();
    assert_eq!(db.retry_hand_ons().await.unwrap(), 0, "what the PACS has is done");
    assert!(db.hand_ons(false, 10).await.unwrap().is_empty());
    assert_eq!(db.hand_ons(true, 10).await.unwrap()[0].state, HandOnState::Done);
    // A repeat of what was handed on is not handed on again.
    db.commit(&[result(envelope(1))]).await.unwrap();
    assert_eq!(db.claim("one").await.unwrap(), None);
}

async fn two_instances_commit_the_same_at_once(url: String) {
    let (one, two) = (open(&url).await, open(&url).await);
    let forth: Vec<Entry> = (0..40).map(|n| result(envelope(n))).collect();
    let back: Vec<Entry> = forth.iter().rev().cloned().collect();
    let (forth, back) = tokio::join!(
        tokio::spawn(async move { one.commit(&forth).await }),
        tokio::spawn(async move { two.commit(&back).await })
    );
    let kept = [forth.unwrap().unwrap(), back.unwrap().unwrap()].concat();
    assert_eq!(kept.iter().filter(|&&k| k == Kept::New).count(), 40);
    assert_eq!(kept.iter().filter(|&&k| k == Kept::Repeat).count(), 40);
    assert_eq!(open(&url).await.result_ids().await.unwrap().len(), 40);
}

async fn a_cut_commit_leaves_nothing(url: String) {
    let db = open(&url).await;
    let mut tx = db.begin().await.unwrap();
    super::entry::keep(&mut **tx, &result(envelope(1)), true).await.unwrap();
    drop(tx);
    assert!(db.result_ids().await.unwrap().is_empty());
    assert_eq!(db.commit(&[result(envelope(1))]).await.unwrap(), [Kept::New]);
}

async fn a_later_format_is_refused(url: String) {
    let db = open(&url).await;
    let mut raw = db.backend().await.unwrap();
    raw.batch("UPDATE central_format SET version = 99").await.unwrap();
    if url.starts_with("sqlite") {
        raw.batch("PRAGMA user_version = 99").await.unwrap();
    }
    drop(raw);
    let error = Database::open(&config(&url), true).await.err().unwrap();
    assert!(matches!(error, DatabaseError::Format { found: 99, .. }), "{error}");
}

/// Runs every case on a database of its own.
macro_rules! suite {
    ($url:expr, $($case:ident),* $(,)?) => {{
        $(
            println!("case {}", stringify!($case));
            $case($url(stringify!($case))).await;
        )*
    }};
}

async fn every_case(url: impl Fn(&str) -> String) {
    suite!(
        url,
        a_result_lands_once,
        other_content_under_an_id_never_replaces_the_first,
        what_cannot_be_used_is_bounded,
        results_are_found_by_what_they_are_of,
        the_fleet_is_as_it_last_told,
        what_is_to_be_handed_on_is_held_by_one_and_never_forgotten,
        two_instances_commit_the_same_at_once,
        a_cut_commit_leaves_nothing,
        a_later_format_is_refused,
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_keeps_every_promise() {
    let dir = tempfile::tempdir().unwrap();
    every_case(|case| format!("sqlite:{}", dir.path().join(case).display())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_keeps_every_promise() {
    let Some(server) = server::Postgres::start() else { return };
    // A name of a database has at most 63 characters.
    every_case(|case| server.database(&case[..case.len().min(60)])).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_may_crash_between_two_commits() {
    let Some(server) = server::Postgres::start() else { return };
    let db = open(&server.database("crash")).await;
    db.commit(&[result(envelope(1))]).await.unwrap();
    server.crash();
    // The first try may meet the dead connection.
    let kept = match db.commit(&[result(envelope(2))]).await {
        Ok(kept) => kept,
        Err(_) => db.commit(&[result(envelope(2))]).await.unwrap(),
    };
    assert_eq!(kept, [Kept::New]);
    assert_eq!(db.result_ids().await.unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_postgres_behind_tls_is_spoken_to_in_tls_and_must_be_the_one_meant() {
    let Some(server) = server::Postgres::start_with_tls() else { return };
    let url = server.database("tls");
    let ca = |ca: PathBuf| Some(TlsConfig { ca, cert: None, key: None });
    let db =
        Database::open(&DatabaseConfig { tls: ca(server.authority()), ..config(&url) }, true).await.unwrap();
    assert_eq!(db.commit(&[result(envelope(1))]).await.unwrap(), [Kept::New]);
    let mut raw = db.backend().await.unwrap();
    let encrypted = raw.query("SELECT count(*) FROM pg_stat_ssl WHERE pid = pg_backend_pid() AND ssl", &[]);
    assert_eq!(encrypted.await.unwrap(), [[Value::Int(1)]]);
    let other = tempfile::tempdir().unwrap();
    certificates::certificates(other.path());
    let stranger = DatabaseConfig { tls: ca(other.path().join("ca.pem")), ..config(&url) };
    let error = Database::open(&stranger, true).await.err().unwrap().to_string();
    assert!(error.contains("certificate"), "{error}");
}

#[tokio::test]
async fn a_place_that_cannot_be_used_is_named_and_no_password_told() {
    let refusal =
        async |config: DatabaseConfig| Database::open(&config, true).await.err().unwrap().to_string();
    let nowhere = refusal(config("sqlite:/nowhere/at/all/central.db")).await;
    assert!(nowhere.contains("/nowhere/at/all/central.db") && nowhere.contains("folder"), "{nowhere}");
    let tls = refusal(config("postgresql://u:hush@127.0.0.1:1/db?sslmode=require")).await;
    assert!(tls.contains("[database.tls]") && !tls.contains("hush"), "{tls}");
    let absent = DatabaseConfig { password_file: Some("/nowhere/p".into()), ..config("postgresql://u@h/d") };
    assert!(refusal(absent).await.contains("/nowhere/p"));
    let garbled = refusal(config("postgresql://u:hush@[/db")).await;
    assert!(!garbled.contains("hush"), "{garbled}");
    assert!(Path::new("/nowhere").try_exists().is_ok_and(|there| !there));
}
