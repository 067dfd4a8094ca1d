use std::sync::Arc;

use tch::{Device, Tensor};

use super::consistency::{advice_loss, consistency_loss};
use super::distillation::Teachers;
use super::loss::{LossSpec, Targets, presence_loss, segmentation_loss};
use super::upload::upload;
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
    /// The classes that some mask teaches; consistency is of these.
    pub learned: Vec<bool>,
    /// The classes that consistency is asked for.
    pub consistent: Vec<bool>,
    /// Networks whose answers the student imitates.
    pub teachers: Option<Teachers>,
    /// Weight of the auxiliary head's loss, for networks that have one.
    pub auxiliary_weight: f64,
}

impl Segmentation {
    /// What teachers say counts of all classes that consistency is asked for; what the moving average says of a class
    /// that nobody taught it is whatever its weights began with.
    fn taught_by_consistency(&self) -> Vec<bool> {
        let known = |learned: &bool| *learned || self.teachers.is_some();
        self.consistent.iter().zip(&self.learned).map(|(asked, learned)| *asked && known(learned)).collect()
    }
}

impl Task for Segmentation {
    type Source = BatchPlan;

    fn source(&self) -> &Arc<BatchPlan> {
        &self.plan
    }

    fn loss(&self, nets: Nets<'_>, batch: &Batch) -> Result<Tensor, TrainError> {
        let (images, targets) = upload_batch(batch, nets.student.device())?;
        let outputs = nets.student.forward_all(&images, Mode::Train)?;
        let mut loss = segmentation_loss(&outputs[0], &targets, self.loss)?;
        if let Some(presence) = outputs.get(1) {
            let part = presence_loss(presence, &targets)?;
            loss = loss.f_add(&part.f_mul_scalar(self.auxiliary_weight)?)?;
        }
        if let Some(teachers) = &self.teachers {
            loss = loss.f_add(&teachers.loss(&images, &outputs[0])?)?;
        }
        let advisers = self.teachers.as_ref().filter(|teachers| teachers.advise_unlabeled());
        if let (Some(spec), Some(unlabeled), Some(teachers)) = (&self.consistency, &batch.unlabeled, advisers)
        {
            loss = loss.f_add(&advice_loss(nets, teachers, unlabeled, batch.size, spec)?)?;
        } else if let (Some(spec), Some(unlabeled)) = (&self.consistency, &batch.unlabeled) {
            loss = loss.f_add(&consistency_loss(
                nets,
                self.teachers.as_ref(),
                unlabeled,
                batch.size,
                spec,
                (self.loss, &self.taught_by_consistency()),
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
pub(crate) fn upload_batch(batch: &Batch, device: Device) -> Result<(Tensor, Targets), TrainError> {
    let (n, c, s) = (batch.len as i64, batch.classes as i64, batch.size as i64);
    let tensor = |values: &[f32], shape: &[i64]| upload(values, shape, device);
    let targets = Targets {
        coverage: tensor(&batch.targets, &[n, c, s, s])?,
        valid: tensor(&batch.valid, &[n, c])?,
        weight: None,
    };
    Ok((tensor(&batch.images, &[n, 1, s, s])?, targets))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Stage, tiny};
    use crate::dataset::{BatchSource as _, Index};
    use crate::evaluate::Predictor;
    use crate::net::torch::from_tensor;
    use crate::train::{Images, Job, Trainer, validation_samples};

    fn config() -> Config {
        let mut config = tiny("[phantom]\npool = 4\nsize = 128\n[pretrain]\nsteps = 3\nbatch = 2\n");
        config.network.auxiliary = true;
        config
    }

    #[test]
    fn an_auxiliary_head_learns_beside_the_masks_and_gates_them() {
        let config = config();
        let images = Images::of_splits(&config, Stage::Pretrain, &Index::default(), None).unwrap();
        let task = images.task(&config, Stage::Pretrain, Device::Cpu).unwrap();
        let (mut trainer, _) = Trainer::new(&Job::new(&config, Stage::Pretrain), Device::Cpu, None).unwrap();
        let head = |trainer: &Trainer| {
            let params = trainer.averaged().to_params();
            params.get("classification_head.3.weight").unwrap().clone()
        };
        let before = head(&trainer);
        trainer.step(&task, &task.plan.batch(0)).unwrap();
        assert_ne!(head(&trainer), before);

        let net =
            TorchNet::from_params(&config.graph(), &trainer.averaged().to_params(), Device::Cpu).unwrap();
        let mut predictor = Predictor::new(&config, net);
        let (samples, _) = validation_samples(&config, None).unwrap();
        predictor.fit_thresholds(&samples[..4]).unwrap();
        assert!(predictor.gates().iter().all(|gate| (0.0..=0.5).contains(gate)));
    }

    #[test]
    fn a_student_learns_from_teachers() {
        let config = Config { consistency: None, ..config() };
        let images = Images::of_splits(&config, Stage::Pretrain, &Index::default(), None).unwrap();
        let mut task = images.task(&config, Stage::Pretrain, Device::Cpu).unwrap();
        let net = |seed| TorchNet::new(&config.graph(), Device::Cpu, seed).unwrap();
        let (student, average, batch) = (net(1), net(1), task.plan.batch(0));
        let loss = |task: &Segmentation| {
            student.set_step_seed(1);
            let nets = Nets { student: &student, average: &average, seed: 1, step: 0 };
            task.loss(nets, &batch).unwrap()
        };
        let alone = loss(&task).double_value(&[]);
        let mut teacher = crate::train::Teacher {
            classes: Vec::new(),
            model: crate::train::ModelFile {
                info: crate::train::ModelInfo {
                    graph: config.graph(),
                    labels: config.labels(),
                    preprocess: config.preprocess.clone(),
                    stage: Stage::Train,
                    step: 1,
                    total_steps: 1,
                    seed: 2,
                    teachers: 0,
                    pseudo_masks: false,
                    share: None,
                    record: None,
                    validation: Vec::new(),
                },
                params: net(2).to_params(),
            },
        };
        task.teachers = Some(Teachers::new(&config, std::slice::from_ref(&teacher), Device::Cpu).unwrap());
        let taught = loss(&task);
        assert!(taught.double_value(&[]) > alone);
        taught.backward();
        let gradient = student.trainable().into_iter().find(|(name, _)| name == "segmentation_head.0.weight");
        assert!(from_tensor(&gradient.unwrap().1.grad()).data.iter().any(|v| *v != 0.0));

        teacher.model.info.labels = vec!["rib".into(), "clavicle".into()];
        let error = Teachers::new(&config, &[teacher], Device::Cpu).unwrap_err().to_string();
        assert!(error.contains("left_lung and the other classes are not known"), "{error}");
    }
}
