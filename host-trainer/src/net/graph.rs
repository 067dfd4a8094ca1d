//! A network as a directed acyclic graph of [`Op`]s, in an order in which it can be run.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::op::{Op, ParameterSpec, ResizeTarget, Shape};

/// The position of a node in its graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeId(pub usize);

/// One operation, where its inputs come from, and the name its parameters go by.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Node {
    /// Unique within the graph; the prefix of its parameters' names.
    pub name: String,
    /// What it computes.
    pub op: Op,
    /// What it reads, in order; all of them come before it.
    pub inputs: Vec<NodeId>,
}

/// A network. Node 0 is the only [`Op::Input`]; every node comes after all that it reads.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Graph {
    /// The architecture, for people.
    pub name: String,
    /// The nodes, in running order.
    pub nodes: Vec<Node>,
    /// What the network gives back; the first is the logits.
    pub outputs: Vec<NodeId>,
}

/// Why a graph is not a network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GraphError {
    /// No input, or more than one, or not at the front.
    #[error("graph `{0}`: node 0, and no other, must be the input")]
    Input(String),
    /// Nothing comes out.
    #[error("graph `{0}` has no outputs: name at least the logits")]
    NoOutput(String),
    /// An output that is no node.
    #[error("graph `{graph}`: output {id} is beyond its {nodes} nodes")]
    UnknownOutput {
        /// The graph.
        graph: String,
        /// The output.
        id: usize,
        /// How many nodes there are.
        nodes: usize,
    },
    /// Two nodes of one name would share parameters.
    #[error("node `{0}` appears twice: names must be unique")]
    DuplicateName(String),
    /// A node reads one that does not come before it.
    #[error("node `{node}` reads node {input}, which does not come before it")]
    Order {
        /// The reader.
        node: String,
        /// What it reads.
        input: usize,
    },
    /// A wrong number of inputs.
    #[error("node `{node}` ({op}) reads {found} inputs")]
    Arity {
        /// The node.
        node: String,
        /// Its operation.
        op: String,
        /// How many inputs it has.
        found: usize,
    },
    /// Attributes that make no sense.
    #[error("node `{node}` {fault}")]
    Attribute {
        /// The node.
        node: String,
        /// What is wrong.
        fault: &'static str,
    },
    /// Shapes that do not fit.
    #[error("node `{node}` {fault} (image {rows} × {cols})")]
    Shape {
        /// The node.
        node: String,
        /// What is wrong.
        fault: String,
        /// Rows of the image.
        rows: usize,
        /// Columns of the image.
        cols: usize,
    },
}

impl Graph {
    /// Channels of the image that the network reads.
    pub fn input_channels(&self) -> usize {
        match self.nodes.first().map(|n| &n.op) {
            Some(Op::Input { channels }) => *channels,
            _ => 0,
        }
    }

