//! Folder → agent → mosquitto → subscriber.

use std::collections::BTreeMap;

use e2e_tests::{AgentSetup, Mosquitto, Subscriber, phantom_png, shipped_bundle, wait_for};
use edge_agent::infer::{Analyzer, AnalyzerOptions};
use shared::bundle::Bundle;
use shared::message::{Birth, Message, ResultEnvelope, Status, StatusKind};
use shared::topic::Channel;
use uuid::Uuid;

use crate::AGENT;

/// What the same engine gives for a file when called directly.
fn expected(paths: &[std::path::PathBuf]) -> BTreeMap<Uuid, Vec<shared::mask::Rle>> {
    let bundle = Bundle::open(&shipped_bundle()).unwrap();
    let mut analyzer = Analyzer::with_tract(&bundle, 1, AnalyzerOptions::default()).unwrap();
    let provenance = edge_agent::infer::Provenance { boot_id: Uuid::nil(), seq: 1, clock_synced: false };
    paths
        .iter()
        .map(|path| {
            let envelope = analyzer.analyze(&std::fs::read(path).unwrap()).unwrap().to_envelope(provenance);
            (envelope.result_id, envelope.findings.into_iter().map(|f| f.mask).collect())
        })
        .collect()
}

fn masks(results: &[ResultEnvelope]) -> BTreeMap<Uuid, Vec<shared::mask::Rle>> {
    results.iter().map(|r| (r.result_id, r.findings.iter().map(|f| f.mask.clone()).collect())).collect()
}

fn statuses(central: &Subscriber) -> Vec<StatusKind> {
    central.payloads(&Channel::Status).iter().map(|p| Status::parse(p).unwrap().status).collect()
}

#[test]
fn every_image_of_the_folder_gives_exactly_the_expected_masks() {
    let broker = Mosquitto::start();
    let central = Subscriber::start(broker.port());
    let setup = AgentSetup::new(AGENT, broker.port());
    let agent = setup.start();
    let paths: Vec<_> = (0..4).map(|i| setup.inbox().join(format!("image-{i}.png"))).collect();
    for (seed, path) in (100..).zip(&paths) {
        phantom_png(path, seed, 700, 600);
    }
    wait_for("four results", || (masks(&central.results()).len() == 4).then_some(()));
    assert_eq!(masks(&central.results()), expected(&paths));
    let births = central.payloads(&Channel::Birth);
    let bundle = Bundle::open(&shipped_bundle()).unwrap();
    assert_eq!(Birth::parse(&births[0]).unwrap().model.sha256, bundle.model_sha256());
    assert!(agent.stop().success());
    wait_for("the status `stopped`", || {
        (statuses(&central).last() == Some(&StatusKind::Stopped)).then_some(())
    });
    assert_eq!(central.results().len(), 4, "no result came twice");
}

#[test]
fn a_broker_that_dies_and_returns_costs_no_result_and_changes_no_id() {
    let mut broker = Mosquitto::start();
    let central = Subscriber::start(broker.port());
    let setup = AgentSetup::new(AGENT, broker.port());
    let agent = setup.start();
    let paths: Vec<_> = (0..6).map(|i| setup.inbox().join(format!("image-{i}.png"))).collect();
    for (seed, path) in (200..).zip(&paths[..3]) {
        phantom_png(path, seed, 512, 512);
    }
    wait_for("the first result", || (!central.results().is_empty()).then_some(()));
    broker.kill();
    for (seed, path) in (203..).zip(&paths[3..]) {
        phantom_png(path, seed, 512, 512);
    }
    broker.launch();
    wait_for("six results", || (masks(&central.results()).len() == 6).then_some(()));
    assert_eq!(masks(&central.results()), expected(&paths));
    assert!(agent.stop().success());
}

#[test]
fn a_broker_that_is_not_there_yet_is_waited_for() {
    let mut broker = Mosquitto::reserved();
    let setup = AgentSetup::new(AGENT, broker.port());
    let agent = setup.start();
    let path = setup.inbox().join("image.png");
    phantom_png(&path, 300, 512, 512);
    broker.launch();
    let central = Subscriber::launch(broker.port());
    wait_for("the result", || (masks(&central.results()).len() == 1).then_some(()));
    assert_eq!(masks(&central.results()), expected(&[path]));
    assert!(agent.stop().success());
}

#[test]
fn a_killed_agent_publishes_what_it_had_accepted() {
    let mut broker = Mosquitto::start();
    let setup = AgentSetup::new(AGENT, broker.port());
    let central = Subscriber::start(broker.port());
    let paths: Vec<_> = (0..3).map(|i| setup.inbox().join(format!("image-{i}.png"))).collect();
    for (seed, path) in (400..).zip(&paths) {
        phantom_png(path, seed, 512, 512);
    }
    let agent = setup.start();
    wait_for("the first result", || (!central.results().is_empty()).then_some(()));
    agent.kill();
    wait_for("the last will", || (statuses(&central).last() == Some(&StatusKind::Offline)).then_some(()));
    let agent = setup.start();
    wait_for("three results", || (masks(&central.results()).len() == 3).then_some(()));
    assert_eq!(masks(&central.results()), expected(&paths));
    assert!(agent.stop().success());
    broker.kill();
}
