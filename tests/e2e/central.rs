//! Devices → mosquitto → central → database.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

use e2e_tests::{CentralSetup, Device, Mosquitto, Postgres, StoreScp, python_command, result, wait_for};
use shared::message::{Message, ResultEnvelope};

use crate::CENTRAL;
use crate::pacs::pacs;

pub(crate) fn setup(broker: &Mosquitto, more: &str) -> CentralSetup {
    CentralSetup::new(CENTRAL, "one", broker.port(), more)
}

fn ids(results: impl IntoIterator<Item = ResultEnvelope>) -> Vec<String> {
    let ids: BTreeSet<String> = results.into_iter().map(|r| r.result_id.to_string()).collect();
    ids.into_iter().collect()
}

/// Sorted, each as often as there is a row.
fn rows(setup: &CentralSetup) -> Vec<String> {
    let mut rows = setup.result_ids();
    rows.sort();
    rows
}

pub(crate) fn shown(setup: &CentralSetup, id: &str) -> ResultEnvelope {
    let output = setup.run(&["results", "show", id, "--json"]);
    assert!(output.status.success());
    ResultEnvelope::parse(&output.stdout).unwrap()
}

#[test]
fn a_result_that_is_published_twice_lands_once() {
    let broker = Mosquitto::start();
    let setup = setup(&broker, "");
    let central = setup.start_and_connect();
    let device = Device::connect(broker.port(), "cart-1");
    let (first, other) = (result(1), result(2));
    for sent in [&first, &first, &other, &ResultEnvelope { replayed: true, ..first.clone() }] {
        device.publish(sent);
    }
    device.wait_for_acks(&first, 3);
    device.wait_for_acks(&other, 1);
    assert_eq!(rows(&setup), ids([first.clone(), other]));
    assert!(shown(&setup, &first.result_id.to_string()) == first, "it is not as it came first");
    assert!(central.stop().success());
}

#[test]
fn other_content_under_an_id_is_flagged_and_never_replaces_the_first() {
    let broker = Mosquitto::start();
    let setup = setup(&broker, "");
    let central = setup.start_and_connect();
    let device = Device::connect(broker.port(), "cart-1");
    let first = result(1);
    let mut other = first.clone();
    other.findings[0].score = 0.5;
    device.publish(&first);
    device.publish(&other);
    device.wait_for_acks(&first, 2);
    let listed = setup.json(&["results", "list", "--conflicts", "--json"]);
    assert_eq!((listed.len(), &listed[0]["conflicts"]), (1, &1.into()));
    assert!(shown(&setup, &first.result_id.to_string()) == first, "the first does not stand");
    assert!(central.log().contains("other content"));
    assert!(central.stop().success());
}

