//! Every operator that could be lowered, and why the other nodes cannot.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::anchors::{Lowered, as_real, at_quantize};
use super::operator::{Form, Operand};
use super::real::parameters;
use super::refusal::Refusal;
use crate::LowerError;
use crate::graph::{Kind, Op};
use crate::onnx::{OnnxGraph, reads, title};

/// What could be lowered of a graph.
#[derive(Debug, Default)]
pub(crate) struct Candidates<'a> {
    /// By the ONNX node that makes the output.
    pub(crate) lowered: BTreeMap<usize, Lowered<'a>>,
    /// ONNX nodes whose work a candidate does, with the candidate's key.
    pub(crate) covered: HashMap<usize, usize>,
    /// Why other nodes are left.
    pub(crate) refused: BTreeMap<usize, String>,
    /// ONNX nodes that are still run: what no candidate covers and something needs.
    pub(crate) kept: HashSet<usize>,
}

impl<'a> Candidates<'a> {
    /// # Errors
    /// If a quantization has no meaning.
    pub(crate) fn find(graph: &OnnxGraph<'a>) -> Result<Self, LowerError> {
        let mut found = Self::default();
        for index in graph.order.iter().copied().filter(|index| is(graph, *index, "QuantizeLinear")) {
            found.quantize(graph, index)?;
        }
        for index in graph.order.iter().copied() {
            let known = ["QuantizeLinear", "DequantizeLinear", "Constant"];
            if !found.covered.contains_key(&index) && !known.iter().any(|kind| is(graph, index, kind)) {
                found.real(graph, index)?;
            }
        }
        found.dequantize(graph)?;
        Ok(found)
    }

    fn add(&mut self, index: usize, lowered: Lowered<'a>) {
        for node in &lowered.covers {
            // A sum of what one node makes is more than that node alone.
            if let Some(smaller) = self.covered.insert(*node, index).filter(|key| *key != index) {
                self.lowered.remove(&smaller);
                self.covered.retain(|_, key| *key != smaller);
            }
            self.refused.remove(node);
        }
        self.lowered.insert(index, lowered);
    }

    fn quantize(&mut self, graph: &OnnxGraph<'a>, index: usize) -> Result<(), LowerError> {
        let node = graph.node(index);
        match at_quantize(graph, index) {
            Ok(Ok(lowered)) => {
                self.add(index, lowered);
                return Ok(());
            }
            Ok(Err((maker, reason))) => {
                self.refused.insert(maker, reason);
            }
            Err(Refusal::Reason(reason)) => {
                self.refused.insert(index, reason);
            }
            Err(Refusal::Broken(error)) => return Err(error),
        }
        let (Some(input), Some(output)) = (node.input.first(), node.output.first()) else { return Ok(()) };
        if let Some(to) = parameters(graph, node)?
            && !graph.is_constant(input)
        {
            let inputs = vec![Operand::Tensor { name: input, kind: Kind::Real }];
            let kind = Kind::Bytes { quant: to.quant, signed: to.signed };
            self.add(index, single(title(node), index, Form { op: Op::Quantize, inputs }, output, kind));
        }
        Ok(())
    }

    fn real(&mut self, graph: &OnnxGraph<'a>, index: usize) -> Result<(), LowerError> {
        match as_real(graph, index) {
            Ok(lowered) if self.reads_what_is_made(graph, &lowered) => self.add(index, lowered),
            Ok(_) => {
                self.refused.entry(index).or_insert_with(|| "its input is not quantized".to_owned());
            }
            Err(Refusal::Reason(reason)) => {
                self.refused.entry(index).or_insert(reason);
            }
            Err(Refusal::Broken(error)) => return Err(error),
        }
        Ok(())
    }

    /// Real numbers are worth reading only where a candidate makes them.
    fn reads_what_is_made(&self, graph: &OnnxGraph<'a>, lowered: &Lowered<'a>) -> bool {
        lowered.form.inputs.iter().all(|input| match input {
            Operand::Tensor { name, kind: Kind::Real } => self.makes(graph, name),
            _ => true,
        })
    }

