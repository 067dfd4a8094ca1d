//! What a tensor of real numbers comes from.

use tract_onnx::pb::NodeProto;
use tract_onnx::pb::tensor_proto::DataType;

use super::constant::{Integers, Numbers, RealConstant, Whole, scale_of_each};
use crate::LowerError;
use crate::graph::Quant;
use crate::onnx::{Attributes, Data, OnnxGraph, title};

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

/// The parameters of a Q or DQ node; none if they are not those of a whole tensor of bytes and known.
///
/// # Errors
/// [`LowerError::Quantization`] for scales and zero points that give bytes no meaning.
pub(crate) fn parameters(graph: &OnnxGraph<'_>, node: &NodeProto) -> Result<Option<Parameters>, LowerError> {
    let Some(Scaling { scales, zeros, element, .. }) = scaling(graph, node)? else { return Ok(None) };
    let ([scale], [zero]) = (scales.as_slice(), zeros.as_slice()) else { return Ok(None) };
    let signed = match element {
        Some(DataType::Uint8) => false,
        Some(DataType::Int8) => true,
        _ => return Ok(None),
    };
    let zero = (zero + if signed { 128 } else { 0 }) as u8;
    Ok(Some(Parameters { quant: Quant { scale: *scale, zero }, signed }))
}

/// Scales and zero points, one or more of each.
#[derive(Debug, PartialEq)]
struct Scaling {
    scales: Vec<f32>,
    zeros: Vec<i64>,
    /// Of the integers, if the file tells.
    element: Option<DataType>,
    axis: i64,
}

/// Those of a Q or DQ node; none if they are not known numbers.
fn scaling(graph: &OnnxGraph<'_>, node: &NodeProto) -> Result<Option<Scaling>, LowerError> {
    let broken = |reason: String| LowerError::Quantization { node: title(node), reason };
    let attributes = Attributes(node);
    let scales = node.input.get(1).and_then(|name| graph.constant(name));
    let Some(Data::F32(scales)) = scales.map(|scales| scales.data) else { return Ok(None) };
    if let Some(scale) = scales.iter().find(|scale| !(scale.is_finite() && **scale > 0.0)) {
        let reason = format!("its scale is {scale}, which must be a number above 0; export the graph anew");
        return Err(broken(reason));
    }
    if scales.is_empty() {
        return Err(broken("it has no scale".to_owned()));
    }
    let zero_point = node.input.get(2).filter(|name| !name.is_empty());
    let quantizes = node.op_type == "QuantizeLinear";
    let integers = if quantizes { node.output.first() } else { node.input.first() };
    let element = integers.and_then(|tensor| graph.element(tensor));
    let zeros = match zero_point {
        None => vec![0; scales.len()],
        Some(name) => {
            let own = graph.element(name);
            if !quantizes
                && let (Some(own), Some(read)) = (own, element)
                && own != read
            {
                let [own, read] = [own, read].map(type_name);
                return Err(broken(format!("its zero point is of {own} and what it reads of {read}")));
            }
            let Some(zeros) = graph.constant(name).and_then(|zeros| zeros.integers()) else {
                return Ok(None);
            };
            zeros
        }
    };
    if zeros.len() != scales.len() {
        return Err(broken(format!("it has {} scales and {} zero points", scales.len(), zeros.len())));
    }
    if attributes.int("block_size", 0) != 0 {
        return Ok(None);
    }
    let element = element.or_else(|| graph.element(zero_point?));
    let element = element.and_then(|element| DataType::try_from(element).ok());
    Ok(Some(Scaling { scales, zeros, element, axis: attributes.int("axis", 1) }))
}

fn type_name(element: i32) -> String {
    DataType::try_from(element).map_or_else(|_| format!("type {element}"), |element| format!("{element:?}"))
}

/// Where a tensor's real numbers come from.
pub(crate) fn real<'a>(graph: &OnnxGraph<'a>, tensor: &str) -> Result<Real<'a>, LowerError> {
    let mut name = tensor;
    // Transpositions of what is known, the last one first.
    let mut orders: Vec<Vec<i64>> = Vec::new();
    let found = loop {
        if let Some(constant) = graph.constant(name) {
            let Data::F32(values) = constant.data else { break Real::Other };
            break Real::Constant(RealConstant { dims: constant.dims, numbers: Numbers::Real(values) });
        }
        let Some(node) = graph.maker(name).map(|index| graph.node(index)) else { break Real::Other };
        match (node.op_type.as_str(), node.input.first()) {
            ("Transpose", Some(input)) if orders.len() < 4 => {
                orders.push(Attributes(node).ints("perm").unwrap_or_default().to_vec());
                name = input;
            }
            ("DequantizeLinear", Some(bytes)) => break dequantized(graph, node, bytes)?,
            _ => break Real::Other,
        }
    };
    Ok(match found {
        Real::Constant(constant) => {
            let all = orders.iter().rev().try_fold(constant, |constant, order| constant.transposed(order));
            all.map_or(Real::Other, Real::Constant)
        }
        quantized if orders.is_empty() => quantized,
        _ => Real::Other,
    })
}

fn dequantized<'a>(
    graph: &OnnxGraph<'a>,
    node: &'a NodeProto,
    bytes: &'a str,
) -> Result<Real<'a>, LowerError> {
    if let Some((dims, integers)) = integers(graph, node, bytes)? {
        return Ok(Real::Constant(RealConstant { dims, numbers: Numbers::Integers(integers) }));
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
    let Some(scaling) = scaling(graph, node)? else { return Ok(None) };
    let rank = source.dims.len();
    let per_axis = scaling.scales.len() > 1;
    let axis = if scaling.axis < 0 { scaling.axis + rank as i64 } else { scaling.axis };
    let axis = if per_axis { usize::try_from(axis).unwrap_or(rank) } else { 0 };
    if per_axis && source.dims.get(axis) != Some(&scaling.scales.len()) {
        let reason = format!(
            "it has {} scales for a shape of {:?} along axis {}",
            scaling.scales.len(),
            source.dims,
            scaling.axis
        );
        return Err(LowerError::Quantization { node: title(node), reason });
    }
    let values = match (maker, source.data) {
        (None, Data::U8(values)) => Whole::Words(values.into_iter().map(i32::from).collect()),
        (None, Data::I8(values)) => Whole::Bytes(values),
        (None, Data::I32(values)) => Whole::Words(values),
        // The node that writes must mean what the one that reads does.
        (Some(quantize), Data::F32(values)) if self::scaling(graph, quantize)?.as_ref() == Some(&scaling) => {
            let (least, most) = match scaling.element {
                Some(DataType::Int8) => (-128.0, 127.0),
                Some(DataType::Uint8) => (0.0, 255.0),
                _ => return Ok(None),
            };
            let each = scale_of_each(scaling.scales.len(), &source.dims, axis);
            let quantize = |(value, index): (&f32, usize)| {
                let steps = (value / scaling.scales[index]).round_ties_even() + scaling.zeros[index] as f32;
                steps.clamp(least, most) as i32
            };
            Whole::Words(values.iter().zip(each).map(quantize).collect())
        }
        _ => return Ok(None),
    };
    Ok(Some((source.dims, Integers { values, scales: scaling.scales, zeros: scaling.zeros, axis })))
}
