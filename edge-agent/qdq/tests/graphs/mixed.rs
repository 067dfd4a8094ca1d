//! Graphs of which a part is left to tract compute what tract alone computes.
//!
//! All scales are powers of two, so that nothing is rounded differently and results can be compared to the last bit.

use proptest::prelude::*;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{AttributeProto, ModelProto};
use tract_onnx::prelude::Tensor;

use crate::build::{Build, ints};
use crate::{image, lowered, plainly, run};

const STEP: f32 = 1.0 / 64.0;
const DIMS: [i64; 4] = [1, 2, 4, 4];

/// A graph that grows by moves, each an operator and what it reads, counted from the newest tensor. All bytes are of one
/// sign, for tract confuses them where a table leads from one to the other.
fn graph(moves: &[(u8, usize, usize)], signed: bool) -> ModelProto {
    let mut build = Build::default();
    let quantize = |build: &mut Build, tensor: &str, zero: i32| {
        let bytes = build.quantize(tensor, STEP, if signed { zero - 128 } else { zero }, signed);
        (build.dequantize(&bytes), bytes)
    };
    let source = build.image(DIMS);
    let mut tensors = vec![quantize(&mut build, &source, 128).0, source];
    for (at, (kind, a, b)) in moves.iter().enumerate() {
        let [a, b] = [a, b].map(|back| tensors[tensors.len() - 1 - back % tensors.len()].clone());
        let zero = 60 + (at as i32 * 29) % 130;
        let made = match kind {
            0 => build.node("LeakyRelu", &[&a], vec![float("alpha", 0.5)]),
            1 | 2 => build.node("Add", &[&a, &b], vec![]),
            3 => build.node("Mul", &[&a, &b], vec![]),
            4 => build.node("MaxPool", &[&a], vec![ints("kernel_shape", &[3; 2]), ints("pads", &[1; 4])]),
            5 => build.node("Transpose", &[&a], vec![ints("perm", &[0, 1, 3, 2])]),
            6 => conv(&mut build, &a),
            7 => a,
            8 => {
                // Stays real.
                tensors.push(build.node("Cos", &[&a], vec![]));
                continue;
            }
            9 => {
                tensors.push(build.node("Add", &[&a, &b], vec![]));
                continue;
            }
            _ => {
                let (tensor, bytes) = quantize(&mut build, &a, zero);
                tensors.push(tensor);
                build.output(&bytes, if signed { DataType::Int8 } else { DataType::Uint8 });
                continue;
            }
        };
        tensors.push(quantize(&mut build, &made, zero).0);
    }
    let last = tensors.pop().unwrap();
    build.output(&last, DataType::Float);
    let middle = tensors[tensors.len() / 2].clone();
    if middle != "image" {
        build.output(&middle, DataType::Float);
    }
    build.model()
}

fn conv(build: &mut Build, tensor: &str) -> String {
    let values: Vec<i32> = (0..36).map(|i| i * 37 % 41 - 20).collect();
    let weights = build.weights(&[2, 2, 3, 3], &values, STEP);
    build.node("Conv", &[tensor, &weights], vec![ints("pads", &[1; 4])])
}

fn float(name: &str, value: f32) -> AttributeProto {
    let r#type = tract_onnx::pb::attribute_proto::AttributeType::Float as i32;
    AttributeProto { name: name.to_owned(), r#type, f: value, ..AttributeProto::default() }
}

fn check(model: &ModelProto) -> qdq::Report {
    let inputs = [image(&[1, 2, 4, 4])];
    let lowered = lowered(model);
    let report = lowered.report().clone();
    let made = run(lowered.into_model(), &inputs);
    let expected: Vec<Tensor> = plainly(model, &inputs);
    for ((made, expected), port) in made.iter().zip(&expected).zip(&model.graph.as_ref().unwrap().output) {
        assert_eq!(made, expected, "{}", port.name);
    }
    report
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]
    #[test]
    fn any_mixture_is_right(moves in prop::collection::vec((0u8..11, 0usize..5, 0usize..9), 1..16), signed: bool) {
        check(&graph(&moves, signed));
    }
}

#[test]
fn what_surrounds_a_node_of_tract_is_two_islands() {
    // quantized → Cos → quantized, and a sum of both ends: one island around Cos would wait for itself.
    let report = check(&graph(&[(0, 1, 0), (8, 0, 0), (7, 0, 0), (1, 0, 2)], false));
    assert_eq!(report.islands(), 2);
    let left: Vec<&str> = report.left.iter().map(|node| node.name.as_str()).collect();
    assert_eq!(left.len(), 1, "{report}");
    assert!(left[0].starts_with("Cos "), "{report}");
    assert!(report.left[0].reason.contains("Cos has no 8-bit form"), "{report}");
}

#[test]
fn nothing_is_lowered_where_only_bytes_are_packed() {
    let report = check(&graph(&[(8, 0, 0), (7, 0, 0), (8, 0, 0)], false));
    assert_eq!(report.islands(), 0);
    assert!(report.left.iter().any(|node| node.reason == "nothing beside it is lowered"), "{report}");
}
