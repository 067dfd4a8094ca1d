//! An ONNX graph with its tensors' makers and readers.

mod attributes;
mod tensor;

use std::collections::{BTreeSet, HashMap};

use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::type_proto::Value;
use tract_onnx::pb::{AttributeProto, GraphProto, NodeProto, TensorProto, TypeProto};

pub(crate) use attributes::Attributes;
pub(crate) use tensor::{Constant, Data};

use crate::LowerError;

/// A sound graph: every tensor is made once and before it is read.
#[derive(Debug)]
pub(crate) struct OnnxGraph<'a> {
    pub(crate) proto: &'a GraphProto,
    /// Nodes' indices, each after those that it reads from.
    pub(crate) order: Vec<usize>,
    constants: HashMap<&'a str, Stored<'a>>,
    /// Initializers and their element types.
    initialized: HashMap<&'a str, i32>,
    maker: HashMap<&'a str, usize>,
    readers: HashMap<&'a str, Vec<usize>>,
    outputs: BTreeSet<&'a str>,
}

/// Where a constant stands. Constants are decoded when they are asked for: most of them are weights, of which none is
/// needed twice.
#[derive(Debug)]
enum Stored<'a> {
    Tensor(&'a TensorProto),
    Attribute(&'a AttributeProto),
}

impl<'a> OnnxGraph<'a> {
    pub(crate) fn new(proto: &'a GraphProto) -> Result<Self, LowerError> {
        let mut constants = HashMap::new();
        let mut initialized = HashMap::new();
        let mut given: BTreeSet<&str> = proto.input.iter().map(|input| input.name.as_str()).collect();
        for tensor in &proto.initializer {
            initialized.insert(tensor.name.as_str(), tensor.data_type);
            if Constant::check(tensor)? {
                constants.insert(tensor.name.as_str(), Stored::Tensor(tensor));
            }
        }
        let sparse = proto.sparse_initializer.iter().filter_map(|sparse| sparse.values.as_ref());
        initialized.extend(sparse.map(|values| (values.name.as_str(), values.data_type)));
        given.extend(initialized.keys());
        let mut maker = HashMap::new();
        let mut readers: HashMap<&str, Vec<usize>> = HashMap::new();
        for (index, node) in proto.node.iter().enumerate() {
            for output in node.output.iter().filter(|name| !name.is_empty()) {
                if maker.insert(output.as_str(), index).is_some() || given.contains(output.as_str()) {
                    return Err(LowerError::MadeTwice { tensor: output.clone(), node: title(node) });
                }
            }
            if let Some((name, stored)) = constant_node(node) {
                let known = match &stored {
                    Stored::Tensor(tensor) => Constant::check(tensor)?,
                    Stored::Attribute(attribute) => Constant::stated(attribute).is_some(),
                };
                if known {
                    constants.insert(name, stored);
                }
            }
            for input in reads(node) {
                readers.entry(input).or_default().push(index);
            }
        }
        let outputs: BTreeSet<&str> = proto.output.iter().map(|output| output.name.as_str()).collect();
        let made = |name: &str| given.contains(name) || maker.contains_key(name);
        for node in &proto.node {
            // Bodies of loops and branches read by closure what may be their own; tract looks after these.
            if let Some(tensor) = node.input.iter().find(|name| !name.is_empty() && !made(name)) {
                return Err(LowerError::Dangling { reader: title(node), tensor: tensor.clone() });
            }
        }
        if let Some(tensor) = outputs.iter().find(|name| !made(name)) {
            let reader = "the graph's output".to_owned();
            return Err(LowerError::Dangling { reader, tensor: (*tensor).to_owned() });
        }
        let order = sort(proto, &maker)?;
        Ok(Self { proto, order, constants, initialized, maker, readers, outputs })
    }

    pub(crate) fn node(&self, index: usize) -> &'a NodeProto {
        &self.proto.node[index]
    }

    /// The node that makes a tensor.
    pub(crate) fn maker(&self, tensor: &str) -> Option<usize> {
        self.maker.get(tensor).copied()
    }

    /// Nodes that read a tensor, once for each time that they do.
    pub(crate) fn readers(&self, tensor: &str) -> &[usize] {
        self.readers.get(tensor).map_or(&[], Vec::as_slice)
    }

    /// Whether the graph gives the tensor out.
    pub(crate) fn is_output(&self, tensor: &str) -> bool {
        self.outputs.contains(tensor)
    }

    /// The one node that reads a tensor, if nothing else does.
    pub(crate) fn only_reader(&self, tensor: &str) -> Option<usize> {
        match self.readers(tensor) {
            [reader] if !self.is_output(tensor) => Some(*reader),
            _ => None,
        }
    }

    /// Whether the tensor is an initializer, of any type.
    pub(crate) fn is_initialized(&self, tensor: &str) -> bool {
        self.initialized.contains_key(tensor)
    }

    pub(crate) fn constant(&self, tensor: &str) -> Option<Constant> {
        match self.constants.get(tensor)? {
            // What was checked can be read.
            Stored::Tensor(tensor) => Constant::read(tensor).ok().flatten(),
            Stored::Attribute(attribute) => Constant::stated(attribute),
        }
    }

    /// Whether [`Self::constant`] knows the tensor.
    pub(crate) fn is_constant(&self, tensor: &str) -> bool {
        self.constants.contains_key(tensor)
    }

    /// The element type of a tensor, as far as the file tells: a number of ONNX's.
    pub(crate) fn element(&self, tensor: &str) -> Option<i32> {
        if let Some(maker) = self.maker(tensor).map(|index| self.node(index))
            && maker.op_type == "QuantizeLinear"
        {
            // Its zero point's type, and u8 without one.
            return match maker.input.get(2).filter(|name| !name.is_empty()) {
                Some(zero_point) => self.stored_element(zero_point),
                None => Some(match Attributes(maker).int("output_dtype", 0) {
                    0 => DataType::Uint8 as i32,
                    stated => stated as i32,
                }),
            };
        }
        if let Some(element) = self.stored_element(tensor) {
            return Some(element);
        }
        let info = self.proto.input.iter().find(|input| input.name == tensor)?;
        let Some(TypeProto { value: Some(Value::TensorType(tensor)), .. }) = &info.r#type else {
            return None;
        };
        Some(tensor.elem_type)
    }

    fn stored_element(&self, tensor: &str) -> Option<i32> {
        if let Some(element) = self.initialized.get(tensor) {
            return Some(*element);
        }
        let node = self.maker(tensor).map(|index| self.node(index))?;
        match constant_node(node)?.1 {
            Stored::Tensor(tensor) => Some(tensor.data_type),
            Stored::Attribute(_) => None,
        }
    }
}

