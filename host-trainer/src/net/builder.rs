//! Puts a [`Graph`] together, keeping track of channels so that an architecture states each of them once.

use super::graph::{Graph, Node, NodeId};
use super::op::{AvgPool2d, BatchNorm2d, Conv2d, GroupNorm, MaxPool2d, Op, ResizeTarget};

/// A graph under construction. Names may be in any scheme; those here follow PyTorch's module paths.
#[derive(Debug)]
pub struct GraphBuilder {
    name: String,
    nodes: Vec<Node>,
    /// Output channels by node.
    channels: Vec<usize>,
}

impl GraphBuilder {
    /// Starts a graph that reads an image of `channels`; gives the image's node too.
    pub fn new(name: impl Into<String>, channels: usize) -> (Self, NodeId) {
        let mut builder = Self { name: name.into(), nodes: Vec::new(), channels: Vec::new() };
        let image = builder.push("image", Op::Input { channels }, Vec::new(), channels);
        (builder, image)
    }

    /// Output channels of a node.
    pub fn channels(&self, id: NodeId) -> usize {
        self.channels[id.0]
    }

    /// A square convolution without bias that keeps the image's size (odd `kernel`); `adjust` changes any of that.
    /// Padding is set again to keep the size if `adjust` changes the dilation and leaves the padding alone.
    pub fn conv(
        &mut self,
        name: impl Into<String>,
        input: NodeId,
        out_channels: usize,
        kernel: usize,
        adjust: impl FnOnce(&mut Conv2d),
    ) -> NodeId {
        let padding = [kernel / 2; 2];
        let mut conv = Conv2d {
            in_channels: self.channels(input),
            out_channels,
            kernel: [kernel; 2],
            stride: [1, 1],
            padding,
            dilation: [1, 1],
            groups: 1,
            bias: false,
        };
        adjust(&mut conv);
        if conv.padding == padding {
            conv.padding = [padding[0] * conv.dilation[0], padding[1] * conv.dilation[1]];
        }
        self.push(name, Op::Conv2d(conv), vec![input], out_channels)
    }

    /// Batch normalization with PyTorch's defaults: eps 1e-5, momentum 0.1.
    pub fn batch_norm(&mut self, name: impl Into<String>, input: NodeId) -> NodeId {
        let channels = self.channels(input);
        self.push(
            name,
            Op::BatchNorm2d(BatchNorm2d { channels, eps: 1e-5, momentum: 0.1 }),
            vec![input],
            channels,
        )
    }

    /// Batch normalization, then ReLU; `name` is the normalization's.
    pub fn batch_norm_relu(&mut self, name: &str, input: NodeId) -> NodeId {
        let norm = self.batch_norm(name, input);
        self.relu(format!("{name}.relu"), norm)
    }

    /// max(x, 0).
    pub fn relu(&mut self, name: impl Into<String>, input: NodeId) -> NodeId {
        self.same(name, Op::Relu, input)
    }

    /// A square maximum over windows.
    pub fn max_pool(
        &mut self,
        name: impl Into<String>,
        input: NodeId,
        kernel: usize,
        stride: usize,
        padding: usize,
    ) -> NodeId {
        let pool = MaxPool2d { kernel: [kernel; 2], stride: [stride; 2], padding: [padding; 2] };
        self.same(name, Op::MaxPool2d(pool), input)
    }

    /// A square mean over windows that do not overlap.
    pub fn avg_pool(&mut self, name: impl Into<String>, input: NodeId, kernel: usize) -> NodeId {
        self.same(name, Op::AvgPool2d(AvgPool2d { kernel: [kernel; 2], stride: [kernel; 2] }), input)
    }

    /// Group normalization with PyTorch's default eps.
    pub fn group_norm(&mut self, name: impl Into<String>, input: NodeId, groups: usize) -> NodeId {
        let channels = self.channels(input);
        self.same(name, Op::GroupNorm(GroupNorm { channels, groups, eps: 1e-5 }), input)
    }

    /// Mean over the image.
    pub fn global_average_pool(&mut self, name: impl Into<String>, input: NodeId) -> NodeId {
        self.same(name, Op::GlobalAveragePool, input)
    }

    /// a + b.
    pub fn add(&mut self, name: impl Into<String>, a: NodeId, b: NodeId) -> NodeId {
        let channels = self.channels(a);
        self.push(name, Op::Add, vec![a, b], channels)
    }

    /// Channels of all inputs in order.
    pub fn concat(&mut self, name: impl Into<String>, inputs: &[NodeId]) -> NodeId {
        let channels = inputs.iter().map(|&i| self.channels(i)).sum();
        self.push(name, Op::Concat, inputs.to_vec(), channels)
    }

    /// Bilinear interpolation.
    pub fn resize(&mut self, name: impl Into<String>, input: NodeId, target: ResizeTarget) -> NodeId {
        self.same(name, Op::Resize(target), input)
    }

    /// Dropout of elements with probability `p`; no node at all for p = 0.
    pub fn dropout(&mut self, name: impl Into<String>, input: NodeId, p: f32) -> NodeId {
        if p == 0.0 { input } else { self.same(name, Op::Dropout { p }, input) }
    }

    /// The graph with these outputs. It is checked where it is used ([`Graph::validate`]).
    pub fn finish(self, outputs: &[NodeId]) -> Graph {
        Graph { name: self.name, nodes: self.nodes, outputs: outputs.to_vec() }
    }

    fn same(&mut self, name: impl Into<String>, op: Op, input: NodeId) -> NodeId {
        let channels = self.channels(input);
        self.push(name, op, vec![input], channels)
    }

    fn push(&mut self, name: impl Into<String>, op: Op, inputs: Vec<NodeId>, channels: usize) -> NodeId {
        self.nodes.push(Node { name: name.into(), op, inputs });
        self.channels.push(channels);
        NodeId(self.nodes.len() - 1)
    }
}
