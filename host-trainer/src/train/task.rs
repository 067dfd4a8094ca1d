use std::sync::Arc;

use tch::Tensor;

use super::TrainError;
use crate::dataset::BatchSource;
use crate::net::TorchNet;

/// What a training learns: where its batches come from, its loss, and how it is judged.
pub trait Task {
    /// Where batches come from.
    type Source: BatchSource;

    /// The endless sequence of batches.
    fn source(&self) -> &Arc<Self::Source>;

    /// The loss of a batch, a scalar with a gradient. Everything random in it is a function of `nets.seed`.
    ///
    /// # Errors
    /// If libtorch fails.
    fn loss(
        &self,
        nets: Nets<'_>,
        batch: &<Self::Source as BatchSource>::Batch,
    ) -> Result<Tensor, TrainError>;

    /// Judges a network on validation images; none: there are none, and the last weights count as the best.
    ///
    /// # Errors
    /// If libtorch fails.
    fn validate(&self, net: &TorchNet) -> Result<Option<Scores>, TrainError>;
}

/// What a loss may run.
#[derive(Clone, Copy, Debug)]
pub struct Nets<'a> {
    /// The network that learns.
    pub student: &'a TorchNet,
    /// The moving average of its weights.
    pub average: &'a TorchNet,
    /// For whatever is random in this step.
    pub seed: u64,
    /// The step, from 0.
    pub step: u64,
}

/// What came out of a validation.
#[derive(Clone, Debug, PartialEq)]
pub struct Scores {
    /// One score a label, higher is better; none where no image allows one.
    pub by_label: Vec<Option<f64>>,
}

impl Scores {
    /// Mean over the labels that could be judged; none if there is none.
    pub fn mean(&self) -> Option<f64> {
        let judged: Vec<f64> = self.by_label.iter().flatten().copied().collect();
        if judged.is_empty() { None } else { Some(judged.iter().sum::<f64>() / judged.len() as f64) }
    }
}
