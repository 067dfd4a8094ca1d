//! The trainer as a program: a whole study on phantoms, from image-level labels to the report, killed and resumed.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

const EXPERIMENT: &str = r##"
name = "tiny-study"
seed = 3

[[classes]]
label = "heart"
name = "Heart"
code = { scheme = "SCT", value = "80891009", meaning = "Heart structure" }
color = "#ff5c5c"

[[classes]]
label = "lung_opacity"
name = "Lung opacity"
code = { scheme = "99CHEXSEG", value = "lung-opacity", meaning = "Lung opacity" }
color = "#ffb347"

[[findings]]
label = "lung_opacity"
class = "lung_opacity"

[network]
width = "quarter"

[preprocess]
input_size = 64
filter = "bilinear"
low_percentile = 0.5
high_percentile = 99.5
mean = 0.5
std = 0.25

[data.phantoms]
format = "folder"
path = "phantoms"
image = "png/{filename}"
mask = "mask/{class}/{filename}"
patient = "{patient}"
classes = { heart = ["heart"], lung_opacity = ["lung_opacity"] }
findings = { lung_opacity = { column = "has_lung_opacity" } }

[classifier]
network = { backbone = "resnet18", width = "quarter", output_stride = 16 }
[classifier.training]
steps = 5
batch = 4
validate_every = 3
checkpoint_every = 1
keep = 2

[irnet.training]
steps = 4
batch = 2
optimizer = "sgd"
checkpoint_every = 1
validate_every = 4

[train]
steps = 6
batch = 2
validate_every = 3
checkpoint_every = 1

[consistency]
ramp = 2
views = { batch = 2, views = 2 }

[study]
seeds = [1, 2]
budgets = [3, 7]
reference = "strong"

[[study.arm]]
name = "strong"

[[study.arm]]
name = "grad-cam"
strong = false
pseudo = { saliency = "grad-cam", gate = "empty" }

[[study.arm]]
name = "chexseg"
pseudo = { saliency = "hires-cam", gate = "empty", irnet = true }
init = "classifier"
consistency = true

[[study.arm]]
name = "student"
teachers = "chexseg"
# All expert masks: its teachers of both seeds know no others.
budgets = [7]
"##;

/// A folder with phantoms in all splits and the experiment.
struct Workplace(tempfile::TempDir);

impl Workplace {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        let phantoms = place.path("phantoms");
        let output = place
            .trainer()
            .args(["phantom", "--count", "24", "--size", "128", "--out"])
            .arg(&phantoms)
            .output();
        assert_success(&output.unwrap());
        place.deal_splits();
        fs::write(place.path("experiment.toml"), EXPERIMENT).unwrap();
        place
    }

    /// The command makes all phantoms strong_train. Here those with and those without opacity are dealt out in the
    /// same way, so that every split has both.
    fn deal_splits(&self) {
        let table = self.path("phantoms/labels.csv");
        let text = fs::read_to_string(&table).unwrap();
        let (header, rows) = text.split_once('\n').unwrap();
        let column = header.split(',').position(|name| name == "has_lung_opacity").unwrap();
        let mut dealt = [0; 2];
        let mut lines = vec![header.to_owned()];
        for row in rows.lines() {
            let seen = &mut dealt[usize::from(row.split(',').nth(column) == Some("1"))];
            let split =
                ["weak", "strong_train", "strong_val", "strong_test", "weak", "strong_train"][*seen % 6];
            *seen += 1;
            lines.push(row.replace("strong_train", split));
        }
        assert!(dealt.iter().all(|n| *n >= 4), "{dealt:?}");
        fs::write(&table, lines.join("\n") + "\n").unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A small trained model under `run`.
    fn train(&self) {
        let arguments = ["train", "--config", "experiment.toml", "--out", "run", "--threads", "1"];
        assert_success(&self.trainer().args(arguments).output().unwrap());
    }

    fn trainer(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_trainer-under-test"));
        command.env("CHEXSEG_DATA", self.0.path()).current_dir(self.0.path());
        command
    }

    /// `run` with all its folders below `out`.
    fn run(&self, out: &str) -> Command {
        let mut command = self.trainer();
        command.args(["run", "experiment.toml", "--threads", "1", "--device", "cpu", "--out", out]);
        command
    }

    /// A file of the report.
    fn report(&self, out: &str, file: &str) -> PathBuf {
        let folders =
            fs::read_dir(self.path(out).join("tiny-study")).unwrap().map(|entry| entry.unwrap().path());
        let is_report = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().starts_with("report-");
        folders.into_iter().find(is_report).expect("a report").join(file)
    }
}

