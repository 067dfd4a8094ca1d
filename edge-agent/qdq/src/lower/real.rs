//! What a tensor of real numbers comes from.

use tract_onnx::pb::NodeProto;

use crate::LowerError;
use crate::graph::Quant;
use crate::onnx::{Constant, Data, OnnxGraph, title};

/// Parameters of a QuantizeLinear or DequantizeLinear of a whole tensor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Parameters {
    pub(crate) quant: Quant,
    /// i8 instead of u8.
    pub(crate) signed: bool,
}

/// Where real numbers come from.
#[derive(Clone, Debug)]
pub(crate) enum Real<'a> {
    /// A DequantizeLinear of bytes.
    Quantized { tensor: &'a str, parameters: Parameters },
    /// Known values.
    Constant(RealConstant),
    /// Anything else.
    Other,
}

/// Known real numbers and, if they were stored as integers, those.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RealConstant {
    pub(crate) dims: Vec<usize>,
    pub(crate) values: Vec<f32>,
    pub(crate) integers: Option<Integers>,
}

/// `value = scale × (integer − zero)`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Integers {
    pub(crate) values: Vec<i64>,
    /// One, or one for each index of `axis`.
    pub(crate) scales: Vec<f32>,
    pub(crate) zeros: Vec<i64>,
    pub(crate) axis: usize,
}

impl Integers {
    /// Which scale and zero point holds for each value, in a tensor of these dimensions.
    pub(crate) fn index(&self, dims: &[usize], at: usize) -> usize {
        if self.scales.len() == 1 {
            return 0;
        }
        let inner: usize = dims[self.axis + 1..].iter().product();
        at / inner % dims[self.axis]
    }
}

/// The parameters of a Q or DQ node; none if they are not those of a whole tensor of bytes and known.
///
/// # Errors
/// [`LowerError::Quantization`] for scales that give bytes no meaning.
pub(crate) fn parameters(graph: &OnnxGraph<'_>, node: &NodeProto) -> Result<Option<Parameters>, LowerError> {
    let Some(scales) = scales(graph, node)? else { return Ok(None) };
    let (signed, zeros) = match zero_points(graph, node) {
        Zeros::Absent => (false, vec![0]),
        Zeros::Known(constant) => match &constant.data {
            Data::U8(v) => (false, v.iter().map(|v| i64::from(*v)).collect()),
            Data::I8(v) => (true, v.iter().map(|v| i64::from(*v)).collect()),
            _ => return Ok(None),
        },
        Zeros::Unknown => return Ok(None),
    };
    let ([scale], [zero]) = (scales.as_slice(), zeros.as_slice()) else { return Ok(None) };
    let zero = (zero + if signed { 128 } else { 0 }) as u8;
    Ok(Some(Parameters { quant: Quant { scale: *scale, zero }, signed }))
}

enum Zeros<'a> {
    Absent,
    Known(&'a Constant),
    Unknown,
}

fn zero_points<'g>(graph: &'g OnnxGraph<'_>, node: &NodeProto) -> Zeros<'g> {
    match node.input.get(2).filter(|name| !name.is_empty()) {
        None => Zeros::Absent,
        Some(name) => graph.constant(name).map_or(Zeros::Unknown, Zeros::Known),
    }
}

fn scales(graph: &OnnxGraph<'_>, node: &NodeProto) -> Result<Option<Vec<f32>>, LowerError> {
    let Some(scales) = node.input.get(1).and_then(|name| graph.constant(name)?.f32()) else {
        return Ok(None);
    };
    match scales.iter().find(|scale| !(scale.is_finite() && **scale > 0.0)) {
        None => Ok(Some(scales.to_vec())),
        Some(scale) => Err(LowerError::Quantization {
            node: title(node),
            reason: format!("its scale is {scale}, which must be a number above 0; export the graph anew"),
        }),
    }
}

