//! Runs a [`Graph`] with libtorch, for training and as the reference that every export is compared with.

mod convert;
mod rounding;
mod run;

use std::cell::Cell;
use std::collections::BTreeMap;

use tch::{Device, TchError, Tensor, no_grad};

pub use self::convert::{from_tensor, to_tensor};
pub use self::rounding::Rounding;

use self::convert::laid_out;
use self::run::{Hook, Lifetimes, MapRead, MapValue};
use super::graph::{Graph, GraphError, NodeId};
use super::init::he_init;
use super::op::ParameterRole;
use super::params::{ParamTensor, Params, ParamsError};

/// How batch normalization and dropout behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Statistics of the batch, running statistics updated, dropout active.
    Train,
    /// Running statistics, no dropout. Gradients still flow unless under [`tch::no_grad`].
    Eval,
}

/// Why a network cannot be made or run.
#[derive(Debug, thiserror::Error)]
pub enum TorchNetError {
    /// The description is no network, or does not fit the image.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// The parameters are not the network's.
    #[error(transparent)]
    Params(#[from] ParamsError),
    /// The image batch has another shape than the network reads.
    #[error("`{graph}` reads [batch, {channels}, rows, cols] and was given {found:?}")]
    Input {
        /// The network.
        graph: String,
        /// Channels it reads.
        channels: usize,
        /// What it was given.
        found: Vec<i64>,
    },
    /// One value a channel has no variance.
    #[error("`{node}` normalizes a single value per channel: train with a batch of at least 2")]
    BatchTooSmall {
        /// The normalization.
        node: String,
    },
    /// No node to look at.
    #[error("`{graph}` has no node `{node}` whose activations could be weighed: give a classifier")]
    NoFeatures {
        /// The network.
        graph: String,
        /// The node's name.
        node: &'static str,
    },
    /// libtorch refused.
    #[error("libtorch failed in `{node}`")]
    Torch {
        /// The node that was being run.
        node: String,
        /// What it said.
        source: TchError,
    },
    /// libtorch refused outside of any node.
    #[error("libtorch failed")]
    Other(#[from] TchError),
}

/// A [`Graph`] with its parameters as tensors on a device.
///
/// Nothing in it uses libtorch's random generator: dropout draws from the seed of the step
/// ([`TorchNet::set_step_seed`]), so a step can be repeated exactly on any later day.
#[derive(Debug)]
pub struct TorchNet {
    graph: Graph,
    device: Device,
    tensors: BTreeMap<String, Tensor>,
    lifetimes: Lifetimes,
    /// What forward passes round; none: nothing.
    rounding: Option<Rounding>,
    step_seed: Cell<u64>,
    /// Forward passes in training mode since the seed was set.
    passes: Cell<u64>,
}

impl TorchNet {
    /// A network with fresh weights ([`he_init`]).
    ///
    /// # Errors
    /// If the graph is not valid or the device has no memory left.
    pub fn new(graph: &Graph, device: Device, seed: u64) -> Result<Self, TorchNetError> {
        graph.validate()?;
        Self::from_params(graph, &he_init(graph, seed), device)
    }

    /// A network with these weights.
    ///
    /// # Errors
    /// If the graph is not valid, the parameters are not exactly its own or not finite, or the device has no memory
    /// left.
    pub fn from_params(graph: &Graph, params: &Params, device: Device) -> Result<Self, TorchNetError> {
        graph.validate()?;
        params.check(graph)?;
        let mut tensors = BTreeMap::new();
        for spec in graph.parameters() {
            let param = params.get(&spec.name).expect("checked against the graph");
            let tensor = laid_out(&to_tensor(param)?, device)?;
            tensors.insert(spec.name, tensor.f_set_requires_grad(spec.role.is_trainable())?);
        }
        let lifetimes = Lifetimes::new(graph);
        let (step_seed, passes) = (Cell::new(0), Cell::new(0));
        let (graph, rounding) = (graph.clone(), None);
        Ok(Self { graph, device, tensors, lifetimes, rounding, step_seed, passes })
    }

    /// The description.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// Where the parameters are.
    pub fn device(&self) -> Device {
        self.device
    }

    /// Sets what dropout draws from until the next call. Call it before every step with a function of (seed, step):
    /// then a resumed training equals an uninterrupted one.
    pub fn set_step_seed(&self, seed: u64) {
        self.step_seed.set(seed);
        self.passes.set(0);
    }

    /// Images `[N, C, H, W]` (normalized) → the first output, logits `[N, classes, H, W]`.
    ///
    /// # Errors
    /// If the images do not fit the network, a training batch is too small, or libtorch fails.
    pub fn forward(&self, images: &Tensor, mode: Mode) -> Result<Tensor, TorchNetError> {
        Ok(self.run(images, mode, Hook::None)?.swap_remove(0))
    }

    /// As [`TorchNet::forward`], all outputs in the graph's order.
    ///
    /// # Errors
    /// As [`TorchNet::forward`].
    pub fn forward_all(&self, images: &Tensor, mode: Mode) -> Result<Vec<Tensor>, TorchNetError> {
        self.run(images, mode, Hook::None)
    }

    /// As [`TorchNet::forward`] in [`Mode::Eval`], showing each node's value (batch included) as it appears.
    ///
    /// # Errors
    /// As [`TorchNet::forward`].
    pub fn forward_observed(
        &self,
        images: &Tensor,
        observe: &mut dyn FnMut(NodeId, &Tensor),
    ) -> Result<Tensor, TorchNetError> {
        self.forward_mapped(images, Mode::Eval, &mut |id, value| {
            observe(id, &value);
            Ok(value)
        })
    }

    /// As [`TorchNet::forward`], putting each node's value through `map` before others read it.
    ///
    /// # Errors
    /// As [`TorchNet::forward`], or what `map` fails with.
    pub(crate) fn forward_mapped<'a>(
        &self,
        images: &Tensor,
        mode: Mode,
        map: &'a mut MapValue<'a>,
    ) -> Result<Tensor, TorchNetError> {
        Ok(self.run(images, mode, Hook::Values(map))?.swap_remove(0))
    }

    /// As [`TorchNet::forward`], asking `map` what each node reads instead of its inputs' values.
    ///
    /// # Errors
    /// As [`TorchNet::forward`], or what `map` fails with.
    pub(crate) fn forward_reading<'a>(
        &self,
        images: &Tensor,
        mode: Mode,
        map: &'a mut MapRead<'a>,
    ) -> Result<Tensor, TorchNetError> {
        Ok(self.run(images, mode, Hook::Reads(map))?.swap_remove(0))
    }

