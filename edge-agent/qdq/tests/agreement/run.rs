//! Runs lowered models on recorded tensors.

use std::collections::BTreeMap;

use qdq::{Element, LoweredModel, Options, Sink, Source, lower};
use tract_onnx::pb::ModelProto;
use tract_onnx::prelude::*;

use crate::suite::{Data, Recorded};

pub(crate) fn lowered(model: &ModelProto) -> LoweredModel {
    lower(model, &Options::new(2).unwrap()).unwrap()
}

/// The outputs as tract computes them.
pub(crate) fn by_tract(
    lowered: LoweredModel,
    inputs: &[String],
    tensors: &BTreeMap<String, Recorded>,
) -> Vec<Recorded> {
    let inputs: TVec<TValue> = inputs.iter().map(|name| tensor(&tensors[name]).into_tvalue()).collect();
    let plan = lowered.into_model().into_optimized().unwrap().into_runnable().unwrap();
    plan.run(inputs).unwrap().iter().map(|output| recorded(output)).collect()
}

/// The outputs as a session computes them, if the whole model is lowered.
pub(crate) fn by_session(
    lowered: &LoweredModel,
    inputs: &[String],
    tensors: &BTreeMap<String, Recorded>,
) -> Option<Vec<Recorded>> {
    let mut session = lowered.session()?;
    let sources: Vec<Source<'_>> = inputs
        .iter()
        .map(|name| match &tensors[name].data {
            Data::F32(values) => Source::Real(values),
            Data::U8(bytes) | Data::I8(bytes) => Source::Bytes(bytes),
        })
        .collect();
    let mut outputs: Vec<Recorded> = session
        .outputs()
        .iter()
        .map(|end| Recorded {
            dims: end.shape.clone(),
            data: match end.element {
                Element::F32 => Data::F32(vec![0.0; end.len()]),
                Element::U8 => Data::U8(vec![0; end.len()]),
                Element::I8 => Data::I8(vec![0; end.len()]),
            },
        })
        .collect();
    let mut sinks: Vec<Sink<'_>> = outputs
        .iter_mut()
        .map(|output| match &mut output.data {
            Data::F32(values) => Sink::Real(values),
            Data::U8(bytes) | Data::I8(bytes) => Sink::Bytes(bytes),
        })
        .collect();
    session.run(&sources, &mut sinks).unwrap();
    Some(outputs)
}

fn tensor(recorded: &Recorded) -> Tensor {
    let dims = &recorded.dims;
    match &recorded.data {
        Data::F32(values) => Tensor::from_shape(dims, values),
        Data::U8(bytes) => Tensor::from_shape(dims, bytes),
        Data::I8(bytes) => Tensor::from_shape(dims, &bytes.iter().map(|b| *b as i8).collect::<Vec<_>>()),
    }
    .unwrap()
}

fn recorded(tensor: &Tensor) -> Recorded {
    let bytes = || tensor.as_bytes().to_vec();
    let data = match tensor.datum_type() {
        DatumType::F32 => Data::F32(tensor.to_plain_array_view::<f32>().unwrap().iter().copied().collect()),
        DatumType::U8 => Data::U8(bytes()),
        DatumType::I8 => Data::I8(bytes()),
        other => panic!("an output of {other:?}"),
    };
    Recorded { dims: tensor.shape().to_vec(), data }
}
