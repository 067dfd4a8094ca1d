//! What the forms of operators have in common.

use tract_onnx::pb::NodeProto;

use super::real::{Parameters, Real, real};
use super::refusal::Refusal;
use crate::graph::{Kind, Op, Quant, Shape};
use crate::onnx::OnnxGraph;

/// What an operator is to make.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Target {
    Real,
    /// Bytes, after an activation lets only numbers of a range pass.
    Bytes(Parameters, Range),
}

/// Numbers from the first to the second.
pub(crate) type Range = (f32, f32);

impl Target {
    /// The range in bytes.
    pub(crate) fn clamp(self) -> (u8, u8) {
        match self {
            Self::Real => (0, 255),
            Self::Bytes(to, (least, most)) => (to.quant.quantize(least), to.quant.quantize(most)),
        }
    }
}

/// An operator with what it reads.
#[derive(Clone, Debug)]
pub(crate) struct Form<'a> {
    pub(crate) op: Op,
    pub(crate) inputs: Vec<Operand<'a>>,
}

/// What an operator reads.
#[derive(Clone, Debug)]
pub(crate) enum Operand<'a> {
    Tensor { name: &'a str, kind: Kind },
    Constant { quant: Quant, shape: Shape, bytes: Vec<u8> },
}

/// A tensor of bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bytes<'a> {
    pub(crate) name: &'a str,
    pub(crate) quant: Quant,
    pub(crate) signed: bool,
}

impl<'a> Bytes<'a> {
    pub(crate) fn operand(&self) -> Operand<'a> {
        Operand::Tensor { name: self.name, kind: Kind::Bytes { quant: self.quant, signed: self.signed } }
    }
}

/// The bytes behind an input.
pub(crate) fn quantized<'a>(
    graph: &OnnxGraph<'a>,
    node: &'a NodeProto,
    input: usize,
) -> Result<Bytes<'a>, Refusal> {
    let name = node.input.get(input).ok_or("it lacks an input")?;
    match real(graph, name)? {
        Real::Quantized { tensor, parameters: Parameters { quant, signed } } => {
            Ok(Bytes { name: tensor, quant, signed })
        }
        _ => Err(format!("its input '{name}' is not quantized").into()),
    }
}
