//! Bad input: a clear error for each, and the agent goes on.

use std::path::{Path, PathBuf};

use e2e_tests::{AgentSetup, Mosquitto, Subscriber, phantom_png, shipped_bundle, wait_for};
use host_trainer::bundle::{Protection, SecretKey, create, keygen};
use shared::bundle::{PublicKey, SIGNATURE, Signature, write_digests};
use shared::message::{Birth, Message as _};
use shared::topic::Channel;

use crate::AGENT;

/// Files that are no radiographs, by name.
fn write_bad_files(folder: &Path) -> Vec<&'static str> {
    let good = folder.join("good.tmp");
    phantom_png(&good, 1, 300, 300);
    let png = std::fs::read(&good).unwrap();
    std::fs::remove_file(&good).unwrap();
    // A valid header of 20 000 × 20 000 over a little data; the checksum is made right, so that only the size
    // can be objected to.
    let mut huge = png.clone();
    huge[16..20].copy_from_slice(&20_000_u32.to_be_bytes());
    huge[20..24].copy_from_slice(&20_000_u32.to_be_bytes());
    let crc = crc32(&huge[12..29]);
    huge[29..33].copy_from_slice(&crc.to_be_bytes());
    let files: [(&str, &[u8]); 4] = [
        ("truncated.png", &png[..png.len() / 2]),
        ("zero.png", b""),
        ("huge.png", &huge),
        ("text.dcm", b"This is a shopping list, not a radiograph.\n"),
    ];
    for (name, bytes) in files {
        std::fs::write(folder.join(name), bytes).unwrap();
    }
    files.map(|(name, _)| name).to_vec()
}

/// CRC-32 as PNG uses it (ISO 3309), bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |c, _| if c & 1 == 1 { (c >> 1) ^ 0xEDB8_8320 } else { c >> 1 })
    })
}

#[test]
fn infer_names_each_bad_file_and_goes_on() {
    let setup = AgentSetup::new(AGENT, 1);
    let names = write_bad_files(&setup.inbox());
    phantom_png(&setup.inbox().join("zz-good.png"), 2, 400, 400);
    let bundle = shipped_bundle();
    let output =
        setup.command(&["infer", "--json", "--bundle", bundle.to_str().unwrap(), "inbox"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let errors = String::from_utf8(output.stderr).unwrap();
    for name in names {
        let line = errors
            .lines()
            .find(|l| l.contains(name))
            .unwrap_or_else(|| panic!("{name} is not named:\n{errors}"));
        assert!(line.len() > name.len() + 20, "no reason: {line}");
    }
    assert!(errors.lines().any(|l| l.contains("huge.png") && l.contains("20000")), "{errors}");
    assert_eq!(String::from_utf8(output.stdout).unwrap().lines().count(), 1, "the good file has its result");
}

#[test]
fn the_daemon_sets_bad_files_aside_and_goes_on() {
    let broker = Mosquitto::start();
    let central = Subscriber::start(broker.port());
    let setup = AgentSetup::new(AGENT, broker.port());
    write_bad_files(&setup.inbox());
    let mut agent = setup.start();
    phantom_png(&setup.inbox().join("zz-good.png"), 3, 400, 400);
    wait_for("the good image's result", || (central.results().len() == 1).then_some(()));
    assert!(agent.is_running());
    let log = agent.log();
    for name in ["truncated", "huge", "text.dcm", "zz-good", "shopping"] {
        assert!(!log.contains(name), "a file name may hold a patient's name, and the log has {name}:\n{log}");
    }
    assert!(agent.stop().success());
}

#[test]
fn a_wrong_configuration_is_named_with_its_key() {
    let setup = AgentSetup::new(AGENT, 1);
    let text = std::fs::read_to_string(setup.config()).unwrap();
    setup.write_config(&format!("sight = 'x'\n{text}"));
    for command in ["run", "check"] {
        let output = setup.command(&[command, "--config", "agent.toml"]).output().unwrap();
        assert_eq!(output.status.code(), Some(3), "{command}");
        let all = [output.stdout, output.stderr].concat();
        assert!(
            String::from_utf8_lossy(&all).contains("sight"),
            "{command}: {}",
            String::from_utf8_lossy(&all)
        );
    }
}

#[test]
fn a_corrupt_bundle_is_refused_by_every_command() {
    let broker = Mosquitto::start();
    let setup = AgentSetup::new(AGENT, broker.port());
    let graph = own_bundle(&setup).join("model.onnx");
    let mut bytes = std::fs::read(&graph).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&graph, bytes).unwrap();
    phantom_png(&setup.inbox().join("good.png"), 4, 300, 300);
    for arguments in [
        &["run", "--config", "agent.toml"][..],
        &["check", "--config", "agent.toml"],
        &["infer", "--bundle", "bundle", "inbox/good.png"],
        &["bench", "--bundle", "bundle"],
    ] {
        let output = setup.command(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(4), "{arguments:?}");
        let all = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&all);
        assert!(text.contains("model.onnx") && text.contains("altered"), "{arguments:?}: {text}");
    }
}

/// The shipped bundle's copy beside the configuration, which names it.
fn own_bundle(setup: &AgentSetup) -> PathBuf {
    let copy = setup.inbox().with_file_name("bundle");
    copy_folder(&shipped_bundle(), &copy);
    let text = std::fs::read_to_string(setup.config()).unwrap();
    setup.write_config(&text.replace(shipped_bundle().to_str().unwrap(), "bundle"));
    copy
}

