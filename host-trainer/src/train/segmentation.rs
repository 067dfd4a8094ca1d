use std::sync::Arc;

use tch::{Device, Tensor};

use super::consistency::consistency_loss;
use super::distillation::Teachers;
use super::loss::{LossSpec, Targets, presence_loss, segmentation_loss};
use super::{Nets, Scores, Task, TrainError, ValidationSet};
use crate::config::ConsistencySpec;
use crate::dataset::{Batch, BatchPlan};
use crate::net::{Mode, TorchNet};

/// Learning to segment from expert masks and pseudo-masks, with consistency on images without masks and with the
/// advice of teachers where those are given.
#[derive(Debug)]
pub struct Segmentation {
    /// The sequence of batches.
    pub plan: Arc<BatchPlan>,
    /// Images to validate on; none: the last weights count as the best.
    pub validation: Option<ValidationSet>,
    /// Weights of the supervised losses.
    pub loss: LossSpec,
    /// On images without masks.
    pub consistency: Option<ConsistencySpec>,
    /// Networks whose answers the student imitates.
    pub teachers: Option<Teachers>,
    /// Weight of the auxiliary head's loss, for networks that have one.
    pub auxiliary_weight: f64,
}

impl Task for Segmentation {
    type Source = BatchPlan;

    fn source(&self) -> &Arc<BatchPlan> {
        &self.plan
    }

    fn loss(&self, nets: Nets<'_>, batch: &Batch) -> Result<Tensor, TrainError> {
        let (images, targets) = upload(batch, nets.student.device())?;
        let outputs = nets.student.forward_all(&images, Mode::Train)?;
        let mut loss = segmentation_loss(&outputs[0], &targets, self.loss)?;
        if let Some(presence) = outputs.get(1) {
            let part = presence_loss(presence, &targets)?;
            loss = loss.f_add(&part.f_mul_scalar(self.auxiliary_weight)?)?;
        }
        if let Some(teachers) = &self.teachers {
            loss = loss.f_add(&teachers.loss(&images, &outputs[0])?)?;
        }
        if let (Some(spec), Some(unlabeled)) = (&self.consistency, &batch.unlabeled) {
            loss = loss.f_add(&consistency_loss(
                nets,
                self.teachers.as_ref(),
                unlabeled,
                batch.size,
                spec,
                self.loss,
            )?)?;
        }
        Ok(loss)
    }

    fn validate(&self, net: &TorchNet) -> Result<Option<Scores>, TrainError> {
        let Some(set) = &self.validation else { return Ok(None) };
        Ok(Some(set.validate(net)?))
    }
}

/// The images and targets of a batch, on the device.
pub(crate) fn upload(batch: &Batch, device: Device) -> Result<(Tensor, Targets), TrainError> {
    let (n, c, s) = (batch.len as i64, batch.classes as i64, batch.size as i64);
    let tensor =
        |values: &[f32], shape: &[i64]| Tensor::f_from_slice(values)?.f_view(shape)?.f_to_device(device);
    let targets = Targets {
        coverage: tensor(&batch.targets, &[n, c, s, s])?,
        valid: tensor(&batch.valid, &[n, c])?,
        weight: None,
    };
    Ok((tensor(&batch.images, &[n, 1, s, s])?, targets))
}
