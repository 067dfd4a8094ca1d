//! One layer of a graph as a graph of its own.

use std::collections::{BTreeSet, HashMap};

use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::tensor_shape_proto::{Dimension, dimension};
use tract_onnx::pb::type_proto::{Tensor, Value};
use tract_onnx::pb::{GraphProto, ModelProto, NodeProto, TensorShapeProto, TypeProto, ValueInfoProto};

use crate::suite::{Data, Graph, Recorded};

/// The nodes between recorded tensors and one of them, as a model that reads those and makes this.
pub(crate) fn layer(graph: &Graph, target: &str) -> (ModelProto, Vec<String>) {
    let source = graph.model.graph.as_ref().unwrap();
    let makers: HashMap<&str, usize> = source
        .node
        .iter()
        .enumerate()
        .flat_map(|(index, node)| node.output.iter().map(move |output| (output.as_str(), index)))
        .collect();
    let (mut nodes, mut inputs) = (BTreeSet::new(), BTreeSet::new());
    let mut open = vec![makers[target]];
    while let Some(index) = open.pop() {
        if !nodes.insert(index) {
            continue;
        }
        for name in source.node[index].input.iter().filter(|name| !name.is_empty()) {
            if graph.tensors.contains_key(name) {
                inputs.insert(name.clone());
            } else if let Some(maker) = makers.get(name.as_str()) {
                open.push(*maker);
            }
        }
    }
    let nodes: Vec<NodeProto> = nodes.iter().map(|index| source.node[*index].clone()).collect();
    let read: BTreeSet<&str> = nodes.iter().flat_map(|node| node.input.iter().map(String::as_str)).collect();
    let initializer =
        source.initializer.iter().filter(|tensor| read.contains(tensor.name.as_str())).cloned().collect();
    let port = |name: &str| port(name, &graph.tensors[name]);
    let layer = GraphProto {
        name: target.to_owned(),
        initializer,
        input: inputs.iter().map(|name| port(name)).collect(),
        output: vec![port(target)],
        node: nodes,
        ..GraphProto::default()
    };
    let model = ModelProto {
        ir_version: graph.model.ir_version,
        opset_import: graph.model.opset_import.clone(),
        graph: Some(layer),
        ..ModelProto::default()
    };
    (model, inputs.into_iter().collect())
}

fn port(name: &str, tensor: &Recorded) -> ValueInfoProto {
    let elem_type = match tensor.data {
        Data::F32(_) => DataType::Float,
        Data::U8(_) => DataType::Uint8,
        Data::I8(_) => DataType::Int8,
    };
    let dim = |size: &usize| Dimension {
        value: Some(dimension::Value::DimValue(*size as i64)),
        ..Dimension::default()
    };
    let shape = TensorShapeProto { dim: tensor.dims.iter().map(dim).collect() };
    let value = Value::TensorType(Tensor { elem_type: elem_type as i32, shape: Some(shape) });
    ValueInfoProto {
        name: name.to_owned(),
        r#type: Some(TypeProto { value: Some(value), ..TypeProto::default() }),
        ..ValueInfoProto::default()
    }
}
