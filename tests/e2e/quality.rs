//! The shipped network's masks, examined and measured by the agent: what a technician is told.

use std::path::{Path, PathBuf};

use e2e_tests::{AgentSetup, phantom_png, python, real_data, shipped_bundle, workspace};
use shared::anatomy::AnatomySpec;
use shared::bundle::{Bundle, MANIFEST, SIGNATURE, write_digests};
use shared::manifest::SCHEMA;
use shared::measure::CardiothoracicSpec;
use shared::message::{Message, ResultEnvelope};
use shared::phantom::Structure;

use crate::AGENT;

/// The shipped model with a manifest that names lungs and heart and asks for their ratio.
fn bundle(dir: &Path) -> PathBuf {
    let shipped = Bundle::open(&shipped_bundle()).unwrap();
    let dir = dir.join("bundle");
    std::fs::create_dir_all(dir.join("golden")).unwrap();
    for folder in ["", "golden"] {
        for entry in std::fs::read_dir(shipped.dir().join(folder)).unwrap().map(Result::unwrap) {
            // The signature is of the manifest as it was.
            if entry.path().is_file() && entry.file_name() != SIGNATURE {
                std::fs::copy(entry.path(), dir.join(folder).join(entry.file_name())).unwrap();
            }
        }
    }
    let mut manifest = shipped.manifest().clone();
    manifest.schema = SCHEMA;
    let label = |structure: Structure| Some(structure.label().to_owned());
    manifest.anatomy = AnatomySpec {
        left_lung: label(Structure::LeftLung),
        right_lung: label(Structure::RightLung),
        heart: label(Structure::Heart),
    };
    manifest.measurements.cardiothoracic_ratio = Some(CardiothoracicSpec::default());
    std::fs::write(dir.join(MANIFEST), manifest.to_toml().unwrap()).unwrap();
    write_digests(&dir).unwrap();
    dir
}

/// The results of `infer` for files, in their order, as JSON lines too.
fn infer(setup: &AgentSetup, files: &[PathBuf]) -> (String, Vec<ResultEnvelope>) {
    let bundle = bundle(&setup.inbox());
    let mut command =
        setup.command(&["infer", "--json", "--allow-unsigned", "--bundle", bundle.to_str().unwrap()]);
    let output = command.args(files).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let results = text.lines().map(|line| ResultEnvelope::parse(line.as_bytes()).unwrap()).collect();
    (text, results)
}

fn codes(result: &ResultEnvelope) -> Vec<&str> {
    result.quality.iter().map(|note| note.code.as_str()).collect()
}

#[test]
fn a_phantoms_heart_is_measured_and_its_inversion_seen() {
    let setup = AgentSetup::new(AGENT, 1);
    let (plain, inverted) = (setup.inbox().join("plain.png"), setup.inbox().join("inverted.png"));
    let phantom = phantom_png(&plain, 5, 500, 500);
    let mut image = image::open(&plain).unwrap();
    image.invert();
    image.save(&inverted).unwrap();
    let (text, results) = infer(&setup, &[plain, inverted]);
    let ratio = results[0].measurements.cardiothoracic_ratio.as_ref().unwrap();
    let drawn = phantom.params.anatomy.heart.cardiothoracic_ratio;
    assert!((ratio.ratio - drawn).abs() < 0.08, "{ratio}, drawn with {drawn}");
    assert!(!codes(&results[0]).contains(&"inverted_polarity"));
    assert!(codes(&results[1]).contains(&"inverted_polarity"), "{:?}", codes(&results[1]));
    let file = setup.inbox().join("results.ndjson");
    std::fs::write(&file, text).unwrap();
    let schema = workspace().join("shared/contract/result.schema.json");
    let count = python("python/validate_json.py", &[schema.to_str().unwrap(), file.to_str().unwrap()]);
    assert_eq!(count.trim(), "2");
}

#[test]
fn real_radiographs_of_other_parts_are_no_chest() {
    let Some(folder) = real_data("dicom/non_chest_controls") else { return };
    let files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    let (_, results) = infer(&AgentSetup::new(AGENT, 1), &files);
    assert!(results.len() >= 4);
    for (file, result) in files.iter().zip(&results) {
        assert!(codes(result).contains(&"not_frontal_chest"), "{}: {:?}", file.display(), codes(result));
    }
}
