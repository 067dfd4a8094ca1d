//! Which nodes become lowered operators. An operator is recognised by where its output goes: into a QuantizeLinear, past
//! functions of one number, or out as real numbers.

use tract_onnx::pb::NodeProto;

use super::binary::binary;
use super::movement::movement;
use super::operator::{Form, Operand, Range, Target, quantized};
use super::pool::{average, is_global_mean};
use super::product::product;
use super::real::{Parameters, Real, parameters, real};
use super::refusal::Refusal;
use super::resize::resize;
use super::unary::{Function, function, range};
use crate::graph::{Kind, Op, Quant};
use crate::onnx::OnnxGraph;

/// A lowered operator, or two of which the second is a table over what the first makes.
#[derive(Clone, Debug)]
pub(crate) struct Lowered<'a> {
    /// The ONNX node that it is called by.
    pub(crate) name: String,
    /// The ONNX nodes whose work it does, beside DequantizeLinear.
    pub(crate) covers: Vec<usize>,
    pub(crate) form: Form<'a>,
    /// Quantization before the table, and the table.
    pub(crate) table: Option<(Quant, Box<[u8; 256]>)>,
    pub(crate) output: &'a str,
    pub(crate) kind: Kind,
}

/// What a QuantizeLinear and the operators before it make; none if it only quantizes what comes from elsewhere, with the
/// operator that could not be lowered and the reason.
pub(crate) fn at_quantize<'a>(
    graph: &OnnxGraph<'a>,
    index: usize,
) -> Result<Result<Lowered<'a>, (usize, String)>, Refusal> {
    let node = graph.node(index);
    let to = parameters(graph, node)?.ok_or("its scale is not one known number")?;
    let (Some(input), Some(output)) = (node.input.first(), node.output.first()) else {
        return Err("it lacks an input or output".into());
    };
    let chain = Chain::behind(graph, input);
    let mut covers = vec![index];
    covers.extend(&chain.nodes);
    let kind = Kind::Bytes { quant: to.quant, signed: to.signed };
    let lowered = |name: &NodeProto, covers, form, table| Lowered {
        name: crate::onnx::title(name),
        covers,
        form,
        table,
        output,
        kind,
    };
    if let Real::Quantized { tensor, parameters: from } = real(graph, chain.start)? {
        let table = from.quant.table(to.quant, |x| chain.apply(x));
        let inputs = vec![Operand::Tensor {
            name: tensor,
            kind: Kind::Bytes { quant: from.quant, signed: from.signed },
        }];
        let named = chain.nodes.last().map_or(node, |last| graph.node(*last));
        return Ok(Ok(lowered(named, covers, Form { op: Op::Table(table), inputs }, None)));
    }
    let Some(maker) = graph.maker(chain.start).filter(|_| chain.alone) else {
        return Err("it quantizes what is not lowered".into());
    };
    let source = graph.node(maker);
    match form(graph, source, &chain, to) {
        Ok((form, table, more)) => {
            covers.push(maker);
            covers.extend(more);
            Ok(Ok(lowered(source, covers, form, table)))
        }
        Err(Refusal::Reason(reason)) => Ok(Err((maker, reason))),
        Err(broken) => Err(broken),
    }
}

type Table = Option<(Quant, Box<[u8; 256]>)>;

fn form<'a>(
    graph: &OnnxGraph<'a>,
    node: &'a NodeProto,
    chain: &Chain<'_>,
    to: Parameters,
) -> Result<(Form<'a>, Table, Option<usize>), Refusal> {
    let arithmetic = || -> Result<Target, Refusal> {
        Ok(Target::Bytes(to, chain.range(graph).ok_or("a function that is no range follows it")?))
    };
    match node.op_type.as_str() {
        "Conv" | "Gemm" | "MatMul" => Ok((product(graph, node, arithmetic()?, None)?, None, None)),
        "Add" => {
            if let Some((form, product)) = biased(graph, node, arithmetic)? {
                return Ok((form, None, Some(product)));
            }
            Ok((binary(graph, node, arithmetic()?)?, None, None))
        }
        "Mul" => Ok((binary(graph, node, arithmetic()?)?, None, None)),
        "Concat" => Ok((concat(graph, node, chain, to)?, None, None)),
        "AveragePool" | "GlobalAveragePool" | "ReduceMean" => {
            if node.op_type == "ReduceMean" && !is_global_mean(graph, node) {
                return Err("it is no mean over rows and columns".into());
            }
            plain(chain)?;
            Ok((average(graph, node)?, None, None))
        }
        "Resize" if movement(graph, node).is_err() => {
            plain(chain)?;
            let op = Op::Resize(resize(graph, node)?);
            Ok((Form { op, inputs: vec![quantized(graph, node, 0)?.operand()] }, None, None))
        }
        _ => {
            let op = movement(graph, node)?;
            let from = quantized(graph, node, 0)?;
            let same = from.quant == to.quant && chain.nodes.is_empty();
            let table = (!same).then(|| (from.quant, from.quant.table(to.quant, |x| chain.apply(x))));
            Ok((Form { op, inputs: vec![from.operand()] }, table, None))
        }
    }
}

