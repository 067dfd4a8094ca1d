//! Convolutions and matrix products.

use std::sync::Arc;

use tract_onnx::pb::NodeProto;

use super::constant::{Numbers, RealConstant};
use super::operator::{Form, Target, quantized};
use super::real::{Real, parameters, real};
use super::refusal::Refusal;
use super::window::window;
use crate::graph::{Convolution, Op, Pads, RealConvolution, Window, magnitude};
use crate::onnx::{Attributes, OnnxGraph};

/// Conv, Gemm and MatMul of a quantized tensor with known weights. `more` is known too and added to what they make.
pub(crate) fn product<'a>(
    graph: &OnnxGraph<'a>,
    node: &'a NodeProto,
    target: Target,
    more: Option<&RealConstant>,
) -> Result<Form<'a>, Refusal> {
    let input = quantized(graph, node, 0)?;
    let weights = node.input.get(1).ok_or("it has no weights")?;
    let Real::Constant(weights) = real(graph, weights)? else {
        return Err("its weights are not known".into());
    };
    let layout = Layout::of(node, &weights)?;
    let mut bias = match node.input.get(2).filter(|name| !name.is_empty()) {
        None => vec![0.0; layout.outputs],
        Some(name) => match real(graph, name)? {
            Real::Constant(bias) if bias.len() == layout.outputs => bias.values().into_owned(),
            _ => return Err("its bias is not known".into()),
        },
    };
    if let Some(more) = more {
        let more = layout.for_outputs(more).ok_or("what is added to it is no bias")?;
        bias.iter_mut().zip(more).for_each(|(bias, more)| *bias += more);
    }
    let op = match (weights.integers(), target) {
        (Some(_), _) => integer(&layout, weights, &bias, &input, (target, finest(graph, node, target)?))?,
        (None, Target::Real) if !layout.matrix => Op::RealConvolution(RealConvolution {
            window: layout.window,
            groups: layout.groups,
            outputs: layout.outputs,
            inputs: layout.inputs,
            weights: weights.values().into_owned(),
            bias,
        }),
        (None, _) => return Err("its weights are not quantized".into()),
    };
    Ok(Form { op, inputs: vec![input.operand()] })
}

/// The finest scale that a product is quantized by.
fn finest(graph: &OnnxGraph<'_>, node: &NodeProto, target: Target) -> Result<Option<f32>, Refusal> {
    if let Target::Bytes(to, _) = target {
        return Ok(Some(to.quant.scale));
    }
    let mut finest: Option<f32> = None;
    let readers = node.output.iter().flat_map(|output| graph.readers(output)).map(|index| graph.node(*index));
    for reader in readers.filter(|reader| reader.op_type == "QuantizeLinear") {
        if let Some(to) = parameters(graph, reader)? {
            finest = Some(finest.map_or(to.quant.scale, |finest| finest.min(to.quant.scale)));
        }
    }
    Ok(finest)
}

/// How weights lie in a node's tensor.
struct Layout {
    window: Window,
    groups: usize,
    outputs: usize,
    inputs: usize,
    matrix: bool,
    /// The axis of the outputs.
    axis: usize,
}

impl Layout {
    fn of(node: &NodeProto, weights: &RealConstant) -> Result<Self, Refusal> {
        let attributes = Attributes(node);
        let matrix = |axis: usize| -> Result<Self, Refusal> {
            let [a, b] = <[usize; 2]>::try_from(weights.dims.as_slice())
                .map_err(|_| format!("its weights have the shape {:?}", weights.dims))?;
            let (outputs, inputs) = if axis == 0 { (a, b) } else { (b, a) };
            let (kernel, strides, dilations) = ([1; 2], [1; 2], [1; 2]);
            let window = Window { kernel, strides, dilations, pads: Pads::Explicit([0; 4]), ceil: false };
            Ok(Self { window, groups: 1, outputs, inputs, matrix: true, axis })
        };
        let layout = match node.op_type.as_str() {
            "Conv" => {
                let [outputs, inputs, rows, columns] = <[usize; 4]>::try_from(weights.dims.as_slice())
                    .map_err(|_| format!("its weights have the shape {:?}", weights.dims))?;
                let groups = usize::try_from(attributes.int("group", 1)).unwrap_or(0);
                let window = window(node, Some([rows, columns]))?;
                Self { window, groups, outputs, inputs, matrix: false, axis: 0 }
            }
            "MatMul" => matrix(1)?,
            "Gemm" => {
                let factor = |name| attributes.float(name, 1.0) == 1.0;
                if attributes.int("transA", 0) != 0 || !factor("alpha") || !factor("beta") {
                    return Err("it is a Gemm with transA, alpha or beta".into());
                }
                matrix(usize::from(attributes.int("transB", 0) == 0))?
            }
            other => return Err(format!("{other} has no 8-bit form").into()),
        };
        let sound = layout.groups > 0 && layout.outputs.is_multiple_of(layout.groups);
        match sound && layout.outputs > 0 && layout.inputs > 0 {
            true => Ok(layout),
            false => {
                Err(format!("its weights have the shape {:?} in {} groups", weights.dims, layout.groups)
                    .into())
            }
        }
    }
}