/// Every command refuses the bundle and says these things.
fn assert_refused(setup: &AgentSetup, told: &[&str]) {
    for arguments in [
        &["run", "--config", "agent.toml"][..],
        &["check", "--config", "agent.toml"],
        &["check", "--bundle", "bundle"],
        &["infer", "--bundle", "bundle", "inbox"],
        &["bench", "--bundle", "bundle"],
        &["demo", "--bundle", "bundle"],
    ] {
        let output = setup.command(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(4), "{arguments:?}");
        let all = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&all);
        for part in told {
            assert!(text.contains(part), "{part}: {arguments:?}: {text}");
        }
    }
}

fn new_key(setup: &AgentSetup) -> (SecretKey, String) {
    let made = keygen(&setup.inbox().with_file_name("a.key"), Protection::None).unwrap();
    (SecretKey::load(&made.secret, || panic!("it has no password")).unwrap(), made.line)
}

#[test]
fn a_bundle_that_was_altered_with_its_digests_is_refused_and_allowing_unsigned_ones_does_not_help() {
    let setup = AgentSetup::new(AGENT, 1);
    let bundle = own_bundle(&setup);
    std::fs::write(bundle.join("MODEL_CARD.md"), "Works on every hand.\n").unwrap();
    assert_refused(&setup, &["MODEL_CARD.md", "altered"]);
    write_digests(&bundle).unwrap();
    assert_refused(&setup, &["DIGESTS.minisig", "was altered", "copy the bundle again"]);
    let output = setup.command(&["check", "--allow-unsigned", "--bundle", "bundle"]).output().unwrap();
    assert_eq!(output.status.code(), Some(4));
    std::fs::write(bundle.join(SIGNATURE), "untrusted comment: none\n").unwrap();
    assert_refused(&setup, &["DIGESTS.minisig is no minisign signature", "copy the bundle again"]);
}

#[test]
fn a_bundle_that_is_not_signed_is_refused_with_the_remedy() {
    let setup = AgentSetup::new(AGENT, 1);
    std::fs::remove_file(own_bundle(&setup).join(SIGNATURE)).unwrap();
    assert_refused(&setup, &["not signed", "DIGESTS.minisig", "bundle create", "allow_unsigned"]);
}

#[test]
fn a_bundle_that_is_signed_by_another_key_is_refused_until_that_key_is_trusted() {
    let broker = Mosquitto::start();
    let central = Subscriber::start(broker.port());
    let setup = AgentSetup::new(AGENT, broker.port());
    let bundle = own_bundle(&setup);
    let (key, line) = new_key(&setup);
    create(&bundle, &key).unwrap();
    let (ours, theirs) = (key.public().id().to_string(), PublicKey::project().id().to_string());
    assert_refused(&setup, &[&ours, &theirs, "not trusted", "trusted_keys"]);
    let check = ["check", "--bundle", "bundle", "--trusted-key", &line];
    assert!(setup.command(&check).output().unwrap().status.success());

    let text = std::fs::read_to_string(setup.config()).unwrap();
    setup.write_config(&format!("trusted_keys = ['{line}']\n{text}"));
    let agent = setup.start();
    let birth = birth(&central);
    let comment = format!("chexseg bundle {} {}", birth.model.name, birth.model.version);
    assert_eq!(birth.signature, Some(Signature::Verified { key_id: key.public().id(), comment }));
    assert!(agent.stop().success());
}

#[test]
fn an_unsigned_bundle_that_is_allowed_runs_and_birth_and_log_say_so() {
    let broker = Mosquitto::start();
    let central = Subscriber::start(broker.port());
    let setup = AgentSetup::new(AGENT, broker.port());
    std::fs::remove_file(own_bundle(&setup).join(SIGNATURE)).unwrap();
    let text = std::fs::read_to_string(setup.config()).unwrap();
    setup.write_config(&format!("allow_unsigned = true\n{text}"));
    let agent = setup.start();
    assert_eq!(birth(&central).signature, Some(Signature::Unsigned));
    let log = agent.log();
    assert!(log.contains("WARN") && log.contains("nobody answers for the bundle"), "{log}");
    assert!(agent.stop().success());
    let output = setup.command(&["check", "--config", "agent.toml"]).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains("NOT SIGNED"));
}

fn birth(central: &Subscriber) -> Birth {
    let payload = wait_for("the birth", || central.payloads(&Channel::Birth).pop());
    Birth::parse(&payload).unwrap()
}

#[test]
fn check_passes_a_sound_device_and_says_what_is_wrong_with_another() {
    let mut broker = Mosquitto::start();
    let setup = AgentSetup::new(AGENT, broker.port());
    let output = setup.command(&["check", "--config", "agent.toml"]).output().unwrap();
    let all = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert_eq!(output.status.code(), Some(0), "{all}");
    broker.kill();
    let output = setup.command(&["check", "--config", "agent.toml"]).output().unwrap();
    let all = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert_eq!(output.status.code(), Some(5), "{all}");
    assert!(all.contains(&format!("127.0.0.1:{}", broker.port())), "{all}");
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