    /// Whether a candidate makes the tensor.
    pub(crate) fn makes(&self, graph: &OnnxGraph<'_>, tensor: &str) -> bool {
        self.maker(graph, tensor).is_some()
    }

    /// The key of the candidate that makes a tensor.
    pub(crate) fn maker(&self, graph: &OnnxGraph<'_>, tensor: &str) -> Option<usize> {
        let maker = graph.maker(tensor)?;
        self.lowered.get(&maker).filter(|lowered| lowered.output == tensor).map(|_| maker)
    }

    /// Finds out from the end what is needed. A DequantizeLinear is where something that stays reads real numbers.
    fn dequantize(&mut self, graph: &OnnxGraph<'a>) -> Result<(), LowerError> {
        let mut needed: HashSet<&str> =
            graph.proto.output.iter().map(|output| output.name.as_str()).collect();
        self.kept.clear();
        for index in graph.order.iter().rev().copied() {
            let node = graph.node(index);
            let wanted = node.output.iter().any(|output| needed.contains(output.as_str()));
            if !wanted {
                // A node that only its own candidate reads from is covered, and its candidate is asked.
                if self.lowered.remove(&index).is_some() {
                    self.covered.retain(|_, key| *key != index);
                }
                continue;
            }
            if node.op_type == "DequantizeLinear"
                && !self.covered.contains_key(&index)
                && let (Some(bytes), Some(output)) = (node.input.first(), node.output.first())
                && self.makes(graph, bytes)
                && let Some(from) = parameters(graph, node)?
            {
                let kind = Kind::Bytes { quant: from.quant, signed: from.signed };
                let inputs = vec![Operand::Tensor { name: bytes, kind }];
                let form = Form { op: Op::Dequantize, inputs };
                self.add(index, single(title(node), index, form, output, Kind::Real));
            }
            match self.lowered.get(&index) {
                Some(lowered) => needed.extend(lowered.tensors()),
                None => {
                    self.kept.insert(index);
                    needed.extend(reads(node));
                }
            }
        }
        Ok(())
    }

    /// Gives candidates up, for a reason, and what makes no sense without them.
    ///
    /// # Errors
    /// As [`Self::find`].
    pub(crate) fn give_up(
        &mut self,
        graph: &OnnxGraph<'a>,
        keys: &BTreeMap<usize, String>,
    ) -> Result<(), LowerError> {
        for (key, reason) in keys {
            let Some(lowered) = self.lowered.remove(key) else { continue };
            for node in &lowered.covers {
                self.covered.remove(node);
                self.refused.insert(*node, reason.clone());
            }
        }
        loop {
            let alone = self.lowered.iter().find(|(_, lowered)| {
                let trivial = matches!(lowered.form.op, Op::Dequantize);
                let bare = |input: &Operand<'_>| match input {
                    Operand::Tensor { name, .. } => !self.makes(graph, name),
                    Operand::Constant { .. } => true,
                };
                let unmade =
                    !matches!(lowered.form.op, Op::Quantize) && !self.reads_what_is_made(graph, lowered);
                unmade || trivial && lowered.form.inputs.iter().all(bare)
            });
            let Some((key, _)) = alone else { break };
            let key = *key;
            if let Some(lowered) = self.lowered.remove(&key) {
                for node in &lowered.covers {
                    self.covered.remove(node);
                    self.refused.insert(*node, "nothing that it reads is lowered".to_owned());
                }
            }
        }
        self.dequantize(graph)
    }
}

impl<'a> Lowered<'a> {
    /// The tensors that it reads.
    pub(crate) fn tensors(&self) -> impl Iterator<Item = &'a str> + '_ {
        self.form.inputs.iter().filter_map(|input| match input {
            Operand::Tensor { name, .. } => Some(*name),
            Operand::Constant { .. } => None,
        })
    }
}

fn single<'a>(name: String, index: usize, form: Form<'a>, output: &'a str, kind: Kind) -> Lowered<'a> {
    Lowered { name, covers: vec![index], form, table: None, output, kind }
}

fn is(graph: &OnnxGraph<'_>, index: usize, kind: &str) -> bool {
    graph.node(index).op_type == kind
}
