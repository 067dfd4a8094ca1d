//! Devices → mosquitto → central → database and PACS.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use e2e_tests::{
    AgentSetup, CentralSetup, Device, Mosquitto, Orthanc, Postgres, StoreScp, phantom_dicom, python,
    python_command, result, wait_for,
};
use shared::message::{Message, ResultEnvelope};

use crate::{AGENT, CENTRAL};

fn setup(broker: &Mosquitto, more: &str) -> CentralSetup {
    CentralSetup::new(CENTRAL, "one", broker.port(), more)
}

fn pacs(scp: &StoreScp) -> String {
    format!("[pacs]\nhost = '127.0.0.1'\nport = {}\ncalled_ae_title = 'PACS'\nmax_retry_s = 1\n", scp.port())
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

fn shown(setup: &CentralSetup, id: &str) -> ResultEnvelope {
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
        (central.log().matches("subscribed").count() == 2).then_some(())
    });
    let device = Device::connect(broker.port(), "cart-1");
    device.publish(&result(1));
    device.wait_for_acks(&result(1), 1);
    assert!(central.stop().success());
}

#[test]
fn a_pacs_gets_valid_objects_once_however_often_it_was_away() {
    let broker = Mosquitto::start();
    let mut scp = StoreScp::reserved();
    let setup = setup(&broker, &pacs(&scp));
    let central = setup.start_and_connect();
    let device = Device::connect(broker.port(), "cart-1");
    let mut picture = result(9);
    (picture.image.study_instance_uid, picture.image.series_instance_uid) = (None, None);
    for sent in [result(1), result(2), result(1), picture.clone()] {
        device.publish(&sent);
    }
    wait_for("an attempt", || central.log().contains("not handed on").then_some(()));
    // The outbox is in the database.
    central.kill();
    let central = setup.start_and_connect();
    device.publish(&result(3));
    scp.launch();
    wait_for("six objects", || (scp.objects().len() == 6).then_some(()));
    wait_for("nothing to wait", || {
        let left = setup.json(&["pacs", "list", "--json"]);
        left.iter().all(|row| row["state"] == "skipped").then_some(())
    });
    let left = setup.json(&["pacs", "list", "--json"]);
    assert_eq!((left.len(), &left[0]["result_id"]), (1, &picture.result_id.to_string().into()));
    assert!(left[0]["reason"].as_str().unwrap().contains("Study Instance UID"));
    assert!(setup.run(&["pacs", "echo"]).status.success());
    assert!(central.stop().success());
    verify(&setup, scp.dir(), &scp.objects(), &[result(1), result(2), result(3)]);
}

#[test]
fn a_pacs_behind_tls_gets_objects_from_whom_it_knows() {
    let broker = Mosquitto::start();
    let mut scp = StoreScp::reserved_with_tls();
    scp.launch();
    let file = |name: &str| scp.dir().join(name).display().to_string();
    let (ca, cert, key) = (file("ca.pem"), file("cert.pem"), file("key.pem"));
    let stranger = setup(&broker, &format!("{}[pacs.tls]\nca = '{ca}'\n", pacs(&scp)));
    assert_eq!(stranger.run(&["pacs", "echo"]).status.code(), Some(5), "without a certificate");
    let plain = setup(&broker, &pacs(&scp));
    assert_eq!(plain.run(&["pacs", "echo"]).status.code(), Some(5), "without TLS");
    let tls = format!("[pacs.tls]\nca = '{ca}'\ncert = '{cert}'\nkey = '{key}'\n");
    let setup = setup(&broker, &format!("{}{tls}", pacs(&scp)));
    assert_eq!(setup.run(&["check"]).status.code(), Some(0));
    let central = setup.start_and_connect();
    let device = Device::connect(broker.port(), "cart-1");
    device.publish(&result(1));
    wait_for("two objects", || (scp.objects().len() == 2).then_some(()));
    verify(&setup, scp.dir(), &scp.objects(), &[result(1)]);
    assert!(central.stop().success());
}