/// Where a tensor's real numbers come from.
pub(crate) fn real<'a>(graph: &OnnxGraph<'a>, tensor: &str) -> Result<Real<'a>, LowerError> {
    if let Some(constant) = graph.constant(tensor) {
        return Ok(constant.f32().map_or(Real::Other, |values| {
            let (dims, values) = (constant.dims.clone(), values.to_vec());
            Real::Constant(RealConstant { dims, values, integers: None })
        }));
    }
    let Some(node) = graph.maker(tensor).map(|index| graph.node(index)) else { return Ok(Real::Other) };
    if node.op_type != "DequantizeLinear" {
        return Ok(Real::Other);
    }
    let Some(bytes) = node.input.first() else { return Ok(Real::Other) };
    if let Some(integers) = integers(graph, node, bytes)? {
        return Ok(dequantized(integers.0, integers.1).map_or(Real::Other, Real::Constant));
    }
    Ok(match parameters(graph, node)? {
        Some(parameters) => Real::Quantized { tensor: bytes, parameters },
        None => Real::Other,
    })
}

/// Known integers that a DQ node reads, with its parameters: stored ones, or what a QuantizeLinear makes of known real
/// numbers, as PyTorch's exporter writes weights.
fn integers(
    graph: &OnnxGraph<'_>,
    node: &NodeProto,
    bytes: &str,
) -> Result<Option<(Vec<usize>, Integers)>, LowerError> {
    let maker =
        graph.maker(bytes).map(|index| graph.node(index)).filter(|node| node.op_type == "QuantizeLinear");
    let source = match maker {
        Some(quantize) => quantize.input.first().and_then(|name| graph.constant(name)),
        None => graph.constant(bytes),
    };
    let Some(source) = source else { return Ok(None) };
    let Some(scales) = scales(graph, node)? else { return Ok(None) };
    let (zeros, signed) = match zero_points(graph, node) {
        Zeros::Absent => (vec![0; scales.len()], matches!(source.data, Data::I8(_))),
        Zeros::Known(constant) => match constant.integers() {
            Some(zeros) => (zeros, matches!(constant.data, Data::I8(_))),
            None => return Ok(None),
        },
        Zeros::Unknown => return Ok(None),
    };
    let rank = source.dims.len();
    let axis = crate::onnx::Attributes(node).int("axis", 1);
    let axis = if axis < 0 { axis + rank as i64 } else { axis };
    let per_axis = scales.len() > 1;
    let axis = if per_axis { usize::try_from(axis).unwrap_or(rank) } else { 0 };
    let fits = !per_axis || source.dims.get(axis) == Some(&scales.len());
    if !fits || zeros.len() != scales.len() {
        let reason = format!(
            "it has {} scales and {} zero points for a shape of {:?} along axis {axis}",
            scales.len(),
            zeros.len(),
            source.dims
        );
        return Err(LowerError::Quantization { node: title(node), reason });
    }
    let mut found = Integers { values: Vec::new(), scales, zeros, axis };
    found.values = match maker {
        None => match source.integers() {
            Some(values) => values,
            None => return Ok(None),
        },
        Some(quantize) => {
            // The node that writes must mean what the one that reads does.
            let same = quantize.input.get(1..) == node.input.get(1..);
            let Some(values) = source.f32().filter(|_| same) else { return Ok(None) };
            let (least, most) = if signed { (-128.0, 127.0) } else { (0.0, 255.0) };
            let quantize = |(at, value): (usize, &f32)| {
                let index = found.index(&source.dims, at);
                let steps = (value / found.scales[index]).round_ties_even() + found.zeros[index] as f32;
                steps.clamp(least, most) as i64
            };
            values.iter().enumerate().map(quantize).collect()
        }
    };
    Ok(Some((source.dims.clone(), found)))
}

fn dequantized(dims: Vec<usize>, integers: Integers) -> Option<RealConstant> {
    let value = |(at, integer): (usize, &i64)| {
        let index = integers.index(&dims, at);
        (integer - integers.zeros[index]) as f32 * integers.scales[index]
    };
    let values = integers.values.iter().enumerate().map(value).collect();
    Some(RealConstant { values, integers: Some(integers), dims })
}
