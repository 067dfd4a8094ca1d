//! Units that others built → agent → mosquitto → subscriber.

use std::collections::BTreeSet;
use std::net::TcpStream;
use std::path::{Path, PathBuf};

use e2e_tests::{
    Agent, AgentSetup, Mosquitto, Subscriber, Unit, certificates, convert, dicom_file, free_port, python,
    stored, wait_for,
};
use shared::message::ResultEnvelope;
use shared::phantom::{PhantomParams, render};
use shared::pixel::PixelFrame;

use crate::AGENT;

/// A device whose SCP listens, its broker and its central.
struct Site {
    _broker: Mosquitto,
    central: Subscriber,
    setup: AgentSetup,
    port: u16,
}

impl Site {
    fn new(more: &str) -> Self {
        let broker = Mosquitto::start();
        let central = Subscriber::start(broker.port());
        let setup = AgentSetup::new(AGENT, broker.port());
        let port = free_port();
        setup.add_config(&format!("[dicom]\nlisten = '127.0.0.1:{port}'\n{more}"));
        Self { _broker: broker, central, setup, port }
    }

    /// Starts the agent, and waits until it listens.
    fn start(&self) -> Agent {
        let agent = self.setup.start();
        wait_for("the SCP to listen", || TcpStream::connect(("127.0.0.1", self.port)).ok());
        agent
    }

    fn unit(&self) -> Unit {
        Unit::new(self.port)
    }

    fn file(&self, name: &str, frame: &PixelFrame, uid: &str) -> PathBuf {
        let path = self.setup.path(name);
        dicom_file(&path, frame, uid);
        path
    }

    fn results(&self, count: usize) -> Vec<ResultEnvelope> {
        let ids =
            |results: &[ResultEnvelope]| results.iter().map(|r| r.result_id).collect::<BTreeSet<_>>().len();
        wait_for("the results", || Some(self.central.results()).filter(|results| ids(results) >= count))
    }
}

fn chest(seed: u64) -> PixelFrame {
    render(&PhantomParams::random(seed, 400, 360)).unwrap().frame
}

#[test]
fn every_transfer_syntax_of_dcmtk_gives_the_masks_of_the_uncompressed_image() {
    let site = Site::new("");
    let agent = site.start();
    assert!(site.unit().echo());
    let send = |options: &[&str], file: PathBuf| {
        let output = site.unit().store(options, &[file]);
        assert_eq!(stored(&output), 1, "{options:?}: {output:?}");
    };
    let plain = |uid: &str| site.file(&format!("{uid}.dcm"), &chest(500), uid);
    send(&[], plain("1.2.1"));
    send(&["-xi"], plain("1.2.2"));
    for (uid, tool, how, propose) in [
        ("1.2.3", "dcmcrle", &[][..], "-xr"),
        ("1.2.4", "dcmcjpeg", &["+e1"][..], "-xs"),
        ("1.2.5", "dcmcjpls", &[][..], "-xt"),
        ("1.2.6", "dcmconv", &["+td"][..], "-xd"),
    ] {
        let converted = site.setup.path(&format!("{uid}.converted.dcm"));
        convert(tool, how, &plain(uid), &converted);
        send(&[propose], converted);
    }
    let (port, file) = (site.port.to_string(), plain("1.2.7"));
    let statuses = python("python/pynetdicom_send.py", &[&port, file.to_str().unwrap(), "--jpeg2000"]);
    assert_eq!(statuses.trim(), "0000");

    let results = site.results(7);
    let masks: BTreeSet<String> = results
        .iter()
        .map(|r| r.findings.iter().map(|f| f.mask.counts.as_str()).collect::<Vec<_>>().join(" "))
        .collect();
    assert_eq!(masks.len(), 1, "all are lossless");
    assert!(results.iter().any(|result| result.findings.iter().any(|finding| finding.area_px > 0)));
    assert!(agent.stop().success());
}

#[test]
fn an_image_sent_again_has_one_result_and_other_pixels_under_its_uid_have_another() {
    let site = Site::new("");
    let agent = site.start();
    let first = site.file("first.dcm", &chest(501), "1.2.840.7");
    let twice = [first.clone(), first];
    assert_eq!(stored(&site.unit().store(&[], &twice)), 2);
    site.results(1);
    // The same pixels in another file, after their result was acknowledged.
    let compressed = site.setup.path("compressed.dcm");
    convert("dcmcrle", &[], &twice[0], &compressed);
    wait_for("the acknowledgement", || agent.log().contains("acknowledged by central").then_some(()));
    assert_eq!(stored(&site.unit().store(&["-xr"], &[compressed])), 1);
    wait_for("the second look", || agent.log().contains("its result was delivered before").then_some(()));
    let other = site.file("other.dcm", &chest(502), "1.2.840.7");
    assert_eq!(stored(&site.unit().store(&[], &[other])), 1);
    let results = site.results(2);
    assert_eq!(results.len(), 2, "the image that came three times was published once");
    let [first, other] = &results[..] else { unreachable!() };
    assert_eq!(first.image.sop_instance_uid, other.image.sop_instance_uid);
    assert_eq!(first.image.revision, None);
    assert!(other.image.revision.is_some());
    assert!(other.quality.iter().any(|note| note.code == "sop_instance_uid_reused"), "{:?}", other.quality);
    assert!(agent.stop().success());
}