impl Layout {
    /// The numbers for each output of a constant that is added to the outputs.
    fn for_outputs(&self, constant: &RealConstant) -> Option<Vec<f32>> {
        let outputs = self.outputs;
        let values = constant.values();
        let each = match constant.dims[..] {
            [] | [1] => return Some(vec![values[0]; outputs]),
            [1, 1] if self.matrix => return Some(vec![values[0]; outputs]),
            [1, 1, 1] | [1, 1, 1, 1] if !self.matrix => return Some(vec![values[0]; outputs]),
            [own] | [1, own] => self.matrix && own == outputs,
            [own, 1, 1] | [1, own, 1, 1] => !self.matrix && own == outputs,
            _ => false,
        };
        each.then(|| values.into_owned())
    }
}

fn integer(
    layout: &Layout,
    weights: RealConstant,
    bias: &[f32],
    input: &super::operator::Bytes<'_>,
    (target, finest): (Target, Option<f32>),
) -> Result<Op, Refusal> {
    let RealConstant { dims, numbers: Numbers::Integers(integers) } = weights else {
        return Err("its weights are not quantized".into());
    };
    if integers.scales.len() > 1 && integers.axis != layout.axis {
        return Err(format!("its weights' scales lie along axis {}", integers.axis).into());
    }
    let scales = integers.scales.clone();
    let mut own = integers.into_bytes(&dims).ok_or("its weights are not symmetric")?;
    if layout.axis == 1 {
        let columns = |output: usize| own.iter().skip(output).step_by(layout.outputs);
        own = (0..layout.outputs).flat_map(|output| columns(output).copied().collect::<Vec<_>>()).collect();
    }
    let scale_of = |output: usize| scales[if scales.len() == 1 { 0 } else { output }];
    let mut scale = Vec::with_capacity(layout.outputs);
    let mut steps = Vec::with_capacity(layout.outputs);
    for (output, bias) in bias.iter().enumerate() {
        let step = input.quant.scale * scale_of(output);
        let rounded = (f64::from(*bias) / f64::from(step)).round_ties_even();
        if !step.is_normal() || rounded.is_nan() || rounded.abs() > f64::from(i32::MAX) {
            return Err(format!("its bias of {bias} is out of range in steps of {step}").into());
        }
        let rest = (rounded * f64::from(step) - f64::from(*bias)).abs();
        if finest.is_some_and(|finest| rest > f64::from(finest) / 2.0) {
            return Err(format!("its bias of {bias} is too fine for steps of {step}").into());
        }
        steps.push(rounded as i32);
        scale.push(match target {
            Target::Real => step,
            Target::Bytes(to, _) => step / to.quant.scale,
        });
    }
    if scale.iter().any(|scale| !scale.is_finite()) {
        return Err("its scales leave the range of f32".into());
    }
    // Of bytes without their zero point.
    let sums = own.chunks_exact(own.len() / layout.outputs).zip(&steps);
    if sums.into_iter().any(|(own, bias)| 255 * magnitude(own) + i64::from(bias.abs()) > i64::from(i32::MAX))
    {
        return Err("its sums leave the range of i32".into());
    }
    Ok(Op::Convolution(Convolution {
        window: layout.window,
        groups: layout.groups,
        outputs: layout.outputs,
        inputs: layout.inputs,
        weights: Arc::new(own),
        bias: steps,
        scale,
        clamp: target.clamp(),
        matrix: layout.matrix,
    }))
}
