//! What is lowered of small graphs, what is refused, and what is left to tract.

#![allow(clippy::unwrap_used, reason = "these are tests, helpers too")]

mod alone;
mod build;
mod corpus;
mod ends;
mod errors;
mod forms;
mod mixed;
mod mutated;
mod symbols;

use qdq::{LoweredModel, Options, lower};
use tract_onnx::pb::ModelProto;
use tract_onnx::prelude::*;

fn lowered(model: &ModelProto) -> LoweredModel {
    lower(model, &Options::default()).unwrap()
}

/// The outputs of a model that is ready for tract.
fn run(model: InferenceModel, inputs: &[Tensor]) -> Vec<Tensor> {
    let plan = model.into_optimized().unwrap().into_runnable().unwrap();
    let inputs = inputs.iter().map(|input| input.clone().into_tvalue()).collect();
    plan.run(inputs).unwrap().into_iter().map(TValue::into_tensor).collect()
}

/// The outputs as tract alone computes them.
fn plainly(model: &ModelProto, inputs: &[Tensor]) -> Vec<Tensor> {
    run(tract_onnx::onnx().model_for_proto_model(model).unwrap(), inputs)
}

/// Numbers from −1 to 1.
fn image(dims: &[usize]) -> Tensor {
    let count: usize = dims.iter().product();
    let values: Vec<f32> = (0..count).map(|i| (i * 7919 % 1000) as f32 / 500.0 - 1.0).collect();
    Tensor::from_shape(dims, &values).unwrap()
}

/// The greatest distance between numbers of two tensors.
fn distance(a: &Tensor, b: &Tensor) -> f32 {
    assert_eq!((a.datum_type(), a.shape()), (b.datum_type(), b.shape()));
    let [a, b] = [a, b].map(|tensor| tensor.cast_to::<f32>().unwrap());
    let [a, b] = [&a, &b].map(|tensor| tensor.to_plain_array_view::<f32>().unwrap());
    a.iter().zip(&b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}
