//! The program as a user runs it: output, files, exit codes.

#![allow(clippy::unwrap_used, reason = "these are tests, helpers too")]

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use edge_agent::exit_code::Exit;
use edge_agent::specimen::dicom_file;
use edge_agent::testing::{disc, write_bundle};
use shared::mask::Mask;
use shared::message::{Message, ResultEnvelope};

struct Desk {
    dir: tempfile::TempDir,
}

impl Desk {
    /// A folder with a bundle and some good and bad files.
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("model")).unwrap();
        write_bundle(&dir.path().join("model")).unwrap();
        fs::create_dir_all(dir.path().join("in/more")).unwrap();
        let put = |name: &str, bytes: &[u8]| fs::write(dir.path().join("in").join(name), bytes).unwrap();
        put("chest.dcm", &dicom_file(&disc(), &"1.2.840.5".parse().unwrap()));
        disc().to_image16().save(dir.path().join("in/more/chest.png")).unwrap();
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_edge-agent"));
        command.args(args).current_dir(self.dir.path()).env("CHEXSEG_BUNDLE", self.path("model"));
        command
    }
}

fn exit(output: &Output) -> Option<i32> {
    output.status.code()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn infer_prints_an_envelope_a_line_and_writes_masks_of_the_images_size() {
    let desk = Desk::new();
    let output = desk.run(&["infer", "--allow-unsigned", "--json", "--out", "out", "in"]);
    assert_eq!(exit(&output), Some(i32::from(Exit::Ok.code())), "{}", text(&output.stderr));
    let stdout = text(&output.stdout);
    let envelopes: Vec<ResultEnvelope> =
        stdout.lines().map(|line| ResultEnvelope::parse(line.as_bytes()).unwrap()).collect();
    assert_eq!(envelopes.iter().map(|e| e.seq).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(envelopes[0].image.sop_instance_uid.as_str(), "1.2.840.5");
    let mut names: Vec<String> = fs::read_dir(desk.path("out"))
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let expected = ["chest-2.bright.png", "chest-2.dark.png", "chest-2.overlay.png"];
    assert_eq!(names[..3], expected);
    assert_eq!(names[3..], expected.map(|n| n.replace("-2", "")));
    let mask = image::open(desk.path("out/chest.bright.png")).unwrap().into_luma8();
    assert!(mask.pixels().all(|p| matches!(p.0[0], 0 | 255)));
    let published = envelopes[0].findings[0].mask.decode().unwrap();
    assert_eq!(Mask::from_gray(&mask), published, "96 × 128 is below the published limit");
}

#[test]
fn a_bad_file_is_named_and_the_rest_is_done() {
    let desk = Desk::new();
    fs::write(desk.path("in/letter.dcm"), b"Dear colleague").unwrap();
    fs::write(desk.path("in/zero.png"), b"").unwrap();
    let output = desk.run(&["infer", "--allow-unsigned", "in", "absent.dcm"]);
    assert_eq!(exit(&output), Some(i32::from(Exit::SomeInputFailed.code())));
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(stdout.contains("What is bright") && stdout.contains("chest.png"), "{stdout}");
    for line in ["letter.dcm: not a DICOM", "zero.png: the file is empty", "absent.dcm", "3 of 5 files"] {
        assert!(stderr.contains(line), "{line}: {stderr}");
    }
}

#[test]
fn an_altered_bundle_has_a_code_of_its_own() {
    let desk = Desk::new();
    fs::write(desk.path("model/model.onnx"), b"evil").unwrap();
    for args in [
        &["infer", "--allow-unsigned", "in"][..],
        &["check", "--allow-unsigned"],
        &["bench", "--allow-unsigned", "--iterations", "1"],
    ] {
        let output = desk.run(args);
        assert_eq!(exit(&output), Some(i32::from(Exit::Bundle.code())), "{args:?}");
        // A table may break the line.
        let shown = text(&output.stdout) + &text(&output.stderr);
        assert!(shown.contains("altered"), "{args:?}: {shown}");
    }
}

#[test]
fn a_bundle_that_nobody_signed_is_refused_with_the_remedy_unless_allowed() {
    let desk = Desk::new();
    for args in [&["infer", "in"][..], &["check"], &["bench", "--iterations", "1"], &["demo", "in"]] {
        let output = desk.run(args);
        assert_eq!(exit(&output), Some(i32::from(Exit::Bundle.code())), "{args:?}");
        let shown = text(&output.stdout) + &text(&output.stderr);
        for part in ["DIGESTS.minisig", "--allow-unsigned"] {
            assert!(shown.contains(part), "{args:?}: {shown}");
        }
    }
    let output = desk.run(&["infer", "--allow-unsigned", "in"]);
    assert_eq!(exit(&output), Some(i32::from(Exit::Ok.code())));
    assert!(text(&output.stderr).contains("warning: the bundle is NOT SIGNED"), "{}", text(&output.stderr));
}

#[test]
fn check_passes_a_good_bundle_and_names_a_bad_key() {
    let desk = Desk::new();
    let output = desk.run(&["check", "--allow-unsigned"]);
    assert_eq!(exit(&output), Some(0), "{}", text(&output.stdout));
    assert!(text(&output.stdout).contains("golden images"));
    fs::write(desk.path("agent.toml"), "colour = 'red'\n").unwrap();
    for command in ["check", "run"] {
        let output = desk.run(&[command, "--config", "agent.toml"]);
        assert_eq!(exit(&output), Some(i32::from(Exit::Config.code())), "{command}");
        let shown = text(&output.stdout) + &text(&output.stderr);
        assert!(shown.contains("colour"), "{command}: {shown}");
    }
}

#[test]
fn instructions_that_there_are_not_are_refused_at_the_start() {
    let desk = Desk::new();
    let config = "site='s'\ndevice='d'\nbundle='model'\nallow_unsigned=true\nstate_dir='state'\n[mqtt]\n\
                  host='127.0.0.1'\nport=9\n[watch_folder]\npath='in'\n";
    fs::write(desk.path("agent.toml"), config).unwrap();
    let absent = if cfg!(target_arch = "x86_64") { "neon" } else { "avx2" };
    for args in [
        &["infer", "--allow-unsigned", "in"][..],
        &["check", "--allow-unsigned"],
        &["check", "--config", "agent.toml"],
        &["run", "--config", "agent.toml"],
        &["bench", "--allow-unsigned", "--iterations", "1"],
    ] {
        for name in ["sse9", absent] {
            let output = desk.command(args).env("CXR_ISA", name).output().unwrap();
            let shown = text(&output.stdout) + &text(&output.stderr);
            assert_eq!(exit(&output), Some(i32::from(Exit::Config.code())), "{args:?}: {shown}");
            assert!(shown.contains(name) && shown.contains("CXR_ISA"), "{args:?}: {shown}");
        }
    }
}

#[test]
fn bench_tells_the_instructions_and_what_became_of_the_nodes() {
    let desk = Desk::new();
    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/chexseg-edge/model.onnx");
    let bench = |args: &[&str]| {
        let args = [&["bench", "--iterations", "1"][..], args].concat();
        let output = desk.command(&args).env("CXR_ISA", "scalar").output().unwrap();
        assert_eq!(exit(&output), Some(0), "{}", text(&output.stderr));
        text(&output.stdout)
    };
    let shown = bench(&["--onnx", shipped]);
    assert!(shown.contains("on qdq on scalar in tract, 1 thread\n"), "{shown}");
    assert!(shown.contains("lowered to scalar: ") && shown.contains("left to tract: nothing\n"), "{shown}");
    let json: serde_json::Value = serde_json::from_str(&bench(&["--onnx", shipped, "--json"])).unwrap();
    assert_eq!(json["nodes"]["isa"], "scalar");
    assert!(json["nodes"]["lowered"].as_array().unwrap().len() > 10, "{json}");
    let shown = bench(&["--allow-unsigned"]);
    assert!(
        shown.contains("lowered to scalar: nothing\nleft to tract: Conv 'head': "),
        "no node of a float graph is lowered: {shown}"
    );
}

#[test]
fn a_wrong_command_line_is_explained() {
    let desk = Desk::new();
    let output = desk.run(&["infer"]);
    assert_eq!(exit(&output), Some(i32::from(Exit::Usage.code())));
    assert!(text(&output.stderr).contains("Usage"));
}
