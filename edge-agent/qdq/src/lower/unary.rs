//! Functions of one number.

use tract_onnx::pb::NodeProto;

use super::real::{Real, real};
use crate::onnx::{Attributes, OnnxGraph};

/// A function of one real number.
pub(crate) type Function = Box<dyn Fn(f32) -> f32>;

/// The function that a node is, if it is one that we know.
pub(crate) fn function(graph: &OnnxGraph<'_>, node: &NodeProto) -> Option<Function> {
    let attributes = Attributes(node);
    let alpha = |default: f32| attributes.float("alpha", default);
    Some(match node.op_type.as_str() {
        "Relu" | "Clip" => {
            let (least, most) = range(graph, node)?;
            Box::new(move |x| x.max(least).min(most))
        }
        "Sigmoid" => smooth(|x| 1.0 / (1.0 + (-x).exp())),
        "HardSigmoid" => {
            let (alpha, beta) = (alpha(0.2), attributes.float("beta", 0.5));
            Box::new(move |x| (alpha * x + beta).clamp(0.0, 1.0))
        }
        "HardSwish" => Box::new(|x| x * (x / 6.0 + 0.5).clamp(0.0, 1.0)),
        "Tanh" => smooth(f64::tanh),
        "LeakyRelu" => {
            let alpha = alpha(0.01);
            Box::new(move |x| if x < 0.0 { alpha * x } else { x })
        }
        "Elu" => {
            let alpha = alpha(1.0);
            let alpha = f64::from(alpha);
            smooth(move |x| if x < 0.0 { alpha * (x.exp() - 1.0) } else { x })
        }
        "Softplus" => smooth(|x| x.exp().ln_1p()),
        "Exp" => smooth(f64::exp),
        "Abs" => Box::new(f32::abs),
        "Neg" => Box::new(|x| -x),
        "Identity" => Box::new(|x| x),
        _ => return None,
    })
}

/// Of f64: what C libraries differ in is far from what a byte tells, so that tables are the same everywhere.
fn smooth(function: impl Fn(f64) -> f64 + 'static) -> Function {
    Box::new(move |x| function(f64::from(x)) as f32)
}

/// The least and the greatest number that a Relu or Clip lets pass.
pub(crate) fn range(graph: &OnnxGraph<'_>, node: &NodeProto) -> Option<(f32, f32)> {
    if node.op_type == "Relu" {
        return Some((0.0, f32::INFINITY));
    }
    if node.op_type != "Clip" {
        return None;
    }
    let attributes = Attributes(node);
    // An attribute up to opset 10, an input since.
    let bound =
        |name: &str, input: usize, open: f32| match node.input.get(input).filter(|name| !name.is_empty()) {
            Some(tensor) => match real(graph, tensor) {
                Ok(Real::Constant(bound)) if bound.len() == 1 => Some(bound.values()[0]),
                _ => None,
            },
            None if attributes.has(name) => Some(attributes.float(name, open)),
            None => Some(open),
        };
    let (least, most) = (bound("min", 1, f32::NEG_INFINITY)?, bound("max", 2, f32::INFINITY)?);
    (least <= most).then_some((least, most))
}
