//! Which parts of a graph are lowered, and what they become.

mod anchors;
mod assemble;
mod binary;
mod candidates;
mod constant;
mod movement;
mod operator;
mod partition;
mod pool;
mod product;
mod real;
mod refusal;
mod resize;
mod shapes;
mod unary;
mod window;

use std::collections::{BTreeMap, HashSet};

use assemble::assemble;
use candidates::Candidates;
use partition::Partition;
pub(crate) use partition::Stage;
use shapes::Outside;
use tract_onnx::pb::ModelProto;

use crate::LowerError;
use crate::graph::{Island, Op};
use crate::onnx::{OnnxGraph, reads, title};
use crate::report::{LeftNode, LoweredNode, Report};

/// A graph in islands and the nodes between them.
#[derive(Debug, Default)]
pub(crate) struct Lowering {
    pub(crate) islands: Vec<Island>,
    /// What runs, in order.
    pub(crate) order: Vec<Stage>,
    pub(crate) report: Report,
}

impl Lowering {
    /// # Errors
    /// If a quantization has no meaning, or shapes do not fit.
    pub(crate) fn new(model: &ModelProto, graph: &OnnxGraph<'_>) -> Result<Self, LowerError> {
        let mut candidates = Candidates::find(graph)?;
        let mut outside = Outside::declared(graph);
        let partition = loop {
            let refused = shapes::check(graph, &candidates, (model, &mut outside))?;
            if !refused.is_empty() {
                candidates.give_up(graph, &refused)?;
                continue;
            }
            let partition = Partition::new(graph, &candidates);
            let idle = idle(&partition, &candidates);
            if idle.is_empty() {
                break partition;
            }
            candidates.give_up(graph, &idle)?;
        };
        let read = read_outside(graph, &candidates, &partition);
        let mut lowering = Self { order: partition.order, ..Self::default() };
        for (index, keys) in partition.islands.iter().enumerate() {
            let nodes = keys.iter().filter_map(|key| candidates.lowered.get(key));
            let is_output = |tensor: &str| read.contains(&(index, tensor));
            let mut island = assemble(nodes, is_output)?;
            in_order(&mut island, graph);
            let row = |node: &crate::graph::Node| LoweredNode {
                name: node.name.clone(),
                operator: node.op.name(),
                island: index,
            };
            lowering.report.lowered.extend(island.nodes.iter().map(row));
            lowering.islands.push(island);
        }
        let left = graph.order.iter().filter(|index| candidates.kept.contains(index));
        lowering.report.left = left
            .filter(|index| !is_constant(graph, **index))
            .map(|index| LeftNode {
                name: title(graph.node(*index)),
                reason: candidates
                    .refused
                    .get(index)
                    .cloned()
                    .unwrap_or_else(|| "what reads it is not lowered".to_owned()),
            })
            .collect();
        Ok(lowering)
    }
}

/// Whether a node makes a constant: as such, or of integers.
fn is_constant(graph: &OnnxGraph<'_>, index: usize) -> bool {
    let node = graph.node(index);
    match (node.op_type.as_str(), node.input.first()) {
        ("Constant", _) => true,
        ("QuantizeLinear" | "DequantizeLinear", Some(input)) => {
            graph.is_constant(input)
                || graph.maker(input).is_some_and(|maker| {
                    let maker = graph.node(maker);
                    maker.op_type == "QuantizeLinear"
                        && maker.input.first().is_some_and(|input| graph.is_constant(input))
                })
        }
        _ => false,
    }
}

/// Ends of an island that are the graph's stand in its order.
fn in_order(island: &mut Island, graph: &OnnxGraph<'_>) {
    let Island { values, inputs, outputs, .. } = island;
    let place = |ends: &[tract_onnx::pb::ValueInfoProto], value: &usize| {
        ends.iter().position(|end| end.name == values[*value].name).unwrap_or(usize::MAX)
    };
    inputs.sort_by_key(|value| place(&graph.proto.input, value));
    outputs.sort_by_key(|value| place(&graph.proto.output, value));
}

/// Candidates of islands that would only pack and unpack bytes.
fn idle(partition: &Partition, candidates: &Candidates<'_>) -> BTreeMap<usize, String> {
    let packs = |key: &&usize| {
        let op = candidates.lowered.get(*key).map(|lowered| &lowered.form.op);
        matches!(op, Some(Op::Quantize | Op::Dequantize) | None)
    };
    let idle = partition.islands.iter().filter(|keys| keys.iter().all(|key| packs(&key)));
    let reason = || "nothing beside it is lowered".to_owned();
    idle.flatten().map(|key| (*key, reason())).collect()
}

/// Tensors of islands that something else reads.
fn read_outside<'a>(
    graph: &OnnxGraph<'a>,
    candidates: &Candidates<'a>,
    partition: &Partition,
) -> HashSet<(usize, &'a str)> {
    let mut island_of = BTreeMap::new();
    for (island, keys) in partition.islands.iter().enumerate() {
        island_of.extend(keys.iter().map(|key| (*key, island)));
    }
    let mut outside = HashSet::new();
    let mut read = |tensor: &'a str, reader: Option<usize>| {
        let island = candidates.maker(graph, tensor).map(|maker| island_of[&maker]);
        if let Some(island) = island.filter(|island| Some(*island) != reader) {
            outside.insert((island, tensor));
        }
    };
    for (key, lowered) in &candidates.lowered {
        lowered.tensors().for_each(|tensor| read(tensor, Some(island_of[key])));
    }
    for index in &candidates.kept {
        reads(graph.node(*index)).into_iter().for_each(|tensor| read(tensor, None));
    }
    graph.proto.output.iter().for_each(|output| read(&output.name, None));
    outside
}
