//! The graph that tract loads: what was lowered is one node for each island.

use std::collections::HashSet;

use tract_onnx::pb::{GraphProto, ModelProto, NodeProto};

use crate::lower::{Lowering, Stage};
use crate::onnx::{OnnxGraph, reads};

/// The type of these nodes, which no domain has.
const OPERATOR: &str = "QdqIsland";

/// The rewritten model, and the name of each island's node.
pub(crate) fn rewrite(
    model: &ModelProto,
    graph: &OnnxGraph<'_>,
    lowering: &Lowering,
) -> (ModelProto, Vec<String>) {
    let source = graph.proto;
    let taken: HashSet<&str> = source.node.iter().map(|node| node.name.as_str()).collect();
    let names: Vec<String> = (0..lowering.islands.len())
        .map(|index| {
            let plain = format!("qdq.island.{index}");
            if taken.contains(plain.as_str()) { format!("{plain} of {} nodes", taken.len()) } else { plain }
        })
        .collect();
    let stage = |stage: &Stage| match *stage {
        Stage::Node(index) => graph.node(index).clone(),
        Stage::Island(index) => {
            let island = &lowering.islands[index];
            let tensors = |ids: &[usize]| ids.iter().map(|id| island.values[*id].name.clone()).collect();
            NodeProto {
                name: names[index].clone(),
                op_type: OPERATOR.to_owned(),
                domain: "qdq".to_owned(),
                input: tensors(&island.inputs),
                output: tensors(&island.outputs),
                ..NodeProto::default()
            }
        }
    };
    let node: Vec<NodeProto> = lowering.order.iter().map(stage).collect();
    let outputs = source.output.iter().map(|output| output.name.as_str());
    let read: HashSet<&str> = node.iter().flat_map(reads).chain(outputs).collect();
    let initialized: HashSet<&str> = source.initializer.iter().map(|i| i.name.as_str()).collect();
    // An input with a value of its own is a constant to tract.
    let is_input = |name: &str| !initialized.contains(name) || read.contains(name);
    let kept = GraphProto {
        name: source.name.clone(),
        initializer: source.initializer.iter().filter(|i| read.contains(i.name.as_str())).cloned().collect(),
        sparse_initializer: source.sparse_initializer.clone(),
        doc_string: source.doc_string.clone(),
        input: source.input.iter().filter(|input| is_input(&input.name)).cloned().collect(),
        output: source.output.clone(),
        value_info: source.value_info.iter().filter(|i| read.contains(i.name.as_str())).cloned().collect(),
        quantization_annotation: source.quantization_annotation.clone(),
        node,
    };
    let rewritten = ModelProto {
        ir_version: model.ir_version,
        opset_import: model.opset_import.clone(),
        producer_name: model.producer_name.clone(),
        producer_version: model.producer_version.clone(),
        domain: model.domain.clone(),
        model_version: model.model_version,
        doc_string: model.doc_string.clone(),
        graph: Some(kept),
        metadata_props: model.metadata_props.clone(),
        functions: model.functions.clone(),
        ..ModelProto::default()
    };
    (rewritten, names)
}
