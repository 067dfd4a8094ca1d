//! Graphs that begin or end in bytes, and sessions.

use qdq::{Element, End, RunError, Sink, Source};
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::prelude::*;

use crate::build::{Build, Dim};
use crate::{errors, image, lowered, plainly, run};

#[test]
fn a_session_computes_what_tract_does() {
    let model = errors::conv().model();
    let mut session = lowered(&model).session().unwrap();
    let end =
        |name: &str, shape: [usize; 4]| End { name: name.into(), element: Element::F32, shape: shape.into() };
    assert_eq!(session.inputs(), [end("image", [1, 2, 6, 6])]);
    assert_eq!(session.outputs(), [end("dequantizelinear5", [1, 3, 6, 6])]);
    let input = image(&[1, 2, 6, 6]);
    let view = input.to_plain_array_view::<f32>().unwrap();
    let (source, mut made) = (Source::Real(view.as_slice().unwrap()), vec![0.0; 108]);
    session.run(&[source], &mut [Sink::Real(&mut made)]).unwrap();
    let by_tract = run(lowered(&model).into_model(), std::slice::from_ref(&input));
    assert_eq!(by_tract[0], Tensor::from_shape(&[1, 3, 6, 6], &made).unwrap());

    let none = session.run(&[], &mut [Sink::Real(&mut made)]).unwrap_err();
    assert_eq!(none, RunError::Count { ends: "inputs", expected: 1, found: 0 });
    let error = session.run(&[source], &mut [Sink::Real(&mut made[1..])]).unwrap_err();
    assert_eq!(error.to_string(), "'dequantizelinear5' is 108 values of F32");
    let error = session.run(&[source], &mut [Sink::Bytes(&mut [0; 108])]).unwrap_err();
    assert_eq!(error.to_string(), "'dequantizelinear5' is 108 values of F32");
}

#[test]
fn bytes_of_both_signs_go_in_and_out() {
    for signed in [false, true] {
        let element = if signed { DataType::Int8 } else { DataType::Uint8 };
        let mut build = Build::default();
        let first = build.input("bytes", element, Some(&[1, 2, 5, 5].map(Dim::Is)));
        // Parameters for the input.
        let image = build.image([1, 2, 5, 5]);
        let own = build.quantize(&image, 0.02, if signed { -10 } else { 118 }, signed);
        let own = build.dequantize(&own);
        let mut read = build.graph.node[1].clone();
        (read.input[0], read.output[0], read.name) = (first, "read".into(), "read".into());
        build.graph.node.push(read);
        let sum = build.node("Add", &["read", &own], vec![]);
        let sum = build.quantize(&sum, 0.03, if signed { 5 } else { 133 }, signed);
        build.output(&sum, element);
        let model = build.model();
        let bytes: Vec<u8> = (0..50).map(|i| (i * 41 % 256) as u8).collect();
        let bytes = if signed {
            Tensor::from_shape(&[1, 2, 5, 5], &bytes.iter().map(|byte| *byte as i8).collect::<Vec<_>>())
        } else {
            Tensor::from_shape(&[1, 2, 5, 5], &bytes)
        };
        let inputs = [bytes.unwrap(), image_of()];
        let lowered = lowered(&model);
        assert_eq!(lowered.report().left, []);
        assert!(lowered.session().is_some());
        let apart = crate::distance(&run(lowered.into_model(), &inputs)[0], &plainly(&model, &inputs)[0]);
        assert!(apart <= 1.0, "{apart}");
    }
}

fn image_of() -> Tensor {
    image(&[1, 2, 5, 5])
}

#[test]
fn a_session_needs_the_whole_graph_in_fixed_shapes() {
    let mut build = errors::conv();
    let output = build.graph.output.remove(0).name;
    let output = build.node("Cos", &[&output], vec![]);
    build.output(&output, DataType::Float);
    assert!(lowered(&build.model()).session().is_none());
    let mut build = errors::conv();
    build.graph.input.clear();
    build.input("image", DataType::Float, Some(&[Dim::Named("N"), Dim::Is(2), Dim::Is(6), Dim::Is(6)]));
    assert!(lowered(&build.model()).session().is_none());
}

#[test]
fn outputs_that_are_held_are_not_written_on() {
    let plan =
        lowered(&errors::conv().model()).into_model().into_optimized().unwrap().into_runnable().unwrap();
    let mut state = plan.spawn().unwrap();
    let negative = image(&[1, 2, 6, 6]).to_plain_array_view::<f32>().unwrap().mapv(|x| -x).into_tensor();
    let inputs = [image(&[1, 2, 6, 6]), negative];
    let mut made = |input: &Tensor| state.run(tvec!(input.clone().into_tvalue())).unwrap().remove(0);
    let first = made(&inputs[0]);
    let kept = first.clone().into_tensor();
    let second = made(&inputs[1]);
    assert_eq!(*first, kept);
    assert_ne!(*first, *second);
    let address = second.as_bytes().as_ptr();
    drop(second);
    let third = made(&inputs[0]);
    assert_eq!(*third, kept);
    // What nothing holds any more is written on again.
    assert_eq!(third.as_bytes().as_ptr(), address);
}
