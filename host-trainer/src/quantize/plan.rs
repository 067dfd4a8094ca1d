//! Reads off a folded graph which values are stored in 8 bits and which of them must share a range.

use std::collections::BTreeMap;

use super::error::QuantizeError;
use super::histogram::Range;
use crate::net::{Graph, NodeId, Op};

/// A set of nodes that share one scale and zero point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId(usize);

/// Which nodes' outputs are stored in 8 bits, and in which group.
///
/// - The outputs, and what leads to them after the last convolution, stay f32: that is the head's output and the
///   last upsampling. The head's convolution keeps f32 weights.
/// - A ReLU takes in the convolution or sum before it: only the ReLU's output is stored.
/// - Max pooling and bilinear upsampling move values about and keep their input's range; a concatenation and all
///   its inputs share one, so that it is a copy.
#[derive(Clone, Debug)]
pub struct QuantPlan {
    groups: Vec<Option<GroupId>>,
    names: BTreeMap<GroupId, String>,
    relays: Vec<bool>,
}

/// A part of a network that may be quantized or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Unit {
    /// The weights of this convolution.
    Weights(NodeId),
    /// The values of this group. Where they are not stored, the convolutions that write or read them are f32 as well.
    Values(GroupId),
}

/// The range of each group.
pub type Ranges = BTreeMap<GroupId, Range>;

impl QuantPlan {
    /// Plans a folded graph.
    ///
    /// # Errors
    /// If the graph is not valid, or still holds what only training needs.
    pub fn new(graph: &Graph) -> Result<Self, QuantizeError> {
        graph.validate()?;
        if let Some(node) =
            graph.nodes.iter().find(|n| matches!(n.op, Op::BatchNorm2d(_) | Op::Dropout { .. }))
        {
            return Err(QuantizeError::NotFolded { node: node.name.clone(), op: node.op.to_string() });
        }
        let float = float_tail(graph);
        let consumers = graph.consumers();
        let relays: Vec<bool> = graph.nodes.iter().map(|n| is_relay(&n.op)).collect();
        let stored = |id: NodeId| {
            let taken_in = matches!(graph.node(id).op, Op::Conv2d(_) | Op::Add)
                && matches!(consumers[id.0][..], [only] if graph.node(only).op == Op::Relu && !float[only.0]);
            !float[id.0] && !taken_in
        };

        // Union by relabelling: graphs have some hundred nodes.
        let mut label: Vec<usize> = (0..graph.nodes.len()).collect();
        for (id, node) in graph.iter().filter(|(id, n)| is_relay(&n.op) && stored(*id)) {
            for &input in node.inputs.iter().filter(|i| stored(**i)) {
                let (from, to) = (label[id.0].max(label[input.0]), label[id.0].min(label[input.0]));
                label.iter_mut().filter(|l| **l == from).for_each(|l| *l = to);
            }
        }
        let groups: Vec<_> = graph.iter().map(|(id, _)| stored(id).then(|| GroupId(label[id.0]))).collect();
        // A label is the first node of its group, which is no relay: relays come after what they read.
        let names = groups.iter().flatten().map(|g| (*g, graph.nodes[g.0].name.clone())).collect();
        Ok(Self { groups, names, relays })
    }

    /// The group that a node's output is stored in; `None` if it stays f32.
    pub fn group(&self, id: NodeId) -> Option<GroupId> {
        self.groups[id.0]
    }

    /// The group whose range this node's values decide: its own, unless it only passes on what it reads.
    pub fn decides(&self, id: NodeId) -> Option<GroupId> {
        self.group(id).filter(|_| !self.relays[id.0])
    }

    /// A unit's name in the graph.
    pub fn name<'a>(&'a self, graph: &'a Graph, unit: Unit) -> &'a str {
        match unit {
            Unit::Weights(id) => &graph.node(id).name,
            Unit::Values(group) => self.names.get(&group).map_or("", String::as_str),
        }
    }

