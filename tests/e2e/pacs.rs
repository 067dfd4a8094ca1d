//! Devices → mosquitto → central → PACS: DICOM objects that others can read.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use e2e_tests::{
    AgentSetup, CentralSetup, Device, Mosquitto, Orthanc, StoreScp, phantom_dicom, python, result, wait_for,
};
use shared::message::{Message as _, ResultEnvelope};

use crate::AGENT;
use crate::central::{setup, shown};

pub(crate) fn pacs(scp: &StoreScp) -> String {
    format!("[pacs]\nhost = '127.0.0.1'\nport = {}\ncalled_ae_title = 'PACS'\nmax_retry_s = 1\n", scp.port())
}

/// Whoever has an object has written it when he says so, not when its file is there.
fn nothing_waits(setup: &CentralSetup) {
    wait_for("nothing to wait", || {
        let left = setup.json(&["pacs", "list", "--json"]);
        left.iter().all(|row| row["state"] == "skipped").then_some(())
    });
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
    nothing_waits(&setup);
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
    nothing_waits(&setup);
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
    nothing_waits(&setup);
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
