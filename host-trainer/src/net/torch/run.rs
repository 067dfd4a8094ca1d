//! One pass over the nodes of a graph.

use rand::RngCore;
use tch::{TchError, Tensor};

use super::{Mode, TorchNet, TorchNetError};
use crate::net::init::stream;
use crate::net::{Graph, Node, NodeId, Op, ParameterRole, ResizeTarget};

/// What replaces a node's value.
pub(super) type MapValue<'a> = dyn FnMut(NodeId, Tensor) -> Result<Tensor, TchError> + 'a;

/// What a node (first) reads instead of another's (second) value; none: the value itself.
pub(super) type MapRead<'a> = dyn FnMut(&Node, NodeId, &Tensor) -> Result<Option<Tensor>, TchError> + 'a;

/// What looks into a pass.
pub(super) enum Hook<'a> {
    None,
    /// Replaces values for all their readers.
    Values(&'a mut MapValue<'a>),
    /// Replaces values for some of their readers.
    Reads(&'a mut MapRead<'a>),
}

/// When values can be dropped or overwritten.
#[derive(Debug)]
pub(super) struct Lifetimes {
    /// The last reader of each node's value; `None` for outputs and what nobody reads.
    last_reader: Vec<Option<NodeId>>,
    /// The ReLUs that may overwrite what they read.
    in_place: Vec<bool>,
}

impl Lifetimes {
    pub(super) fn new(graph: &Graph) -> Self {
        let mut last_reader = vec![None; graph.nodes.len()];
        for (id, node) in graph.iter() {
            // A node that gives only its size is kept too: resizing reads the size off the tensor.
            for input in node.inputs.iter().copied().chain(node.op.size_source()) {
                last_reader[input.0] = Some(id);
            }
        }
        for output in &graph.outputs {
            last_reader[output.0] = None;
        }
        let in_place = in_place_relus(graph, &last_reader);
        Self { last_reader, in_place }
    }
}

impl TorchNet {
    pub(super) fn run(
        &self,
        images: &Tensor,
        mode: Mode,
        mut hook: Hook<'_>,
    ) -> Result<Vec<Tensor>, TorchNetError> {
        let channels = self.graph.input_channels();
        let found = images.size();
        if found.len() != 4 || found[1] != channels as i64 || found.contains(&0) {
            return Err(TorchNetError::Input { graph: self.graph.name.clone(), channels, found });
        }
        // Shape faults are ours to explain, with the node's name, before libtorch's are.
        self.graph.shapes(found[2] as usize, found[3] as usize)?;
        let pass = self.passes.get();
        if mode == Mode::Train {
            self.passes.set(pass + 1);
        }
        let mut values: Vec<Option<Tensor>> = Vec::with_capacity(self.graph.nodes.len());
        for (id, node) in self.graph.iter() {
            let failed = |source| TorchNetError::Torch { node: node.name.clone(), source };
            let mut value = if self.lifetimes.in_place[id.0] && matches!(hook, Hook::None) {
                // Saves a pass over memory at each activation.
                let mut value = values[node.inputs[0].0].take().expect("kept until its last reader");
                value.f_relu_().map_err(failed)?
            } else if let Op::Input { .. } = node.op {
                images.shallow_clone()
            } else {
                self.apply(id, &values, mode, pass, &mut hook)?
            };
            if let Some(rounding) = &self.rounding {
                value = rounding.value(id, value).map_err(failed)?;
            }
            if let Hook::Values(map) = &mut hook {
                value = map(id, value).map_err(failed)?;
            }
            values.push(Some(value));
            for input in node.inputs.iter().copied().chain(node.op.size_source()) {
                if self.lifetimes.last_reader[input.0] == Some(id) {
                    values[input.0] = None;
                }
            }
        }
        let output = |id: &NodeId| values[id.0].as_ref().expect("outputs are kept").shallow_clone();
        Ok(self.graph.outputs.iter().map(output).collect())
    }

