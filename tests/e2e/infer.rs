//! `infer` as a person uses it.

use e2e_tests::{AgentSetup, phantom_png, real_data, shipped_bundle};
use shared::bundle::Bundle;
use shared::mask::Mask;
use shared::message::{Message, ResultEnvelope};
use shared::phantom::Structure;

use crate::AGENT;

/// What every chest has.
const ANATOMY: [Structure; 3] = [Structure::LeftLung, Structure::RightLung, Structure::Heart];

fn infer(setup: &AgentSetup, arguments: &[&str]) -> std::process::Output {
    let bundle = shipped_bundle();
    setup.command(&["infer", "--bundle", bundle.to_str().unwrap()]).args(arguments).output().unwrap()
}

#[test]
fn masks_and_overlay_are_written_at_source_resolution_and_show_the_phantom() {
    let setup = AgentSetup::new(AGENT, 1);
    let phantom = phantom_png(&setup.inbox().join("chest.png"), 11, 900, 750);
    let output = infer(&setup, &["--out", "out", "inbox/chest.png"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let table = String::from_utf8(output.stdout).unwrap();
    let bundle = Bundle::open(&shipped_bundle()).unwrap();
    let out = setup.inbox().with_file_name("out");
    let mut judged = 0;
    for class in &bundle.manifest().classes {
        let mask = image::open(out.join(format!("chest.{}.png", class.label))).unwrap().into_luma8();
        assert_eq!(mask.dimensions(), (750, 900));
        assert!(mask.as_raw().iter().all(|&v| v == 0 || v == 255));
        // A phantom's opacities and devices are another matter.
        if let Some(structure) = ANATOMY.into_iter().find(|s| s.label() == class.label) {
            assert!(table.contains(&class.name), "{} is missing in:\n{table}", class.name);
            let iou = Mask::from_gray(&mask).iou(phantom.mask(structure));
            assert!(iou > 0.7, "{}: IoU {iou:.3} with the phantom's exact mask", class.label);
            judged += 1;
        }
    }
    assert_eq!(judged, 3);
    assert!(image::open(out.join("chest.overlay.png")).is_ok());
}

#[test]
fn json_is_one_strict_envelope_a_line_and_the_same_for_the_same_image() {
    let setup = AgentSetup::new(AGENT, 1);
    phantom_png(&setup.inbox().join("a.png"), 12, 400, 400);
    std::fs::copy(setup.inbox().join("a.png"), setup.inbox().join("b.png")).unwrap();
    let output = infer(&setup, &["--json", "inbox"]);
    let text = String::from_utf8(output.stdout).unwrap();
    let results: Vec<_> = text.lines().map(|l| ResultEnvelope::parse(l.as_bytes()).unwrap()).collect();
    assert_eq!(results.len(), 2);
    assert_eq!(results[0].result_id, results[1].result_id, "the content decides, not the name");
    assert_eq!(results[0].findings, results[1].findings);
}

#[test]
fn every_real_chest_dicom_gives_a_result() {
    let Some(folder) = real_data("dicom") else { return };
    let setup = AgentSetup::new(AGENT, 1);
    let files: Vec<_> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "dcm"))
        .collect();
    assert!(files.len() >= 5);
    let arguments: Vec<&str> =
        std::iter::once("--json").chain(files.iter().map(|f| f.to_str().unwrap())).collect();
    let output = infer(&setup, &arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let results: Vec<_> = text.lines().map(|l| ResultEnvelope::parse(l.as_bytes()).unwrap()).collect();
    assert_eq!(results.len(), files.len());
    for (file, result) in files.iter().zip(&results) {
        let anatomy = |label: &str| ANATOMY.iter().any(|structure| structure.label() == label);
        let seen: Vec<_> = result.findings.iter().filter(|finding| anatomy(&finding.label)).collect();
        assert_eq!(seen.len(), ANATOMY.len());
        for finding in seen {
            let range = 0.02..0.5;
            assert!(
                range.contains(&finding.area_fraction),
                "{}: {} {}",
                file.display(),
                finding.label,
                finding.area_fraction
            );
        }
    }
}
