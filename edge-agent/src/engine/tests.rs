use std::fs;
use std::path::Path;

use prost::Message;
use shared::bundle::{Bundle, MANIFEST, sha256_hex, write_digests};
use shared::manifest::Manifest;

use super::*;
use crate::testing::{INPUT_SIZE, onnx, write_bundle};

/// The error for a bundle whose graph or manifest was changed with all digests made right again.
fn refusal(graph: impl FnOnce(Vec<u8>) -> Vec<u8>, change: impl FnOnce(&mut Manifest)) -> String {
    let dir = tempfile::tempdir().unwrap();
    let mut manifest = write_bundle(dir.path()).unwrap().manifest().clone();
    let path = dir.path().join("model.onnx");
    let bytes = graph(fs::read(&path).unwrap());
    manifest.graph.sha256 = sha256_hex(&bytes);
    change(&mut manifest);
    fs::write(&path, bytes).unwrap();
    fs::write(dir.path().join(MANIFEST), manifest.to_toml().unwrap()).unwrap();
    write_digests(dir.path()).unwrap();
    let Err(error) = TractEngine::load(&Bundle::open(dir.path()).unwrap(), 1) else { panic!("it loads") };
    let text = error.to_string();
    assert!(text.contains("model.onnx"), "{text}");
    text
}

#[test]
fn logits_are_those_of_the_graph_on_any_number_of_threads() {
    let dir = tempfile::tempdir().unwrap();
    let bundle = write_bundle(dir.path()).unwrap();
    let input: Vec<f32> = (0..INPUT_SIZE * INPUT_SIZE).map(|i| (i % 17) as f32 / 8.0 - 1.0).collect();
    for threads in [1, 2] {
        let mut engine = TractEngine::load(&bundle, threads).unwrap();
        // Twice: state is kept from run to run.
        for _ in 0..2 {
            let output = engine.run(&input).unwrap();
            assert_eq!((output.classes, output.rows, output.cols), (2, INPUT_SIZE, INPUT_SIZE));
            for (x, y) in input.iter().zip(&output.data) {
                assert!((8.0 * x - 4.0 - y).abs() < 1e-4, "{x} {y}");
            }
        }
        assert!(engine.describe().contains(&threads.to_string()));
    }
}

#[test]
fn an_input_of_another_size_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut engine = TractEngine::load(&write_bundle(dir.path()).unwrap(), 1).unwrap();
    let error = engine.run(&[0.0; 3]).unwrap_err().to_string();
    assert_eq!(error, "the network takes 4096 values, got 3");
}

#[test]
fn a_damaged_graph_is_refused_with_a_remedy() {
    let truncated = refusal(|b| b[..b.len() / 2].to_vec(), |_| ());
    assert!(
        truncated.contains("no ONNX graph") && truncated.contains("copy the bundle again"),
        "{truncated}"
    );
    refusal(|_| b"garbage, not a graph".to_vec(), |_| ());
    refusal(|_| Vec::new(), |_| ());
}

#[test]
fn a_graph_of_another_form_than_the_manifest_says_is_refused() {
    let classes = refusal(|_| onnx(3, INPUT_SIZE).encode_to_vec(), |_| ());
    assert!(classes.contains("[1, 3, 64, 64]") && classes.contains("[1, 2, h, w]"), "{classes}");
    let size = refusal(|_| onnx(2, 32).encode_to_vec(), |_| ());
    assert!(size.contains("f32 of [1, 1, 64, 64]"), "{size}");
    let input = refusal(|b| b, |m| m.graph.input = "x-ray".into());
    assert!(input.contains("the list of inputs is 'image', the manifest needs 'x-ray'"), "{input}");
    let named = |order: &str| {
        let mut proto = onnx(2, INPUT_SIZE);
        let (key, value) = ("classes".into(), order.into());
        proto.metadata_props.push(tract_onnx::pb::StringStringEntryProto { key, value });
        proto.encode_to_vec()
    };
    let order = refusal(|_| named("second,first"), |_| ());
    assert!(order.contains("the order of the classes is second,first, the manifest needs "), "{order}");
    let output = refusal(|b| b, |m| m.graph.output = "masks".into());
    assert!(output.contains("the list of outputs is 'logits', the manifest needs 'masks'"), "{output}");
}

#[test]
fn a_graph_that_was_swapped_after_the_bundle_was_opened_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let bundle = write_bundle(dir.path()).unwrap();
    fs::write(dir.path().join("model.onnx"), onnx(2, INPUT_SIZE).encode_to_vec()).unwrap();
    assert!(TractEngine::load(&bundle, 1).is_ok(), "it is the same");
    fs::write(dir.path().join("model.onnx"), onnx(2, 2 * INPUT_SIZE).encode_to_vec()).unwrap();
    let Err(error) = TractEngine::load(&bundle, 1) else { panic!("it loads") };
    assert!(error.to_string().contains("model.onnx is altered"), "{error}");
}

#[test]
fn a_graph_that_is_absent_is_named() {
    let Err(error) = OnnxGraph::load(Path::new("/nowhere/model.onnx"), 1) else { panic!("it loads") };
    assert!(error.to_string().contains("/nowhere/model.onnx"), "{error}");
}