    fn apply(
        &self,
        id: NodeId,
        values: &[Option<Tensor>],
        mode: Mode,
        pass: u64,
        hook: &mut Hook<'_>,
    ) -> Result<Tensor, TorchNetError> {
        let node = self.graph.node(id);
        let value = |id: NodeId| values[id.0].as_ref().expect("kept until its last reader");
        let failed = |source| TorchNetError::Torch { node: node.name.clone(), source };
        let mut replaced: Vec<Option<Tensor>> = node.inputs.iter().map(|_| None).collect();
        if let Hook::Reads(map) = hook {
            for (slot, &input) in replaced.iter_mut().zip(&node.inputs) {
                *slot = map(node, input, value(input)).map_err(failed)?;
            }
        }
        let inputs: Vec<&Tensor> = node
            .inputs
            .iter()
            .zip(&replaced)
            .map(|(&i, own)| own.as_ref().unwrap_or_else(|| value(i)))
            .collect();
        let x = inputs[0];
        let role = |role| self.parameter(&node.name, role);
        match &node.op {
            Op::Input { .. } => unreachable!("handled by the caller"),
            Op::Conv2d(c) => {
                let weight = role(ParameterRole::Weight).expect("checked against the graph");
                let rounding = self.rounding.as_ref().map(|rounding| rounding.weight(id, weight));
                let rounded = rounding.transpose().map_err(failed)?.flatten();
                x.f_conv2d(
                    rounded.as_ref().unwrap_or(weight),
                    c.bias.then(|| role(ParameterRole::Bias)).flatten(),
                    c.stride.map(|v| v as i64),
                    c.padding.map(|v| v as i64),
                    c.dilation.map(|v| v as i64),
                    c.groups as i64,
                )
            }
            Op::BatchNorm2d(norm) => {
                let (n, _, h, w) = x.size4().map_err(failed)?;
                if mode == Mode::Train && n * h * w == 1 {
                    return Err(TorchNetError::BatchTooSmall { node: node.name.clone() });
                }
                x.f_batch_norm(
                    role(ParameterRole::Gamma),
                    role(ParameterRole::Beta),
                    role(ParameterRole::RunningMean),
                    role(ParameterRole::RunningVar),
                    mode == Mode::Train,
                    norm.momentum,
                    norm.eps,
                    true,
                )
            }
            Op::Relu => x.f_relu(),
            Op::MaxPool2d(p) => {
                let [kernel, stride, padding] =
                    [p.kernel, p.stride, p.padding].map(|pair| pair.map(|v| v as i64));
                x.f_max_pool2d(kernel, stride, padding, [1, 1], false)
            }
            Op::AvgPool2d(p) => {
                let [kernel, stride] = [p.kernel, p.stride].map(|pair| pair.map(|v| v as i64));
                x.f_avg_pool2d(kernel, stride, [0, 0], false, true, None::<i64>)
            }
            Op::GroupNorm(norm) => x.f_group_norm(
                norm.groups as i64,
                role(ParameterRole::Gamma),
                role(ParameterRole::Beta),
                norm.eps,
                true,
            ),
            Op::GlobalAveragePool => x.f_mean_dim([2i64, 3].as_slice(), true, None),
            Op::Add => x.f_add(inputs[1]),
            Op::Concat => Tensor::f_cat(&inputs, 1),
            Op::Resize(target) => {
                let size = match target {
                    ResizeTarget::Scale(s) => x.size()[2..].iter().map(|v| v * i64::from(*s)).collect(),
                    ResizeTarget::Like(reference) => value(*reference).size()[2..].to_vec(),
                };
                x.f_upsample_bilinear2d(size, false, None, None)
            }
            Op::Dropout { .. } if mode == Mode::Eval => Ok(x.shallow_clone()),
            Op::Dropout { p } => self.dropout(x, &node.name, *p, pass),
        }
        .map_err(failed)
    }

    /// Multiplies by a mask drawn from (step seed, node, pass) on the CPU.
    fn dropout(&self, x: &Tensor, node: &str, p: f32, pass: u64) -> Result<Tensor, TchError> {
        let mut rng = stream(self.step_seed.get(), node);
        rng.set_stream(pass);
        let bar = (f64::from(p) * 2f64.powi(32)) as u32;
        let keep = 1.0 / (1.0 - p);
        let mask: Vec<f32> = (0..x.numel()).map(|_| if rng.next_u32() < bar { 0.0 } else { keep }).collect();
        x.f_mul(&Tensor::f_from_slice(&mask)?.f_view(x.size().as_slice())?.f_to_device(x.device())?)
    }

    fn parameter(&self, node: &str, role: ParameterRole) -> Option<&Tensor> {
        self.tensors.get(&format!("{node}.{}", role.suffix()))
    }
}

/// The ReLUs that may overwrite what they read: nobody else reads it, it is not the caller's image nor a view of
/// another value (dropout in evaluation), and its producer does not need it for its own gradient.
fn in_place_relus(graph: &Graph, last_reader: &[Option<NodeId>]) -> Vec<bool> {
    let readers = graph.consumers();
    let overwrites = |(id, node): (NodeId, &Node)| match (&node.op, node.inputs.first()) {
        (Op::Relu, Some(&input)) => {
            let fixed = matches!(graph.node(input).op, Op::Input { .. } | Op::Dropout { .. } | Op::Relu);
            !fixed && readers[input.0] == [id] && last_reader[input.0] == Some(id)
        }
        _ => false,
    };
    graph.iter().map(overwrites).collect()
}
