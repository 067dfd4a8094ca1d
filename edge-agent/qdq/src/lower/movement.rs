//! Operators that only move values.

use tract_onnx::pb::NodeProto;

use super::refusal::Refusal;
use super::resize::resize;
use super::window::window;
use crate::graph::{Interpolation, Op, Reshape};
use crate::onnx::{Attributes, OnnxGraph};

/// An operator whose outputs are values of its first input.
pub(crate) fn movement(graph: &OnnxGraph<'_>, node: &NodeProto) -> Result<Op, Refusal> {
    let attributes = Attributes(node);
    let known = |input: usize, name: &str| -> Result<Vec<i64>, Refusal> {
        match node.input.get(input).filter(|name| !name.is_empty()) {
            Some(tensor) => {
                let known = graph.constant(tensor).and_then(|known| known.integers());
                Ok(known.ok_or_else(|| format!("its {name} is not known"))?)
            }
            None => Ok(attributes.ints(name).unwrap_or_default().to_vec()),
        }
    };
    Ok(match node.op_type.as_str() {
        "MaxPool" => {
            if node.output.get(1).is_some_and(|name| !name.is_empty()) {
                return Err("it gives out indices".into());
            }
            Op::MaxPool(window(node, None)?)
        }
        "Resize" => match resize(graph, node)? {
            nearest if nearest.interpolation != Interpolation::Linear => Op::Resize(nearest),
            _ => return Err("it interpolates".into()),
        },
        "Transpose" => {
            let order = attributes.ints("perm").ok_or("its order is not stated")?;
            let order: Option<Vec<usize>> = order.iter().map(|axis| usize::try_from(*axis).ok()).collect();
            Op::Transpose(order.ok_or("its order is negative")?)
        }
        "Reshape" => {
            if attributes.int("allowzero", 0) != 0 {
                return Err("it allows dimensions of zero".into());
            }
            Op::Reshape(Reshape::To(known(1, "shape")?))
        }
        "Flatten" => Op::Reshape(Reshape::Flatten(attributes.int("axis", 1))),
        "Squeeze" => Op::Reshape(Reshape::Squeeze(known(1, "axes")?)),
        "Unsqueeze" => Op::Reshape(Reshape::Unsqueeze(known(1, "axes")?)),
        other => return Err(format!("{other} has no 8-bit form").into()),
    })
}