#[test]
fn a_pacs_gets_the_same_objects_by_stow_rs_from_whom_it_knows() {
    let broker = Mosquitto::start();
    let mut pacs = Orthanc::reserved();
    let file = |name: &str| pacs.dir().join(name).display().to_string();
    let (ca, cert, key, secret) = (file("ca.pem"), file("cert.pem"), file("key.pem"), file("secret"));
    std::fs::write(&secret, "secret\n").unwrap();
    std::fs::write(file("wrong"), "guess\n").unwrap();
    let section = |password: &str| {
        format!(
            "[pacs]\nurl = '{}'\nmax_retry_s = 1\nusername = 'central'\npassword_file = '{password}'\n",
            pacs.url()
        )
    };
    let known = format!("[pacs.tls]\nca = '{ca}'\ncert = '{cert}'\nkey = '{key}'\n");
    let uncertified = setup(&broker, &format!("{}[pacs.tls]\nca = '{ca}'\n", section(&secret)));
    let mistaken = setup(&broker, &format!("{}{known}", section(&file("wrong"))));
    let setup = setup(&broker, &format!("{}{known}", section(&secret)));
    let central = setup.start_and_connect();
    let device = Device::connect(broker.port(), "cart-1");
    device.publish(&result(1));
    device.publish(&result(2));
    wait_for("an attempt", || central.log().contains("not handed on").then_some(()));
    pacs.launch();
    wait_for("four objects", || (pacs.objects().len() == 4).then_some(()));
    wait_for("nothing to wait", || setup.json(&["pacs", "list", "--json"]).is_empty().then_some(()));
    verify(&setup, &pacs.dir().join("objects"), &pacs.objects(), &[result(1), result(2)]);
    assert_eq!(setup.run(&["check"]).status.code(), Some(0));
    for (stranger, says) in [(&uncertified, "no answer from PACS"), (&mistaken, "401")] {
        let output = stranger.run(&["pacs", "echo"]);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(5), "{text}");
        assert!(text.contains(says), "{text}");
        for told in ["guess", "secret", "Y2VudHJhbDp"] {
            assert!(!text.contains(told), "{text}");
        }
    }
    for told in ["secret", "Y2VudHJhbDp"] {
        assert!(!central.log().contains(told), "{}", central.log());
    }
    assert!(central.stop().success());
}

/// With dciodvfy, highdicom and pycocotools.
fn verify(setup: &CentralSetup, folder: &Path, objects: &[PathBuf], results: &[ResultEnvelope]) {
    for object in objects {
        let output = Command::new("dciodvfy").arg(object).output().expect("dicom3tools is installed");
        let text = String::from_utf8_lossy(&output.stderr);
        let errors: Vec<&str> = text.lines().filter(|line| line.starts_with("Error")).collect();
        assert!(errors.is_empty(), "{errors:#?}");
        assert!(
            text.contains("Segmentation") || text.contains("SCImage") || text.contains("SecondaryCapture"),
            "{text}"
        );
    }
    let files: Vec<PathBuf> = results
        .iter()
        .map(|result| {
            let path = setup.dir().join(format!("{}.json", result.result_id));
            std::fs::write(&path, result.to_json()).unwrap();
            path
        })
        .collect();
    let mut arguments = vec![folder.to_str().unwrap()];
    arguments.extend(files.iter().map(|f| f.to_str().unwrap()));
    let seen: BTreeMap<String, u64> =
        serde_json::from_str(&python("python/segmentation.py", &arguments)).unwrap();
    assert_eq!((seen["segmentations"], seen["captures"]), (results.len() as u64, results.len() as u64));
    assert!(seen["pixels"] > 0);
}

#[test]
fn from_the_agents_folder_to_the_pacs_and_the_fleets_table() {
    let broker = Mosquitto::start();
    let mut scp = StoreScp::reserved();
    scp.launch();
    let setup = setup(&broker, &pacs(&scp));
    let central = setup.start_and_connect();
    let agent_setup = AgentSetup::new(AGENT, broker.port());
    let agent = agent_setup.start();
    phantom_dicom(&agent_setup.inbox().join("image.dcm"), 500, 700, 600);
    wait_for("the objects", || (scp.objects().len() == 2).then_some(()));
    let listed = setup.json(&["results", "list", "--json"]);
    assert_eq!(listed.len(), 1);
    let id = listed[0]["result_id"].as_str().unwrap();
    let message = shown(&setup, id);
    verify(&setup, scp.dir(), &scp.objects(), std::slice::from_ref(&message));

    let device = wait_for("the device's health", || {
        let device = setup.json(&["devices", "--json"]).pop()?;
        (!device["health"].is_null()).then_some(device)
    });
    assert_eq!((&device["site"], &device["device"]), (&"test-site".into(), &"cart-1".into()));
    assert_eq!((&device["status"], &device["results"]), (&"online".into(), &1.into()));
    assert_eq!(device["birth"]["model"]["sha256"], message.model.sha256.as_str());
    assert!(device["health"]["results_waiting"].is_u64());
    agent.kill();
    wait_for("the last will", || {
        (setup.json(&["devices", "--json"])[0]["status"] == "offline").then_some(())
    });

    let out = setup.dir().join("export");
    let radiograph = agent_setup.inbox().join("image.dcm");
    let (out_text, radiograph) = (out.to_str().unwrap(), radiograph.to_str().unwrap());
    let output = setup.run(&["results", "export", id, "--out", out_text, "--radiograph", radiograph]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for name in ["result.json", "overlay.png", "segmentation.dcm", "capture.dcm"] {
        assert!(out.join(name).exists(), "{name}");
    }
    let overlay = image::open(out.join("overlay.png")).unwrap();
    assert_eq!((overlay.height(), overlay.width()), (700, 600));
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
