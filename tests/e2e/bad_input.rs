//! Bad input: a clear error for each, and the agent goes on.

use std::path::Path;

use e2e_tests::{AgentSetup, Mosquitto, Subscriber, phantom_png, shipped_bundle, wait_for};

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
    let copy = setup.inbox().with_file_name("bundle");
    copy_folder(&shipped_bundle(), &copy);
    let graph = copy.join("model.onnx");
    let mut bytes = std::fs::read(&graph).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&graph, bytes).unwrap();
    let text = std::fs::read_to_string(setup.config()).unwrap();
    setup.write_config(&text.replace(shipped_bundle().to_str().unwrap(), "bundle"));
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