fn assert_success(output: &Output) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}\n{}", text(&output.stdout), text(&output.stderr));
}

fn lines(output: &Output) -> usize {
    String::from_utf8_lossy(&output.stdout).lines().filter(|line| line.starts_with('[')).count()
}

#[test]
fn a_study_goes_from_labels_to_the_report_and_a_killed_one_ends_in_the_same() {
    let place = Workplace::new();
    let output = place.run("whole").output().unwrap();
    assert_success(&output);
    let steps = lines(&output);
    assert!(steps > 20, "{steps} steps");

    // Nothing is left to do.
    let again = place.run("whole").output().unwrap();
    assert_success(&again);
    assert_eq!(lines(&again), 0);
    let plan = place.run("whole").arg("--dry-run").output().unwrap();
    assert!(!String::from_utf8_lossy(&plan.stdout).contains("to do"));

    // What was measured is there.
    let text = fs::read_to_string(place.report("whole", "results.json")).unwrap();
    let results: serde_json::Value = serde_json::from_str(&text).unwrap();
    let cells = results["cells"].as_array().unwrap();
    for arm in ["strong", "grad-cam", "chexseg", "student"] {
        let own = |cell: &&serde_json::Value| cell["arm"] == arm && cell["class"] == "lung_opacity";
        let cell = cells.iter().find(own).unwrap_or_else(|| panic!("no figure of {arm}"));
        assert_eq!(cell["seeds"].as_array().unwrap().len(), 2, "{arm}");
    }
    // An arm that never saw an expert mask is not judged on classes that nothing taught it.
    assert!(!cells.iter().any(|cell| cell["arm"] == "grad-cam" && cell["class"] == "heart"));
    assert!(!results["comparisons"].as_array().unwrap().is_empty());

    // Killed in a step of every kind, the end is the same to the last bit.
    let mut killed = BTreeSet::new();
    loop {
        let mut child = place.run("parts").stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut begun = BufReader::new(child.stdout.take().unwrap()).lines();
        // "[3/24] segmenter-strong-n3-s1"
        let fresh = begun.find_map(|line| {
            let line = line.unwrap();
            let kind = line.strip_prefix('[')?.split_once("] ")?.1.split('-').next()?.to_owned();
            killed.insert(kind).then_some(())
        });
        if fresh.is_none() {
            assert!(child.wait().unwrap().success());
            break;
        }
        std::thread::sleep(Duration::from_millis(40 * killed.len() as u64));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let kinds = ["classifier", "edges", "evaluation", "pseudo", "report", "saliency", "segmenter"];
    assert_eq!(killed.iter().map(String::as_str).collect::<Vec<_>>(), kinds);
    assert_success(&place.run("parts").output().unwrap());
    let parts = fs::read_to_string(place.report("parts", "results.json")).unwrap();
    assert!(parts == text, "the figures of the killed study differ");
}

#[test]
fn mistakes_are_named() {
    let place = Workplace::new();
    let fails = |change: (&str, &str), expected: &str| {
        let text = EXPERIMENT.replace(change.0, change.1);
        assert_ne!(text, EXPERIMENT, "{}", change.0);
        fs::write(place.path("broken.toml"), text).unwrap();
        let output = place.trainer().args(["run", "broken.toml", "--dry-run"]).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(error.contains(expected), "{error}");
    };
    fails(("has_lung_opacity", "has_opacity"), "has_opacity");
    fails(("reference = \"strong\"", "reference = \"none\""), "study.reference");
    fails(("name = \"student\"", "name = \"chexseg\""), "taken");
    fails(("teachers = \"chexseg\"", "teachers = \"later\""), "later");
    fails(("budgets = [7]", "budgets = [3]"), "more than 3");
    fails(("budgets = [3, 7]", "budgets = [3, 7, 99]"), "99 expert masks");
    fails(("width = \"quarter\"", "widht = \"quarter\""), "widht");
}

#[test]
fn a_full_disk_ends_a_training_with_the_remedy_and_it_goes_on_afterwards() {
    let place = Workplace::new();
    let train = |place: &Workplace| {
        let mut command = place.trainer();
        command.args(["train", "--config", "experiment.toml", "--out", "run", "--threads", "1"]);
        command
    };
    // The checkpoint is written beside its place first: a device that is always full lies there.
    fs::create_dir(place.path("run")).unwrap();
    let partial = place.path("run/latest.safetensors.partial");
    std::os::unix::fs::symlink(Path::new("/dev/full"), &partial).unwrap();
    let output = train(&place).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("No space left") && error.contains("free space"), "{error}");
    assert!(!place.path("run/latest.safetensors").exists());
    // Nothing half is left behind.
    assert!(fs::symlink_metadata(&partial).is_err());
    assert_success(&train(&place).output().unwrap());
    assert!(place.path("run/best.safetensors").exists());
}

