//! The shipped network's masks, examined and measured by the agent: what a technician is told.

use std::path::PathBuf;

use e2e_tests::{AgentSetup, phantom_png, python, real_data, shipped_bundle, workspace};
use shared::message::{Message, ResultEnvelope};

use crate::AGENT;

/// The results of `infer` for files, in their order, as JSON lines too.
fn infer(setup: &AgentSetup, files: &[PathBuf]) -> (String, Vec<ResultEnvelope>) {
    let bundle = shipped_bundle();
    let mut command = setup.command(&["infer", "--json", "--bundle", bundle.to_str().unwrap()]);
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
    let phantom = phantom_png(&plain, 11, 500, 500);
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
        let codes = codes(result);
        // Where nothing is found there is nothing that could lie wrongly: one remark or the other, as it is.
        let is_empty = result.findings.iter().all(|finding| finding.area_px == 0);
        let told = if is_empty { "nothing_found" } else { "not_frontal_chest" };
        assert!(codes.contains(&told), "{}: {codes:?}", file.display());
    }
}