#[test]
fn units_need_the_sites_certificate_where_it_is_asked_for() {
    let site = Site::new("[dicom.tls]\ncert = 'cert.pem'\nkey = 'key.pem'\nclient_ca = 'ca.pem'\n");
    let file = |name: &str| site.setup.path(name).to_str().unwrap().to_owned();
    certificates(site.setup.path("").as_path());
    let strangers = site.setup.path("strangers");
    std::fs::create_dir(&strangers).unwrap();
    certificates(&strangers);
    let agent = site.start();
    let image = site.file("image.dcm", &chest(505), "1.2.840.10");
    let with = |key: &str, cert: &str| {
        let (key, cert, ca) = (file(key), file(cert), file("ca.pem"));
        stored(&site.unit().store(&["+tls", &key, &cert, "+cf", &ca], std::slice::from_ref(&image)))
    };
    assert_eq!(stored(&site.unit().store(&[], std::slice::from_ref(&image))), 0, "without TLS");
    assert_eq!(with("strangers/key.pem", "strangers/cert.pem"), 0, "with a stranger's certificate");
    assert_eq!(with("key.pem", "cert.pem"), 1);
    assert_eq!(site.results(1).len(), 1);
    assert!(agent.stop().success());
}

#[test]
fn an_object_that_is_none_is_refused_and_the_next_one_taken() {
    let site = Site::new("");
    let agent = site.start();
    let good = site.file("good.dcm", &chest(503), "1.2.840.8");
    let bytes = std::fs::read(&good).unwrap();
    let bad = site.setup.path("bad.dcm");
    // Rows (0028,0010) of 0, which no image has.
    let rows = [0x28, 0, 0x10, 0, b'U', b'S', 2, 0];
    let at = bytes.windows(rows.len()).position(|window| window == rows).unwrap() + rows.len();
    std::fs::write(&bad, [&bytes[..at], &[0, 0], &bytes[at + 2..]].concat()).unwrap();
    let output = site.unit().store(&[], &[bad, good]);
    let text = String::from_utf8_lossy(&output.stderr) + String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("Error: CannotUnderstand"), "{text}");
    assert_eq!(stored(&output), 1, "{text}");
    assert_eq!(site.results(1).len(), 1);
    let log = agent.log();
    assert!(log.contains("Rows (0028,0010) is 0"), "{log}");
    assert!(agent.stop().success());
}

#[test]
fn the_queue_is_seen_and_what_was_set_aside_is_retried_exported_and_purged() {
    let site = Site::new("");
    // JPEG-LS that is damaged behind its header passes the first look.
    let plain = site.file("plain.dcm", &chest(504), "1.2.840.9");
    let damaged = site.setup.path("damaged.dcm");
    convert("dcmcjpls", &[], &plain, &damaged);
    let mut bytes = std::fs::read(&damaged).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 2000].fill(0xFF);
    std::fs::write(&damaged, &bytes).unwrap();
    let agent = site.start();
    assert_eq!(stored(&site.unit().store(&["-xt"], &[damaged])), 1);
    wait_for("it to be set aside", || agent.log().contains("set aside").then_some(()));
    let config = site.setup.config();
    let queue = |arguments: &[&str]| {
        let output =
            site.setup.command(&["queue", "--config"]).arg(&config).args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let listed: serde_json::Value = serde_json::from_str(queue(&["list", "--json"]).trim()).unwrap();
    assert_eq!(listed["state"], "set aside");
    assert!(listed["reason"].as_str().unwrap().contains("JPEG-LS"), "{listed}");
    let id = listed["image"].as_str().unwrap().to_owned();
    assert!(queue(&["show", &id[..8]]).contains(&id));
    assert!(queue(&["list"]).contains(&id[..12]));
    let exported = queue(&["export", &id[..8], "--out", "look"]);
    let copy = std::fs::read(site.setup.path("look").join(format!("{}.dcm", &id[..12]))).unwrap();
    assert_eq!(shared::bundle::sha256_hex(&copy), id, "{exported}");
    let before = agent.log().matches("set aside").count();
    assert!(queue(&["retry", "--all"]).starts_with("1 image"));
    wait_for("the retry to fail again", || (agent.log().matches("set aside").count() > before).then_some(()));
    assert!(queue(&["purge", &id]).starts_with("1 image"));
    assert!(queue(&["list"]).contains("0 images"));
    assert!(!Path::new(&site.setup.path("state/images")).join(&id).exists());
    assert!(agent.stop().success());
}