#[test]
fn a_checkpoint_gives_the_same_signed_bundle_whenever_it_is_exported() {
    let place = Workplace::new();
    place.train();
    let keygen = ["bundle", "keygen", "--no-password", "--out", "maker.key"];
    assert_success(&place.trainer().args(keygen).output().unwrap());
    for out in ["a", "b"] {
        let export = ["export", "--config", "experiment.toml", "--run", "run", "--sign-key", "maker.key"];
        let mut command = place.trainer();
        command.args(export).args(["--device", "cpu", "--out", out]).env("SOURCE_DATE_EPOCH", "86400");
        assert_success(&command.output().unwrap());
    }
    let diff = Command::new("diff").args(["-r", "a", "b"]).current_dir(place.path("")).output().unwrap();
    assert_success(&diff);
    assert!(place.path("a/DIGESTS.minisig").exists());
    let manifest = fs::read_to_string(place.path("a/manifest.toml")).unwrap();
    assert!(manifest.contains("created = \"1970-01-02\""), "{manifest}");

    let bundle = |arguments: &[&str]| {
        let output = place.trainer().arg("bundle").args(arguments).output().unwrap();
        let told = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        (output.status.code(), told)
    };
    let (code, told) = bundle(&["verify", "a", "--key", "maker.pub"]);
    assert!(code == Some(0) && told.contains("chexseg bundle tiny-study"), "{told}");
    let (code, told) = bundle(&["verify", "a"]);
    assert!(code == Some(1) && told.contains("not trusted"), "{told}");
    let (code, told) = bundle(&["inspect", "a"]);
    assert!(code == Some(0) && told.contains("not trusted") && told.contains("Lung opacity"), "{told}");
    fs::write(place.path("a/MODEL_CARD.md"), "altered").unwrap();
    let (code, told) = bundle(&["verify", "a", "--key", "maker.pub"]);
    assert!(code == Some(1) && told.contains("MODEL_CARD.md is altered"), "{told}");
    let (code, told) = bundle(&["create", "a", "--key", "maker.pub"]);
    assert!(code == Some(1) && told.contains("no minisign secret key"), "{told}");
    let (code, told) = bundle(&["verify", "a", "--key", "maker.key"]);
    assert!(code == Some(2) && told.contains("no minisign public key"), "{told}");
    let (code, told) = bundle(&["keygen", "--no-password", "--out", "maker.key"]);
    assert!(code == Some(1) && told.contains("never overwritten"), "{told}");
}

#[test]
fn the_agent_is_shown_radiographs_clean_and_spoilt_and_the_card_tells() {
    let place = Workplace::new();
    place.train();
    let export = |more: &[&str]| {
        let arguments =
            ["export", "--config", "experiment.toml", "--run", "run", "--out", "bundle", "--device", "cpu"];
        place.trainer().args(arguments).args(more).output().unwrap()
    };
    assert_success(&export(&[]));
    let mut gallery = place.trainer();
    gallery.args([
        "gallery",
        "--config",
        "experiment.toml",
        "--bundle",
        "bundle",
        "--out",
        "look",
        "--stress",
    ]);
    gallery.args(["--folder", "strangers=phantoms/png", "--most", "3", "--agent", crate::AGENT]);
    assert_success(&gallery.output().unwrap());

    let path = place.path("look/examination.json");
    let text = fs::read_to_string(&path).unwrap();
    let figures: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(figures["stress"].as_array().unwrap().len(), 26);
    let remarks = figures["remarks"].as_array().unwrap();
    assert!(remarks.iter().any(|row| row["set"] == "strangers" && row["images"] == 3), "{text}");
    assert!(remarks.iter().all(|row| row["refused"] == 0), "{text}");
    let page = fs::read_to_string(place.path("look/gallery.html")).unwrap();
    assert!(page.contains("data:image/jpeg") && page.contains("flipped sides"));
    assert!(!place.path("look/scratch").exists());

    let examination = ["--examination", "look/examination.json"];
    assert_success(&export(&examination));
    let card = fs::read_to_string(place.path("bundle/MODEL_CARD.md")).unwrap();
    assert!(card.contains("### Under stress") && card.contains("brighter gamma"), "{card}");
    // Figures of another graph are not for this card.
    let graph = figures["model"].as_str().unwrap();
    fs::write(&path, text.replace(graph, &"0".repeat(64))).unwrap();
    let output = export(&examination);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && error.contains("host-trainer gallery"), "{error}");
}