/// The tensors that a node reads, those of the graphs in its attributes included.
pub(crate) fn reads(node: &NodeProto) -> Vec<&str> {
    let mut names: Vec<&str> =
        node.input.iter().map(String::as_str).filter(|name| !name.is_empty()).collect();
    let inner = node.attribute.iter().flat_map(|attribute| attribute.g.iter().chain(&attribute.graphs));
    for graph in inner {
        names.extend(graph.node.iter().flat_map(reads));
        names.extend(graph.output.iter().map(|output| output.name.as_str()));
    }
    names
}

/// How errors and reports call a node.
pub(crate) fn title(node: &NodeProto) -> String {
    let name = match (node.name.as_str(), node.output.first()) {
        ("", Some(output)) => output,
        ("", None) => "?",
        (name, _) => name,
    };
    format!("{} '{name}'", node.op_type)
}

fn constant_node(node: &NodeProto) -> Option<(&str, Stored<'_>)> {
    let output = node.output.first().filter(|_| node.op_type == "Constant")?;
    let value = node.attribute.first()?;
    let stored =
        if value.name == "value" { Stored::Tensor(value.t.as_ref()?) } else { Stored::Attribute(value) };
    Some((output, stored))
}

fn sort(proto: &GraphProto, maker: &HashMap<&str, usize>) -> Result<Vec<usize>, LowerError> {
    let before: Vec<BTreeSet<usize>> = proto
        .node
        .iter()
        .map(|node| reads(node).iter().filter_map(|name| maker.get(name).copied()).collect())
        .collect();
    let mut after: Vec<Vec<usize>> = vec![Vec::new(); proto.node.len()];
    for (node, makers) in before.iter().enumerate() {
        makers.iter().for_each(|maker| after[*maker].push(node));
    }
    let mut waits: Vec<usize> = before.iter().map(BTreeSet::len).collect();
    // The lowest first: a graph that is in order stays so.
    let mut ready: BTreeSet<usize> = (0..waits.len()).filter(|node| waits[*node] == 0).collect();
    let mut order = Vec::with_capacity(waits.len());
    while let Some(node) = ready.pop_first() {
        order.push(node);
        for next in &after[node] {
            waits[*next] -= 1;
            if waits[*next] == 0 {
                ready.insert(*next);
            }
        }
    }
    match waits.iter().position(|waits| *waits > 0) {
        Some(node) => Err(LowerError::Cycle { node: title(&proto.node[node]) }),
        None => Ok(order),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tract_onnx::pb::ValueInfoProto;

    fn node(op: &str, inputs: &[&str], outputs: &[&str]) -> NodeProto {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        NodeProto { op_type: op.into(), input: names(inputs), output: names(outputs), ..NodeProto::default() }
    }

    fn graph(nodes: Vec<NodeProto>, output: &str) -> GraphProto {
        let port = |name: &str| ValueInfoProto { name: name.into(), ..ValueInfoProto::default() };
        GraphProto {
            node: nodes,
            input: vec![port("x")],
            output: vec![port(output)],
            ..GraphProto::default()
        }
    }

    #[test]
    fn nodes_are_put_in_order() {
        let proto = graph(vec![node("Relu", &["a"], &["b"]), node("Relu", &["x"], &["a"])], "b");
        let graph = OnnxGraph::new(&proto).unwrap();
        assert_eq!(graph.order, [1, 0]);
        assert_eq!(
            (graph.maker("a"), graph.only_reader("a"), graph.only_reader("b")),
            (Some(1), Some(0), None)
        );
    }

    #[test]
    fn unsound_graphs_are_refused_by_name() {
        let refused = |nodes, output| OnnxGraph::new(&graph(nodes, output)).unwrap_err().to_string();
        let dangling = refused(vec![node("Relu", &["ghost"], &["y"])], "y");
        assert!(dangling.starts_with("Relu 'y' reads 'ghost'"), "{dangling}");
        let output = refused(vec![], "y");
        assert!(output.starts_with("the graph's output reads 'y'"), "{output}");
        let cycle = refused(vec![node("Relu", &["b"], &["a"]), node("Relu", &["a"], &["b"])], "b");
        assert_eq!(cycle, "Relu 'a' waits for its own output");
        let twice = refused(vec![node("Relu", &["x"], &["y"]), node("Abs", &["x"], &["y"])], "y");
        assert_eq!(twice, "'y' is made twice, the second time by Abs 'y'");
    }
}