/// A sum with known numbers of what a product makes for it alone: these are one more bias. With the product's node.
fn biased<'a>(
    graph: &OnnxGraph<'a>,
    node: &'a NodeProto,
    target: impl Fn() -> Result<Target, Refusal>,
) -> Result<Option<(Form<'a>, usize)>, Refusal> {
    let [a, b] = node.input.as_slice() else { return Ok(None) };
    for (name, other) in [(a, b), (b, a)] {
        let maker = graph.maker(name).filter(|_| graph.only_reader(name).is_some());
        let Some(maker) = maker else { continue };
        let source = graph.node(maker);
        if !matches!(source.op_type.as_str(), "Conv" | "Gemm" | "MatMul") {
            continue;
        }
        if let Real::Constant(more) = real(graph, other)? {
            return Ok(Some((product(graph, source, target()?, Some(&more))?, maker)));
        }
    }
    Ok(None)
}

fn plain(chain: &Chain<'_>) -> Result<(), Refusal> {
    if chain.nodes.is_empty() { Ok(()) } else { Err("a function follows it".into()) }
}

fn concat<'a>(
    graph: &OnnxGraph<'a>,
    node: &'a NodeProto,
    chain: &Chain<'_>,
    to: Parameters,
) -> Result<Form<'a>, Refusal> {
    let mut tables = Vec::with_capacity(node.input.len());
    let mut inputs = Vec::with_capacity(node.input.len());
    for input in 0..node.input.len() {
        let from = quantized(graph, node, input)?;
        let same = from.quant == to.quant && chain.nodes.is_empty();
        tables.push((!same).then(|| from.quant.table(to.quant, |x| chain.apply(x))));
        inputs.push(from.operand());
    }
    let axis = crate::onnx::Attributes(node).int("axis", 1);
    Ok(Form { op: Op::Concat { axis, tables }, inputs })
}

/// Functions of one number between an operator and a QuantizeLinear, each read by the next alone.
struct Chain<'g> {
    /// The tensor that the first function reads.
    start: &'g str,
    /// Whether nothing else reads it.
    alone: bool,
    /// The last function first.
    nodes: Vec<usize>,
    functions: Vec<Function>,
}

impl<'g> Chain<'g> {
    fn behind(graph: &OnnxGraph<'g>, tensor: &'g str) -> Self {
        let mut chain = Self { start: tensor, alone: true, nodes: Vec::new(), functions: Vec::new() };
        loop {
            chain.alone = graph.only_reader(chain.start).is_some();
            let Some(maker) = graph.maker(chain.start).filter(|_| chain.alone) else { return chain };
            let node = graph.node(maker);
            let (Some(function), Some(input)) = (function(graph, node), node.input.first()) else {
                return chain;
            };
            chain.nodes.push(maker);
            chain.functions.push(function);
            chain.start = input;
        }
    }

    fn apply(&self, x: f32) -> f32 {
        self.functions.iter().rev().fold(x, |x, function| function(x))
    }

    /// The numbers that pass, if the functions only cut off what is outside of a range.
    fn range(&self, graph: &OnnxGraph<'_>) -> Option<Range> {
        let mut passed = (f32::NEG_INFINITY, f32::INFINITY);
        for node in self.nodes.iter().rev() {
            let (least, most) = range(graph, graph.node(*node))?;
            passed = (passed.0.clamp(least, most), passed.1.clamp(least, most));
        }
        Some(passed)
    }
}

/// What a node makes of quantized tensors as real numbers.
pub(crate) fn as_real<'a>(graph: &OnnxGraph<'a>, index: usize) -> Result<Lowered<'a>, Refusal> {
    let node = graph.node(index);
    let output = node.output.first().ok_or("it has no output")?;
    let mut covers = vec![index];
    let form = match node.op_type.as_str() {
        "Conv" | "Gemm" | "MatMul" => product(graph, node, Target::Real, None)?,
        "Add" => {
            let found = biased(graph, node, || Ok(Target::Real))?;
            let (form, product) = found.ok_or("Add of real numbers has no lowered form")?;
            covers.push(product);
            form
        }
        "Resize" => {
            let op = Op::Resize(resize(graph, node)?);
            let input = node.input.first().ok_or("it lacks an input")?;
            let operand = match quantized(graph, node, 0) {
                Ok(bytes) => bytes.operand(),
                Err(Refusal::Reason(_)) => Operand::Tensor { name: input, kind: Kind::Real },
                Err(broken) => return Err(broken),
            };
            Form { op, inputs: vec![operand] }
        }
        other => return Err(format!("{other} of real numbers has no lowered form").into()),
    };
    let name = crate::onnx::title(node);
    Ok(Lowered { name, covers, form, table: None, output, kind: Kind::Real })
}