#[test]
fn an_acknowledgement_comes_after_the_commit() {
    let broker = Mosquitto::start();
    let setup = setup(&broker, "");
    let central = setup.start_and_connect();
    let device = Device::connect(broker.port(), "cart-1");
    let mut holder = python_command("python/hold_database.py")
        .arg(setup.dir().join("central.db"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(holder.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "held\n");
    let waiting = result(1);
    device.publish(&waiting);
    wait_for("central to fail to commit", || central.log().contains("results are not kept").then_some(()));
    assert!(device.acks().is_empty(), "nothing is committed");
    drop(holder.stdin.take());
    assert!(holder.wait().unwrap().success());
    device.wait_for_acks(&waiting, 1);
    assert_eq!(rows(&setup), ids([waiting]));
    // Whenever an acknowledgement is there, so is the row.
    for n in 2..30 {
        let next = result(n);
        device.publish(&next);
        device.wait_for_acks(&next, 1);
        assert!(setup.run(&["results", "show", &next.result_id.to_string()]).status.success());
    }
    assert!(central.stop().success());
}

#[test]
fn killed_at_any_moment_central_loses_nothing_and_keeps_nothing_twice() {
    let kills = if std::env::var_os("CHEXSEG_LONG").is_some() { 1000 } else { 20 };
    let broker = Mosquitto::start();
    let setup = setup(&broker, "");
    let mut central = Some(setup.start_and_connect());
    let device = Device::connect(broker.port(), "cart-1");
    let mut sent = 0_u64;
    for round in 0..kills {
        // A burst that is under way when the kill comes, after as many acknowledgements as the round says.
        let before = device.acks().len();
        for _ in 0..10 {
            sent += 1;
            device.publish(&result(sent));
        }
        let kill_after = before + (round * 7) % 11;
        wait_for("acknowledgements", || (device.acks().len() >= kill_after).then_some(()));
        central.take().unwrap().kill();
        device.flush(sent as usize);
        central = Some(setup.start());
    }
    wait_for("every result to be acknowledged", || (device.acks().len() as u64 == sent).then_some(()));
    assert_eq!(rows(&setup), ids((1..=sent).map(result)));
    let again: usize = device.acks().values().sum::<usize>() - sent as usize;
    println!("{kills} kills, {sent} results, {again} acknowledged again");
    assert!(central.unwrap().stop().success());
}

#[test]
fn two_instances_share_the_load() {
    let broker = Mosquitto::start();
    let setups = ["one", "two"].map(|name| CentralSetup::new(CENTRAL, name, broker.port(), ""));
    let running = setups.each_ref().map(CentralSetup::start_and_connect);
    let device = Device::connect(broker.port(), "cart-1");
    for n in 1..=60 {
        device.publish(&result(n));
    }
    wait_for("every acknowledgement", || (device.acks().len() == 60).then_some(()));
    let [one, two] = setups.each_ref().map(rows);
    assert!(!one.is_empty() && !two.is_empty(), "{} and {}", one.len(), two.len());
    let mut both = [one, two].concat();
    both.sort();
    assert_eq!(both, ids((1..=60).map(result)), "each at one of them");
    assert!(running.into_iter().all(|central| central.stop().success()));
}

#[test]
fn two_instances_share_a_postgresql_and_outlive_each_other() {
    let Some(server) = Postgres::start() else { return };
    let broker = Mosquitto::start();
    let url = server.database("central");
    let setups =
        ["one", "two"].map(|name| CentralSetup::with_database(CENTRAL, name, broker.port(), &url, ""));
    let [one, two] = setups.each_ref().map(CentralSetup::start_and_connect);
    let device = Device::connect(broker.port(), "cart-1");
    for n in 1..=40 {
        device.publish(&result(n));
        device.publish(&result(n));
    }
    one.kill();
    server.crash();
    for n in 41..=80 {
        device.publish(&result(n));
    }
    device.flush(120);
    // What the broker had given to the one that was killed comes when it is back.
    let one = setups[0].start();
    wait_for("every acknowledgement", || (device.acks().len() == 80).then_some(()));
    assert_eq!(rows(&setups[1]), ids((1..=80).map(result)));
    assert!(one.stop().success() && two.stop().success());
}

#[test]
fn what_cannot_be_used_is_set_aside_once_and_stops_nothing() {
    let broker = Mosquitto::start();
    let setup = setup(&broker, "");
    let central = setup.start_and_connect();
    let device = Device::connect(broker.port(), "cart-1");
    let canary = "Doe^Jane";
    let topic = "cxr/v1/test-site/cart-1/result";
    let mut contradiction = serde_json::to_value(result(1)).unwrap();
    contradiction["result_id"] = "00000000-0000-0000-0000-000000000000".into();
    device.publish_raw(topic, canary);
    device.publish_raw(topic, contradiction.to_string());
    device.publish_raw(topic, vec![0xFF; 60_000]);
    device.publish_raw(topic, format!("{{\"schema\":\"1.0\",\"{canary}\":1}}"));
    device.publish_raw("cxr/v1/Doe^Jane/cart-1/result", "{}");
    device.publish(&result(2));
    device.wait_for_acks(&result(2), 1);
    let aside = setup.json(&["set-aside", "--json"]);
    assert_eq!(aside.len(), 5, "{aside:?}");
    assert!(aside.iter().any(|a| a["payload"] == canary && a["topic"] == topic));
    assert!(!central.log().contains("Doe"), "no log holds what a device sent");
    assert!(central.stop().success());
    // They were acknowledged to the broker: it does not send them again.
    let central = setup.start_and_connect();
    device.publish(&result(3));
    device.wait_for_acks(&result(3), 1);
    assert_eq!(setup.json(&["set-aside", "--json"]).len(), 5);
    assert_eq!(rows(&setup), ids([result(2), result(3)]));
    assert!(central.stop().success());
}

#[test]
fn a_broker_that_dies_with_its_memory_is_waited_for() {
    let mut broker = Mosquitto::start();
    let setup = setup(&broker, "");
    let central = setup.start_and_connect();
    broker.kill();
    broker.launch();
    wait_for("central to subscribe again", || {
        (central.log().matches("subscribed").count() >= 2).then_some(())
    });
    let device = Device::connect(broker.port(), "cart-1");
    device.publish(&result(1));
    device.wait_for_acks(&result(1), 1);
    assert!(central.stop().success());
}

#[test]
fn watch_prints_a_line_a_result_and_no_image() {
    let broker = Mosquitto::start();
    let setup = setup(&broker, "");
    let device = Device::connect(broker.port(), "cart-1");
    for json in [true, false] {
        let mut command = setup.command(&["watch", "--count", "3"]);
        if json {
            command.arg("--json");
        }
        let mut watch = command.stdout(Stdio::piped()).spawn().unwrap();
        // Nobody tells when it listens: results come until it has seen enough.
        let mut n = 0;
        wait_for("watch to end", || {
            n += 1;
            device.publish(&result(n));
            watch.try_wait().unwrap()
        });
        let output = watch.wait_with_output().unwrap();
        assert!(output.status.success());
        let text = String::from_utf8(output.stdout).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3, "{text}");
        for line in lines {
            assert!(line.contains("cart-1") && line.contains("opacity") && !line.contains("1.2.3"), "{line}");
            assert_eq!(json, serde_json::from_str::<serde_json::Value>(line).is_ok());
        }
    }
}

#[test]
fn exit_codes_are_those_that_help_tells() {
    let code = |setup: &CentralSetup, arguments: &[&str]| setup.run(arguments).status.code();
    let mut broker = Mosquitto::start();
    let mut scp = StoreScp::reserved();
    scp.launch();
    let setup = setup(&broker, &pacs(&scp));
    assert_eq!(code(&setup, &["check"]), Some(0));
    assert_eq!(code(&setup, &["results", "show", "00000000-0000-0000-0000-000000000000"]), Some(1));
    assert_eq!(code(&setup, &["results", "fly"]), Some(2));
    scp.kill();
    assert_eq!(code(&setup, &["check"]), Some(5));
    assert_eq!(code(&setup, &["pacs", "echo"]), Some(5));
    broker.kill();
    assert_eq!(code(&setup, &["watch"]), Some(5));
    let nowhere = CentralSetup::with_database(CENTRAL, "one", broker.port(), "sqlite:/nowhere/x.db", "");
    assert_eq!(code(&nowhere, &["run"]), Some(6));
    setup.write_config("colour = 1\n");
    assert_eq!(code(&setup, &["check"]), Some(3));
    assert_eq!(code(&setup, &["run"]), Some(3));
}