    /// The node with this id.
    ///
    /// # Panics
    /// If the id belongs to another graph.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0]
    }

    /// The nodes with their ids, in running order.
    pub fn iter(&self) -> impl Iterator<Item = (NodeId, &Node)> {
        self.nodes.iter().enumerate().map(|(i, n)| (NodeId(i), n))
    }

    /// The node of this name.
    pub fn find(&self, name: &str) -> Option<NodeId> {
        self.nodes.iter().position(|n| n.name == name).map(NodeId)
    }

    /// For each node, the nodes that read its values (not those that only take their size from it).
    pub fn consumers(&self) -> Vec<Vec<NodeId>> {
        let mut all = vec![Vec::new(); self.nodes.len()];
        for (id, node) in self.iter() {
            for input in &node.inputs {
                all[input.0].push(id);
            }
        }
        all
    }

    /// Checks everything that does not depend on the image's size. All other methods take a valid graph.
    ///
    /// # Errors
    /// The first fault, with the node's name.
    pub fn validate(&self) -> Result<(), GraphError> {
        let inputs: Vec<usize> =
            (0..self.nodes.len()).filter(|&i| self.nodes[i].op.arity() == Some(0)).collect();
        if inputs != [0] {
            return Err(GraphError::Input(self.name.clone()));
        }
        if self.outputs.is_empty() {
            return Err(GraphError::NoOutput(self.name.clone()));
        }
        if let Some(out) = self.outputs.iter().find(|o| o.0 >= self.nodes.len()) {
            return Err(GraphError::UnknownOutput {
                graph: self.name.clone(),
                id: out.0,
                nodes: self.nodes.len(),
            });
        }
        let mut names = BTreeSet::new();
        for (id, node) in self.iter() {
            if !names.insert(&node.name) {
                return Err(GraphError::DuplicateName(node.name.clone()));
            }
            let arity_holds = match node.op.arity() {
                Some(n) => node.inputs.len() == n,
                None => !node.inputs.is_empty(),
            };
            if !arity_holds {
                let (node, op, found) = (node.name.clone(), node.op.to_string(), node.inputs.len());
                return Err(GraphError::Arity { node, op, found });
            }
            if let Some(late) = node.inputs.iter().chain(node.op.size_source().as_ref()).find(|i| **i >= id) {
                return Err(GraphError::Order { node: node.name.clone(), input: late.0 });
            }
            if let Some(fault) = node.op.fault() {
                return Err(GraphError::Attribute { node: node.name.clone(), fault });
            }
        }
        Ok(())
    }

    /// The shape of every node's output for an image of `rows` × `cols`.
    ///
    /// # Errors
    /// If the graph is not valid, or the image is too small or does not fit it.
    pub fn shapes(&self, rows: usize, cols: usize) -> Result<Vec<Shape>, GraphError> {
        self.validate()?;
        let mut shapes: Vec<Shape> = Vec::with_capacity(self.nodes.len());
        for node in &self.nodes {
            let inputs: Vec<Shape> = node.inputs.iter().map(|i| shapes[i.0]).collect();
            let like = node.op.size_source().map(|id| shapes[id.0]);
            let shape = node
                .op
                .output_shape(&inputs, like, [rows, cols])
                .map_err(|fault| GraphError::Shape { node: node.name.clone(), fault, rows, cols })?;
            shapes.push(shape);
        }
        Ok(shapes)
    }

    /// Multiply-accumulates of all convolutions for one image of `rows` × `cols`.
    ///
    /// # Errors
    /// As [`Graph::shapes`].
    pub fn macs(&self, rows: usize, cols: usize) -> Result<u64, GraphError> {
        let shapes = self.shapes(rows, cols)?;
        Ok(self.nodes.iter().zip(shapes).map(|(node, shape)| node.op.macs(shape)).sum())
    }

    /// Every tensor that the network needs, in running order.
    pub fn parameters(&self) -> Vec<ParameterSpec> {
        self.nodes
            .iter()
            .flat_map(|node| {
                node.op.parameters().into_iter().map(|(role, shape)| ParameterSpec {
                    name: format!("{}.{}", node.name, role.suffix()),
                    shape,
                    role,
                })
            })
            .collect()
    }

    /// Names and shapes of [`Graph::parameters`].
    pub fn parameter_shapes(&self) -> Vec<(String, Vec<usize>)> {
        self.parameters().into_iter().map(|p| (p.name, p.shape)).collect()
    }

    /// How many numbers the optimizer trains.
    pub fn trainable_count(&self) -> usize {
        let trainable = self.parameters().into_iter().filter(|p| p.role.is_trainable());
        trainable.map(|p| p.shape.iter().product::<usize>()).sum()
    }
}

impl Op {
    /// The node whose size a resize takes, if it takes one's.
    pub(crate) fn size_source(&self) -> Option<NodeId> {
        match self {
            Op::Resize(ResizeTarget::Like(id)) => Some(*id),
            _ => None,
        }
    }