    /// Makes all forward passes from now on round values and weights.
    pub fn round(&mut self, rounding: Rounding) {
        self.rounding = Some(rounding);
    }

    /// Takes the parameters whose names begin with `prefix` out of training.
    pub fn freeze(&mut self, prefix: &str) {
        for (_, tensor) in self.tensors.iter_mut().filter(|(name, _)| name.starts_with(prefix)) {
            *tensor = tensor.set_requires_grad(false);
        }
    }

    /// The tensors that an optimizer changes, in running order; they share their storage with the network.
    pub fn trainable(&self) -> Vec<(String, Tensor)> {
        let all = self.select(ParameterRole::is_trainable);
        all.into_iter().filter(|(_, tensor)| tensor.requires_grad()).collect()
    }

    /// All parameters and buffers, in running order; they share their storage with the network.
    pub fn tensors(&self) -> Vec<(String, Tensor)> {
        self.select(|_| true)
    }

    /// Running means and variances, in running order; they share their storage with the network.
    pub fn buffers(&self) -> Vec<(String, Tensor)> {
        self.select(|role| !role.is_trainable())
    }

    /// A copy of all parameters and buffers on the CPU.
    ///
    /// # Panics
    /// If the device fails while copying.
    pub fn to_params(&self) -> Params {
        self.tensors.iter().map(|(name, tensor)| (name.clone(), from_tensor(tensor))).collect()
    }

    /// Sets all parameters and buffers, in place: tensors from [`TorchNet::trainable`] see the new values.
    ///
    /// # Errors
    /// If they are not exactly the network's or not finite; nothing is changed then.
    pub fn load_params(&mut self, params: &Params) -> Result<(), TorchNetError> {
        params.check(&self.graph)?;
        for (name, param) in params.iter() {
            self.assign(name, param)?;
        }
        Ok(())
    }

    /// Sets those parameters that agree in name and shape, as when a trained body gets a head for other classes.
    /// Returns the network's parameters that were left as they are, in running order.
    ///
    /// # Errors
    /// If libtorch fails.
    pub fn load_params_partial(&mut self, params: &Params) -> Result<Vec<String>, TorchNetError> {
        let mut skipped = Vec::new();
        for (name, shape) in self.graph.parameter_shapes() {
            match params.get(&name).filter(|p| p.shape == shape) {
                Some(param) => self.assign(&name, param)?,
                None => skipped.push(name),
            }
        }
        Ok(skipped)
    }

    fn assign(&mut self, name: &str, param: &ParamTensor) -> Result<(), TorchNetError> {
        let tensor = self.tensors.get_mut(name).expect("named by the graph");
        let value = to_tensor(param)?;
        no_grad(|| tensor.f_copy_(&value))?;
        Ok(())
    }

    fn select(&self, wanted: impl Fn(ParameterRole) -> bool) -> Vec<(String, Tensor)> {
        let specs = self.graph.parameters().into_iter().filter(|p| wanted(p.role));
        specs.map(|p| (p.name.clone(), self.tensors[&p.name].shallow_clone())).collect()
    }
}

#[cfg(test)]
mod tests;
