use std::fs;
use std::path::Path;

use prost::Message;
use qdq::{Isa, IsaError, Pool};
use shared::bundle::{Bundle, MANIFEST, sha256_hex, write_digests};
use shared::manifest::Manifest;

use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{ModelProto, NodeProto, TensorProto};
use tract_onnx::prelude::{IntoTValue, Tensor, tvec};

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

/// The graph of [`onnx`] between quantizations that are exact on the numbers below, with a cosine behind it if `mixed`.
fn quantized(mixed: bool) -> ModelProto {
    let mut model = onnx(2, INPUT_SIZE);
    let graph = model.graph.as_mut().unwrap();
    let node = |op: &str, inputs: &[&str], output: &str| NodeProto {
        name: output.into(),
        op_type: op.into(),
        input: inputs.iter().map(|input| (*input).to_owned()).collect(),
        output: vec![output.into()],
        ..NodeProto::default()
    };
    let last = if mixed { "sums" } else { "logits" };
    graph.node = vec![
        node("QuantizeLinear", &["image", "fine", "middle"], "bytes"),
        node("DequantizeLinear", &["bytes", "fine", "middle"], "pixels"),
        node("DequantizeLinear", &["eighths", "eighth", "none"], "weight"),
        node("Conv", &["pixels", "weight", "bias"], "products"),
        node("QuantizeLinear", &["products", "coarse", "middle"], "more bytes"),
        node("DequantizeLinear", &["more bytes", "coarse", "middle"], last),
    ];
    if mixed {
        graph.node.push(node("Cos", &[last], "logits"));
    }
    let store = |name: &str, element: DataType, dims: &[i64]| TensorProto {
        name: name.into(),
        data_type: element as i32,
        dims: dims.to_vec(),
        ..TensorProto::default()
    };
    graph.initializer.retain(|tensor| tensor.name == "bias");
    for (name, scale) in [("fine", 1.0 / 32.0), ("eighth", 0.125), ("coarse", 0.25)] {
        graph.initializer.push(TensorProto { float_data: vec![scale], ..store(name, DataType::Float, &[]) });
    }
    let bytes = [
        ("middle", DataType::Uint8, &[][..], vec![128]),
        ("none", DataType::Int8, &[][..], vec![0]),
        ("eighths", DataType::Int8, &[2, 1, 1, 1][..], vec![64, -64]),
    ];
    for (name, element, dims, int32_data) in bytes {
        graph.initializer.push(TensorProto { int32_data, ..store(name, element, dims) });
    }
    model
}

#[test]
fn quantized_graphs_run_in_qdqs_kernels_wholly_or_in_part() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("graph.onnx");
    let input: Vec<f32> = (0..INPUT_SIZE * INPUT_SIZE).map(|i| (i % 17) as f32 / 8.0 - 1.0).collect();
    let tensor = Tensor::from_shape(&[1, 1, INPUT_SIZE, INPUT_SIZE], &input).unwrap();
    for mixed in [false, true] {
        fs::write(&path, quantized(mixed).encode_to_vec()).unwrap();
        for (isa, threads) in Isa::ALL.into_iter().filter(|isa| isa.is_here()).flat_map(|i| [(i, 1), (i, 2)])
        {
            let options = qdq::Options { isa, pool: Pool::new(threads).into() };
            let mut graph = OnnxGraph::load_with(&path, &options).unwrap();
            let plural = if threads == 1 { "" } else { "s" };
            assert_eq!(graph.describe(), format!("qdq on {isa} in tract, {threads} thread{plural}"));
            let lowering = graph.lowering();
            assert!(!lowering.is_none() && lowering.is_whole() != mixed, "{:?}", lowering.report);
            if mixed {
                assert_eq!(lowering.report.left[0].name, "Cos 'logits'");
            }
            for _ in 0..2 {
                let outputs = graph.run(tvec!(tensor.clone().into_tvalue())).unwrap();
                let view = outputs[0].to_plain_array_view::<f32>().unwrap();
                for (x, y) in input.iter().zip(view.iter()) {
                    let sum = 8.0 * x - 4.0;
                    let expected = if mixed { sum.cos() } else { sum };
                    assert!((expected - y).abs() < 1e-4, "{x} {y}");
                }
            }
        }
    }
}

#[test]
fn a_graph_without_quantizations_is_tracts_alone() {
    let dir = tempfile::tempdir().unwrap();
    let engine = TractEngine::load(&write_bundle(dir.path()).unwrap(), 2).unwrap();
    assert_eq!(engine.describe(), "tract, 2 threads");
    let lowering = engine.lowering().unwrap();
    assert!(lowering.is_none() && !lowering.is_whole());
    assert_eq!(lowering.report.left[0].name, "Conv 'head'");
}

#[test]
fn a_broken_quantization_is_named_with_its_file() {
    let mut model = quantized(false);
    let initializers = &mut model.graph.as_mut().unwrap().initializer;
    initializers.iter_mut().find(|tensor| tensor.name == "coarse").unwrap().float_data[0] = f32::NAN;
    let error = refusal(|_| model.encode_to_vec(), |_| ());
    assert!(error.contains("QuantizeLinear 'more bytes': its scale is NaN"), "{error}");
}

#[test]
fn wrong_instructions_are_a_fault_of_the_configuration() {
    let error = EngineError::from(IsaError::Unknown("sse9".into()));
    assert_eq!(error.exit(), Exit::Config);
    assert!(
        error.to_string().contains("there is no instruction set 'sse9'; CXR_ISA takes scalar"),
        "{error}"
    );
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
