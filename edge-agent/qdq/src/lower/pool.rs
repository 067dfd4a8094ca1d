use tract_onnx::pb::NodeProto;

use super::operator::{Form, quantized};
use super::refusal::Refusal;
use super::window::window;
use crate::graph::Op;
use crate::onnx::{Attributes, OnnxGraph};

/// Pools that average. Their output is rounded once, in the output's quantization.
pub(crate) fn average<'a>(graph: &OnnxGraph<'a>, node: &'a NodeProto) -> Result<Form<'a>, Refusal> {
    let op = match node.op_type.as_str() {
        "AveragePool" => Op::AveragePool {
            window: window(node, None)?,
            count_pads: Attributes(node).int("count_include_pad", 0) != 0,
        },
        _ => Op::GlobalAveragePool,
    };
    Ok(Form { op, inputs: vec![quantized(graph, node, 0)?.operand()] })
}

/// A ReduceMean over rows and columns, which some exporters write for a global average pool.
pub(crate) fn is_global_mean(graph: &OnnxGraph<'_>, node: &NodeProto) -> bool {
    let attributes = Attributes(node);
    let axes = match node.input.get(1) {
        Some(name) => graph.constant(name).and_then(|axes| axes.integers()),
        None => attributes.ints("axes").map(<[i64]>::to_vec),
    };
    let both = axes.is_some_and(|axes| matches!(axes.as_slice(), [2, 3] | [-2, -1]));
    node.op_type == "ReduceMean" && both && attributes.int("keepdims", 1) == 1
}