    /// All groups with the name of their first node.
    pub fn groups(&self) -> impl Iterator<Item = (GroupId, &str)> {
        self.names.iter().map(|(id, name)| (*id, name.as_str()))
    }
}

/// Operations whose output lies in the range of their inputs and takes most of it.
fn is_relay(op: &Op) -> bool {
    matches!(op, Op::MaxPool2d(_) | Op::Resize(_) | Op::Concat)
}

/// The outputs and all nodes that lead nowhere else without passing a convolution.
fn float_tail(graph: &Graph) -> Vec<bool> {
    let consumers = graph.consumers();
    let mut float = vec![false; graph.nodes.len()];
    for id in (0..graph.nodes.len()).rev() {
        let passes_on = |c: &NodeId| float[c.0] && !matches!(graph.node(*c).op, Op::Conv2d(_));
        float[id] = graph.outputs.contains(&NodeId(id))
            || !consumers[id].is_empty() && consumers[id].iter().all(passes_on);
    }
    float
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::{DeepLabConfig, GraphBuilder, deeplab_v3_plus, fold_batch_norm, he_init};

    fn deeplab() -> Graph {
        let graph = deeplab_v3_plus(&DeepLabConfig::default());
        fold_batch_norm(&graph, &he_init(&graph, 1)).unwrap().0
    }

    #[test]
    fn the_head_and_its_upsampling_stay_f32_and_what_they_read_does_not() {
        let graph = deeplab();
        let plan = QuantPlan::new(&graph).unwrap();
        let group = |name: &str| plan.group(graph.find(name).unwrap());
        assert_eq!(group("segmentation_head.0"), None);
        assert_eq!(group("segmentation_head.1"), None);
        assert!(group("decoder.block2.1.relu").is_some());
        assert!(group("image").is_some());
    }

    #[test]
    fn relu_takes_in_its_producer_and_a_residual_convolution_is_stored() {
        let graph = deeplab();
        let plan = QuantPlan::new(&graph).unwrap();
        let group = |name: &str| plan.group(graph.find(name).unwrap());
        assert_eq!(group("encoder.layer1.0.conv1"), None);
        assert!(group("encoder.layer1.0.bn1.relu").is_some());
        assert!(group("encoder.layer1.0.conv2").is_some());
        assert_eq!(group("encoder.layer1.0.add"), None);
        assert!(group("encoder.layer1.0.relu").is_some());
    }

    #[test]
    fn joined_pooled_and_upsampled_values_share_a_range() {
        let graph = deeplab();
        let plan = QuantPlan::new(&graph).unwrap();
        let group = |name: &str| plan.group(graph.find(name).unwrap()).unwrap();
        assert_eq!(group("encoder.maxpool"), group("encoder.bn1.relu"));
        let aspp = group("decoder.aspp.0.concat");
        for branch in ["convs.0.1.relu", "convs.1.1.relu", "convs.3.1.relu", "convs.4.up", "convs.4.2.relu"] {
            assert_eq!(group(&format!("decoder.aspp.0.{branch}")), aspp);
        }
        assert_ne!(group("decoder.concat"), aspp);
        assert_eq!(group("decoder.up"), group("decoder.block1.1.relu"));
    }

    #[test]
    fn every_group_has_a_node_that_decides_its_range() {
        let graph = deeplab();
        let plan = QuantPlan::new(&graph).unwrap();
        for (group, name) in plan.groups() {
            assert!(graph.iter().any(|(id, _)| plan.decides(id) == Some(group)), "{name}");
        }
    }

    #[test]
    fn an_unfolded_graph_is_refused_with_the_remedy() {
        let (mut g, x) = GraphBuilder::new("g", 1);
        let x = g.conv("c", x, 1, 1, |_| ());
        let x = g.batch_norm("n", x);
        let fault = QuantPlan::new(&g.finish(&[x])).unwrap_err().to_string();
        assert!(fault.contains("`n`") && fault.contains("fold"), "{fault}");
    }
}