    /// The same operation in a graph whose nodes have new places.
    pub(crate) fn with_size_source(&self, moved: &[NodeId]) -> Self {
        match self {
            Op::Resize(ResizeTarget::Like(id)) => Op::Resize(ResizeTarget::Like(moved[id.0])),
            other => other.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::{Conv2d, GraphBuilder};

    fn small() -> Graph {
        let (mut g, x) = GraphBuilder::new("small", 1);
        let a = g.conv("a", x, 4, 3, |c| c.stride = [2, 2]);
        let b = g.batch_norm("a_bn", a);
        let c = g.conv("b", b, 4, 3, |_| ());
        let d = g.add("sum", b, c);
        let e = g.resize("up", d, ResizeTarget::Like(x));
        g.finish(&[e])
    }

    #[test]
    fn shapes_follow_the_convolution_arithmetic_for_odd_sizes() {
        let shapes = small().shapes(33, 20).unwrap();
        assert_eq!(shapes, [[1, 33, 20], [4, 17, 10], [4, 17, 10], [4, 17, 10], [4, 17, 10], [4, 33, 20]]);
    }

    #[test]
    fn cost_counts_every_tap_of_every_convolution() {
        assert_eq!(small().macs(8, 8).unwrap(), 4 * 16 * 9 + 4 * 16 * 4 * 9);
    }

    #[test]
    fn parameters_are_named_as_in_pytorch_and_trained_unless_they_are_running_statistics() {
        let names: Vec<_> = small().parameter_shapes().into_iter().map(|(n, _)| n).collect();
        let bn = ["a_bn.weight", "a_bn.bias", "a_bn.running_mean", "a_bn.running_var"];
        assert_eq!(names, [&["a.weight"][..], &bn, &["b.weight"]].concat());
        assert_eq!(small().trainable_count(), 36 + 4 + 4 + 144);
    }

    #[test]
    fn serde_keeps_the_graph() {
        let text = serde_json::to_string(&small()).unwrap();
        assert_eq!(serde_json::from_str::<Graph>(&text).unwrap(), small());
    }

    #[test]
    fn an_operation_that_there_is_not_is_named_with_those_that_there_are() {
        let text = serde_json::to_string(&small()).unwrap().replace("\"add\"", "\"softmax\"");
        let fault = serde_json::from_str::<Graph>(&text).unwrap_err().to_string();
        assert!(fault.contains("softmax") && fault.contains("max-pool2d"), "{fault}");
    }

    #[test]
    fn faults_name_the_node() {
        let broken = |f: fn(&mut Graph)| {
            let mut g = small();
            f(&mut g);
            g.shapes(32, 32).unwrap_err().to_string()
        };
        assert!(broken(|g| g.nodes[3].name = "a".into()).contains("`a` appears twice"));
        assert!(broken(|g| g.nodes[2].inputs[0] = NodeId(4)).contains("`a_bn` reads node 4"));
        assert!(
            broken(|g| g.nodes[5].op = Op::Resize(ResizeTarget::Like(NodeId(5))))
                .contains("`up` reads node 5")
        );
        assert!(broken(|g| g.nodes[4].inputs.truncate(1)).contains("`sum` (add) reads 1 inputs"));
        assert!(broken(|g| g.nodes[0].op = Op::Relu).contains("node 0"));
        assert!(broken(|g| g.outputs.clear()).contains("no outputs"));
        assert!(broken(|g| g.outputs[0] = NodeId(9)).contains("output 9"));
        assert!(broken(|g| g.nodes[4].inputs[0] = NodeId(0)).contains("`sum` adds"));
        let widen = |g: &mut Graph| {
            if let Op::Conv2d(Conv2d { in_channels, .. }) = &mut g.nodes[3].op {
                *in_channels = 5;
            }
        };
        assert!(broken(widen).contains("`b` expects 5 channels and gets 4"));
    }

    #[test]
    fn an_image_smaller_than_a_window_is_an_error() {
        let (mut g, x) = GraphBuilder::new("wide", 1);
        let a = g.conv("a", x, 1, 7, |c| c.padding = [0, 0]);
        let fault = g.finish(&[a]).shapes(6, 9).unwrap_err();
        assert_eq!(fault.to_string(), "node `a` its window does not fit into 6 × 9 (image 6 × 9)");
    }
}
