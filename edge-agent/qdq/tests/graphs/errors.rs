//! Broken graphs are refused by an error that names the node.

use qdq::{LowerError, Options, lower};
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{ModelProto, NodeProto};
use tract_onnx::prelude::Framework;

use crate::build::{Build, Dim, f32s, int, integers, text};

fn refused(model: &ModelProto) -> String {
    lower(model, &Options::default()).unwrap_err().to_string()
}

/// A convolution between quantizations; `change` breaks something.
fn broken(change: impl FnOnce(&mut Build)) -> String {
    let mut build = conv();
    change(&mut build);
    refused(&build.model())
}

pub(crate) fn conv() -> Build {
    let mut build = Build::default();
    let image = build.image([1, 2, 6, 6]);
    let image = build.pair(&image, 0.01, 128);
    let made = build.conv(&image, 3, 2);
    let made = build.pair(&made, 0.02, 100);
    build.output(&made, DataType::Float);
    build
}

fn initializer(build: &mut Build, name: &str, values: &[f32]) {
    let stored = build.graph.initializer.iter_mut().find(|tensor| tensor.name == name).unwrap();
    *stored = f32s(name, if values.len() == 1 { &[] } else { &[2] }, values);
}

fn node<'a>(build: &'a mut Build, name: &str) -> &'a mut NodeProto {
    build.graph.node.iter_mut().find(|node| node.name == name).unwrap()
}

#[test]
fn sound_graphs_pass() {
    assert!(lower(&conv().model(), &Options::default()).is_ok());
}

#[test]
fn scales_must_be_above_zero() {
    for scale in [0.0, -1.0, f32::NAN, f32::INFINITY] {
        let error = broken(|build| initializer(build, "scale0", &[scale]));
        assert!(error.starts_with("QuantizeLinear 'quantizelinear0': its scale is "), "{error}");
    }
    let error = broken(|build| initializer(build, "weights_scale2", &[0.0]));
    assert!(error.starts_with("DequantizeLinear 'dequantizelinear2': its scale is 0"), "{error}");
}

#[test]
fn scales_and_zero_points_belong_together() {
    let error = broken(|build| initializer(build, "scale0", &[0.1, 0.2]));
    assert_eq!(error, "QuantizeLinear 'quantizelinear0': it has 2 scales and 1 zero points");
    let error = broken(|build| {
        initializer(build, "weights_scale2", &[0.1, 0.2]);
        let zeros = integers("two", DataType::Int8, &[2], &[0, 0]);
        let zeros = build.store(zeros);
        node(build, "dequantizelinear2").input[2] = zeros;
        node(build, "dequantizelinear2").attribute.push(int("axis", 0));
    });
    let expected =
        "DequantizeLinear 'dequantizelinear2': it has 2 scales for a shape of [3, 2, 3, 3] along axis 0";
    assert_eq!(error, expected);
}

#[test]
fn zero_points_have_the_type_of_their_bytes() {
    let error = broken(|build| {
        let signed = build.store(integers("signed", DataType::Int8, &[], &[0]));
        node(build, "dequantizelinear1").input[2] = signed;
    });
    let expected =
        "DequantizeLinear 'dequantizelinear1': its zero point is of Int8 and what it reads of Uint8";
    assert_eq!(error, expected);
}

#[test]
fn initializers_hold_what_they_say() {
    let zero = |values: &'static [i32], element| {
        broken(move |build| {
            let stored = build.graph.initializer.iter_mut().find(|tensor| tensor.name == "zero0").unwrap();
            *stored = integers("zero0", element, &[], values);
        })
    };
    let range = "the initializer 'zero0' is broken: the value 300 does not fit its type";
    assert_eq!(zero(&[300], DataType::Uint8), range);
    let count = "the initializer 'zero0' is broken: a shape of [] and 2 values";
    assert_eq!(zero(&[1, 2], DataType::Uint8), count);
}

#[test]
fn tensors_have_makers() {
    let error = broken(|build| build.graph.initializer.retain(|tensor| tensor.name != "weights2"));
    assert!(error.starts_with("DequantizeLinear 'dequantizelinear2' reads 'weights2', which is"), "{error}");
    let error = broken(|build| node(build, "quantizelinear0").input[0] = "conv3".into());
    assert!(error.ends_with("waits for its own output"), "{error}");
    assert_eq!(lower(&ModelProto::default(), &Options::default()).unwrap_err(), LowerError::NoGraph);
}

#[test]
fn shapes_fit_together_and_into_memory() {
    let error = broken(|build| {
        build.graph.input.clear();
        build.image([1, 5, 6, 6]);
    });
    assert_eq!(error, "Conv 'conv3': its weights take 2 channels, the input has 5");
    let error = broken(|build| {
        let scales = build.store(f32s("scales", &[4], &[1.0, 1.0, 1e6, 1e6]));
        let bytes = build.graph.output[0].name.clone();
        let large = build.node("Resize", &[&bytes, "", &scales], vec![text("mode", "linear")]);
        let large = build.pair(&large, 0.1, 0);
        build.graph.output.clear();
        build.output(&large, DataType::Float);
    });
    assert!(error.starts_with("Resize 'resize6': its output would have"), "{error}");
    let error = broken(|build| {
        build.graph.input.clear();
        build.image([1, 2, i64::MAX, i64::MAX]);
    });
    assert!(error.starts_with("QuantizeLinear 'quantizelinear0': its input would have"), "{error}");
}

#[test]
fn inputs_without_a_shape_are_an_error_of_tract() {
    for dims in [None, Some(&[Dim::Named("N")][..])] {
        let mut build = conv();
        build.graph.input.clear();
        build.input("image", DataType::Float, dims);
        if let Ok(lowered) = lower(&build.model(), &Options::default()) {
            assert!(tract_onnx::prelude::InferenceModelExt::into_optimized(lowered.into_model()).is_err());
        }
    }
}

#[test]
fn truncated_files_are_refused() {
    let model = conv().model();
    let whole = prost_bytes(&model);
    for length in (0..whole.len()).step_by(7) {
        let read = tract_onnx::onnx().proto_model_for_read(&mut &whole[..length]);
        // Most are no protobuf; the others lack something.
        if let Ok(model) = read {
            assert!(lower(&model, &Options::default()).is_err(), "{length} of {}", whole.len());
        }
    }
}

pub(crate) fn prost_bytes(model: &ModelProto) -> Vec<u8> {
    prost::Message::encode_to_vec(model)
}
