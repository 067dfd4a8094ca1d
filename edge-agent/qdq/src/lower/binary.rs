use tract_onnx::pb::NodeProto;

use super::operator::{Bytes, Form, Operand, Target};
use super::real::{Real, RealConstant, real};
use super::refusal::Refusal;
use crate::graph::{Arithmetic, Binary, Op, Quant};
use crate::onnx::OnnxGraph;

/// Add and Mul of quantized tensors, one of which may be known.
pub(crate) fn binary<'a>(
    graph: &OnnxGraph<'a>,
    node: &'a NodeProto,
    target: Target,
) -> Result<Form<'a>, Refusal> {
    let arithmetic = if node.op_type == "Add" { Arithmetic::Add } else { Arithmetic::Multiply };
    let [a, b] = node.input.as_slice() else { return Err("it has not two inputs".into()) };
    let mut inputs = Vec::with_capacity(2);
    let mut known = 0;
    for name in [a, b] {
        inputs.push(match real(graph, name)? {
            Real::Quantized { tensor, parameters } => {
                Bytes { name: tensor, quant: parameters.quant, signed: parameters.signed }.operand()
            }
            Real::Constant(constant) => {
                known += 1;
                known_operand(constant)?
            }
            Real::Other => return Err(format!("its input '{name}' is not quantized").into()),
        });
    }
    if known == 2 {
        return Err("both of its inputs are known".into());
    }
    Ok(Form { op: Op::Binary(Binary { arithmetic, clamp: target.clamp() }), inputs })
}

/// A known tensor as bytes, if it was stored as such.
fn known_operand<'a>(constant: RealConstant) -> Result<Operand<'a>, Refusal> {
    let integers = constant.integers.ok_or("its constant is not quantized")?;
    let ([scale], [zero]) = (integers.scales.as_slice(), integers.zeros.as_slice()) else {
        return Err("its constant has a scale for each channel".into());
    };
    let signed = integers.values.iter().chain([zero]).any(|value| *value < 0);
    let byte = |value: &i64| u8::try_from(value + if signed { 128 } else { 0 });
    let bytes: Result<Vec<u8>, _> = integers.values.iter().map(byte).collect();
    let (Ok(bytes), Ok(zero)) = (bytes, byte(zero)) else {
        return Err("its constant is not of bytes".into());
    };
    Ok(Operand::Constant { quant: Quant { scale: *scale, zero }, shape: constant.dims, bytes })
}
