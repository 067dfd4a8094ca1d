//! Add and Mul.

use std::sync::Arc;

use tract_onnx::pb::NodeProto;

use super::constant::RealConstant;
use super::operator::{Bytes, Form, Operand, Target};
use super::real::{Parameters, Real, real};
use super::refusal::Refusal;
use crate::graph::{Arithmetic, Binary, Convolution, Op, Pads, Quant, Window};
use crate::onnx::OnnxGraph;

/// Add and Mul of quantized tensors, one of which may be known.
pub(crate) fn binary<'a>(
    graph: &OnnxGraph<'a>,
    node: &'a NodeProto,
    target: Target,
) -> Result<Form<'a>, Refusal> {
    let arithmetic = if node.op_type == "Add" { Arithmetic::Add } else { Arithmetic::Multiply };
    let [a, b] = node.input.as_slice() else { return Err("it has not two inputs".into()) };
    let Target::Bytes(to, _) = target else { return Err("its output is not quantized".into()) };
    let mut inputs = Vec::with_capacity(2);
    let mut bytes = None;
    let mut known = None;
    for name in [a, b] {
        match real(graph, name)? {
            Real::Quantized { tensor, parameters: Parameters { quant, signed } } => {
                let operand = Bytes { name: tensor, quant, signed };
                bytes = Some(operand);
                inputs.push(operand.operand());
            }
            Real::Constant(constant) if known.is_none() => known = Some((inputs.len(), constant)),
            Real::Constant(_) => return Err("both of its inputs are known".into()),
            Real::Other => return Err(format!("its input '{name}' is not quantized").into()),
        }
    }
    if let Some((place, constant)) = known {
        let from = bytes.ok_or("none of its inputs is quantized")?;
        if let Some(channels) = channels(&constant) {
            let op = by_channel(arithmetic, &channels, from.quant, (to, target.clamp()))?;
            return Ok(Form { op, inputs });
        }
        inputs.insert(place, known_operand(arithmetic, &constant, from.quant, to.quant)?);
    }
    Ok(Form { op: Op::Binary(Binary { arithmetic, clamp: target.clamp() }), inputs })
}

/// A known tensor as bytes.
fn known_operand<'a>(
    arithmetic: Arithmetic,
    constant: &RealConstant,
    from: Quant,
    to: Quant,
) -> Result<Operand<'a>, Refusal> {
    if let Some(stored) = stored(constant) {
        return Ok(stored);
    }
    let (values, shape) = (constant.values(), constant.dims.clone());
    let least = values.iter().copied().fold(0.0, f32::min);
    let most = values.iter().copied().fold(0.0, f32::max);
    if values.is_empty() || !values.iter().all(|value| value.is_finite()) || !(most - least).is_finite() {
        return Err("its constant holds no finite numbers".into());
    }
    // Numbers that are one but for 0 are exact.
    let single = values.iter().all(|value| *value == 0.0 || *value == least + most);
    let quant = if least == most {
        Quant { scale: 1.0, zero: 0 }
    } else if single {
        Quant { scale: most - least, zero: u8::from(least < 0.0) }
    } else {
        let scale = (most - least) / 255.0;
        // Others are rounded, if that shifts no output by more than half a quantum.
        let shift = match arithmetic {
            Arithmetic::Add => scale,
            Arithmetic::Multiply => f32::from(from.zero.max(255 - from.zero)) * from.scale * scale,
        };
        if shift > to.scale {
            return Err("its constant is too fine for 8 bits".into());
        }
        Quant { scale, zero: (-least / scale).round_ties_even() as u8 }
    };
    if !quant.scale.is_normal() {
        return Err("its constant is too small".into());
    }
    let bytes = values.iter().map(|value| quant.quantize(*value)).collect();
    Ok(Operand::Constant { quant, shape, bytes })
}

/// A known tensor that was stored as bytes.
fn stored<'a>(constant: &RealConstant) -> Option<Operand<'a>> {
    let integers = constant.integers()?;
    let ([scale], [zero]) = (integers.scales.as_slice(), integers.zeros.as_slice()) else { return None };
    let signed = *zero < 0 || integers.values.iter().any(|value| value < 0);
    let byte = |value: i64| u8::try_from(value + if signed { 128 } else { 0 }).ok();
    let bytes: Vec<u8> = integers.values.iter().map(byte).collect::<Option<_>>()?;
    let quant = Quant { scale: *scale, zero: byte(*zero)? };
    Some(Operand::Constant { quant, shape: constant.dims.clone(), bytes })
}

/// The numbers of a constant of `[1, c, 1, 1]` that was not stored as bytes.
fn channels(constant: &RealConstant) -> Option<Vec<f32>> {
    let ([channels, 1, 1] | [1, channels, 1, 1]) = constant.dims[..] else { return None };
    (channels > 1 && stored(constant).is_none()).then(|| constant.values().into_owned())
}

/// A sum with, or product by, one number for each channel is exact as a convolution of each channel with itself.
fn by_channel(
    arithmetic: Arithmetic,
    numbers: &[f32],
    from: Quant,
    (to, clamp): (Parameters, (u8, u8)),
) -> Result<Op, Refusal> {
    // Steps of the sum are this much finer than those of the input.
    const FINER: i8 = 64;
    let ratio = from.scale / to.quant.scale;
    let mut convolution = Convolution {
        window: Window {
            kernel: [1; 2],
            strides: [1; 2],
            dilations: [1; 2],
            pads: Pads::Explicit([0; 4]),
            ceil: false,
        },
        groups: numbers.len(),
        outputs: numbers.len(),
        inputs: 1,
        weights: Arc::new(match arithmetic {
            Arithmetic::Add => vec![FINER; numbers.len()],
            Arithmetic::Multiply => numbers.iter().map(|number| if *number < 0.0 { -1 } else { 1 }).collect(),
        }),
        bias: Vec::new(),
        scale: Vec::new(),
        clamp,
        matrix: false,
    };
    for number in numbers {
        match arithmetic {
            Arithmetic::Add => {
                let step = from.scale / f32::from(FINER);
                let bias = (f64::from(*number) / f64::from(step)).round_ties_even();
                // A quarter of the output's step is the most that the rounding of the bias may cost.
                let fits = bias.abs() < f64::from(i32::MAX / 2);
                if !step.is_normal() || step > to.quant.scale / 2.0 || !fits {
                    return Err(format!("its constant {number} is out of range in steps of {step}").into());
                }
                convolution.bias.push(bias as i32);
                convolution.scale.push(ratio / f32::from(FINER));
            }
            Arithmetic::Multiply => {
                convolution.bias.push(0);
                convolution.scale.push(ratio * number.abs());
            }
        }
    }
    if convolution.scale.iter().any(|scale| !scale.is_finite()) {
        return Err("its constant leaves the range of f32".into());
    }
    Ok(Op::Convolution(convolution))
}
