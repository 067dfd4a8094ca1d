//! Learning from images without masks: the answer to an image must not change with its grey values, with a patch of
//! another image in it, or with missing features (UniMatch, Yang et al. 2023, arXiv:2208.09910). The answer to agree
//! with is the moving average's (Mean Teacher, Tarvainen & Valpola 2017, arXiv:1703.01780) or, where there are any, the
//! teachers' mean; either only where it is sure.

use std::collections::BTreeMap;

use rand::RngCore;
use tch::{Kind, TchError, Tensor, no_grad};

use super::loss::{LossSpec, PixelWeight, Targets, segmentation_loss};
use super::upload::upload;
use super::{Nets, Teachers, TrainError};
use crate::config::ConsistencySpec;
use crate::dataset::{Stream, UnlabeledBatch, stream_rng};
use crate::net::{DECODER, DECODER_READS, Mode, Node, NodeId};

/// The weighted loss on a step's images without masks, of the classes where `about` says so. Half of it is the strong views' mean, half the stream with
/// dropped features; all of it the views' where there is no such stream.
pub(super) fn consistency_loss(
    nets: Nets<'_>,
    teachers: Option<&Teachers>,
    batch: &UnlabeledBatch,
    size: usize,
    spec: &ConsistencySpec,
    (loss, about): (LossSpec, &[bool]),
) -> Result<Tensor, TrainError> {
    let (n, s) = (batch.len as i64, size as i64);
    let device = nets.student.device();
    let tensor = |values: &[f32]| upload(values, &[n, 1, s, s], device);
    let (weak, inside) = (tensor(&batch.weak)?, tensor(&batch.inside)?);
    let answer = match teachers {
        Some(teachers) => teachers.answer(&weak, 1.0)?,
        None => no_grad(|| nets.average.forward(&weak, Mode::Eval))?.f_sigmoid()?,
    };
    let mut taught = Taught::new(&answer, &inside, spec.confidence)?;
    if about.contains(&false) {
        let about: Vec<f32> = about.iter().map(|&about| if about { 1.0 } else { 0.0 }).collect();
        let classes = upload(&about, &[1, about.len() as i64, 1, 1], device)?;
        taught.sure = taught.sure.f_mul(&classes)?;
    }

    let mut views = Vec::new();
    for view in &batch.strong {
        let logits = nets.student.forward(&tensor(&view.images)?, Mode::Train)?;
        let pasted = tensor(&view.pasted)?.f_to_kind(Kind::Bool)?;
        views.push(segmentation_loss(&logits, &taught.mixed(&pasted)?, loss)?);
    }
    let mut total = Tensor::f_stack(&views, 0)?.f_mean(Kind::Float)?;
    if spec.feature_dropout > 0.0 {
        let logits = without_features(nets, &weak, spec.feature_dropout)?;
        let stream = segmentation_loss(&logits, &taught.targets()?, loss)?;
        total = total.f_add(&stream)?.f_mul_scalar(0.5)?;
    }
    let ramp = if spec.ramp == 0 { 1.0 } else { ((nets.step + 1) as f64 / spec.ramp as f64).min(1.0) };
    Ok(total.f_mul_scalar(spec.weight * ramp)?)
}

/// The weighted loss of imitating the teachers on a step's images without masks: their probabilities on the weak view,
/// in every class. Views and feature dropout are those of [`consistency_loss`].
pub(super) fn advice_loss(
    nets: Nets<'_>,
    teachers: &Teachers,
    batch: &UnlabeledBatch,
    size: usize,
    spec: &ConsistencySpec,
) -> Result<Tensor, TrainError> {
    let (n, s) = (batch.len as i64, size as i64);
    let device = nets.student.device();
    let tensor = |values: &[f32]| upload(values, &[n, 1, s, s], device);
    let (weak, inside) = (tensor(&batch.weak)?, tensor(&batch.inside)?);
    let advice = teachers.advice(&weak)?;
    let mut views = Vec::new();
    for view in &batch.strong {
        let logits = nets.student.forward(&tensor(&view.images)?, Mode::Train)?;
        let pasted = tensor(&view.pasted)?.f_to_kind(Kind::Bool)?;
        let [advice, inside] = [&advice, &inside].map(|t| pasted_from_next(t, &pasted));
        views.push(teachers.loss_inside(&logits, &advice?, &inside?)?);
    }
    let mut total = Tensor::f_stack(&views, 0)?.f_mean(Kind::Float)?;
    if spec.feature_dropout > 0.0 {
        let logits = without_features(nets, &weak, spec.feature_dropout)?;
        let stream = teachers.loss_inside(&logits, &advice, &inside)?;
        total = total.f_add(&stream)?.f_mul_scalar(0.5)?;
    }
    Ok(total.f_mul_scalar(spec.weight)?)
}

/// What was there, and the next image's where its pixels were pasted (N × 1 × S × S).
fn pasted_from_next(t: &Tensor, pasted: &Tensor) -> Result<Tensor, TchError> {
    t.f_roll([-1_i64], [0_i64])?.f_where_self(pasted, t)
}

/// The student's logits with whole channels of what its decoder reads set to zero. The encoder reads them as they are:
/// only what is made of features is to do with fewer.
fn without_features(nets: Nets<'_>, images: &Tensor, share: f64) -> Result<Tensor, TrainError> {
    let graph = nets.student.graph();
    let sites = DECODER_READS.map(|name| graph.find(name));
    let mut rng = stream_rng(nets.seed, Stream::Features, nets.step);
    let bar = (share * 2f64.powi(32)) as u32;
    let keep = (1.0 / (1.0 - share)) as f32;
    // One mask a feature map, whoever reads it.
    let mut dropped: BTreeMap<NodeId, Tensor> = BTreeMap::new();
    let mut read = |reader: &Node, input: NodeId, value: &Tensor| -> Result<Option<Tensor>, TchError> {
        if !sites.contains(&Some(input)) || !reader.name.starts_with(DECODER) {
            return Ok(None);
        }
        if let Some(known) = dropped.get(&input) {
            return Ok(Some(known.shallow_clone()));
        }
        let (n, c, ..) = value.size4()?;
        let mask: Vec<f32> = (0..n * c).map(|_| if rng.next_u32() < bar { 0.0 } else { keep }).collect();
        let mask = upload(&mask, &[n, c, 1, 1], value.device())?;
        let value = value.f_mul(&mask)?;
        dropped.insert(input, value.shallow_clone());
        Ok(Some(value))
    };
    Ok(nets.student.forward_reading(images, Mode::Train, &mut read)?)
}

/// What the teacher says of the weak view.
struct Taught {
    /// N × C × S × S: 0 or 1.
    mask: Tensor,
    /// N × C × S × S: 1 where the teacher is sure, else 0.
    sure: Tensor,
    /// N × 1 × S × S: 1 where the pixel shows the radiograph.
    inside: Tensor,
}

impl Taught {
    fn new(answer: &Tensor, inside: &Tensor, confidence: f64) -> Result<Self, TchError> {
        let sure = answer.f_ge(confidence)?.f_logical_or(&answer.f_le(1.0 - confidence)?)?;
        Ok(Self {
            mask: answer.f_ge(0.5)?.f_to_kind(Kind::Float)?,
            sure: sure.f_to_kind(Kind::Float)?.f_mul(inside)?,
            inside: inside.shallow_clone(),
        })
    }

    fn targets(&self) -> Result<Targets, TchError> {
        Self::weigh(self.mask.shallow_clone(), self.sure.shallow_clone(), &self.inside)
    }

    /// With the next image's answer where its pixels were pasted (N × 1 × S × S).
    fn mixed(&self, pasted: &Tensor) -> Result<Targets, TchError> {
        let mix = |t: &Tensor| pasted_from_next(t, pasted);
        Self::weigh(mix(&self.mask)?, mix(&self.sure)?, &mix(&self.inside)?)
    }

    /// Unsure pixels count in the mean, with no loss: the less the teacher knows, the less it teaches.
    fn weigh(mask: Tensor, sure: Tensor, inside: &Tensor) -> Result<Targets, TchError> {
        let valid = sure.f_amax([2_i64, 3].as_slice(), false)?;
        let pixels = inside.f_sum_dim_intlist([2_i64, 3].as_slice(), false, Kind::Float)?;
        Ok(Targets { coverage: mask, valid, weight: Some(PixelWeight { each: sure, pixels }) })
    }
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;
    use crate::dataset::StrongView;
    use crate::net::{DeepLabConfig, TorchNet, Width, deeplab_v3_plus};

    #[test]
    fn the_teacher_counts_only_where_it_is_sure_and_inside() {
        let answer = Tensor::from_slice(&[0.99_f32, 0.6, 0.02, 0.97]).view([1, 1, 2, 2]);
        let inside = Tensor::from_slice(&[1.0_f32, 1.0, 1.0, 0.0]).view([1, 1, 2, 2]);
        let taught = Taught::new(&answer, &inside, 0.95).unwrap();
        assert_eq!(Vec::<f32>::try_from(taught.sure.view(-1)).unwrap(), [1.0, 0.0, 1.0, 0.0]);
        assert_eq!(Vec::<f32>::try_from(taught.mask.view(-1)).unwrap(), [1.0, 1.0, 0.0, 1.0]);
    }

    #[test]
    fn pasted_pixels_take_the_next_images_answer() {
        let mask = Tensor::from_slice(&[0.0_f32, 1.0]).view([2, 1, 1, 1]).expand([2, 1, 1, 2], false);
        let taught = Taught { sure: mask.ones_like(), inside: mask.ones_like().narrow(1, 0, 1), mask };
        let pasted = Tensor::from_slice(&[true, false, false, true]).view([2, 1, 1, 2]);
        let mixed = taught.mixed(&pasted).unwrap();
        assert_eq!(Vec::<f32>::try_from(mixed.coverage.contiguous().view(-1)).unwrap(), [1.0, 0.0, 1.0, 0.0]);
    }

    #[test]
    fn the_loss_reaches_the_student_only_and_rises_with_the_ramp() {
        let config = DeepLabConfig { width: Width::Quarter, ..DeepLabConfig::default() };
        let graph = deeplab_v3_plus(&config);
        let net = |seed| TorchNet::new(&graph, Device::Cpu, seed).unwrap();
        let (student, average) = (net(1), net(2));
        let plane = vec![0.3_f32; 2 * 64 * 64];
        let view = StrongView { images: plane.clone(), pasted: vec![0.0; plane.len()] };
        let batch = UnlabeledBatch {
            len: 2,
            ids: Vec::new(),
            inside: vec![1.0; plane.len()],
            weak: plane,
            strong: vec![view],
        };
        // Sure of everything, so that the loss is not empty.
        let spec = ConsistencySpec { confidence: 0.500_001, ramp: 10, ..ConsistencySpec::default() };
        let of_classes = |step, about: &[bool]| {
            student.set_step_seed(1);
            let nets = Nets { student: &student, average: &average, seed: 1, step };
            let spec_of_loss = LossSpec { bce: 1.0, dice: 1.0 };
            consistency_loss(nets, None, &batch, 64, &spec, (spec_of_loss, about)).unwrap()
        };
        let loss = |step| of_classes(step, &[true]);
        let (early, late) = (loss(0), loss(9));
        assert!(early.double_value(&[]) > 0.0);
        assert!(late.double_value(&[]) > 5.0 * early.double_value(&[]));
        // Its only class is left out.
        assert_eq!(of_classes(9, &[false]).double_value(&[]), 0.0);
        late.backward();
        assert!(student.trainable().iter().all(|(_, t)| t.grad().defined()));
        assert!(average.trainable().iter().all(|(_, t)| !t.grad().defined()));
    }

    #[test]
    fn advice_on_images_without_masks_reaches_the_student_in_every_class() {
        let config =
            crate::config::tiny("[distillation]\nunlabeled = true\n[consistency]\nfeature_dropout = 0.3");
        let graph = config.graph();
        let net = |seed| TorchNet::new(&graph, Device::Cpu, seed).unwrap();
        let info = crate::train::ModelInfo {
            graph: graph.clone(),
            labels: config.labels(),
            preprocess: config.preprocess.clone(),
            stage: crate::config::Stage::Train,
            step: 1,
            total_steps: 1,
            seed: 2,
            teachers: 0,
            pseudo_masks: false,
            share: None,
            record: None,
            validation: Vec::new(),
        };
        let model = crate::train::ModelFile { info, params: net(2).to_params() };
        let teachers =
            Teachers::new(&config, &[crate::train::Teacher { model, classes: Vec::new() }], Device::Cpu)
                .unwrap();
        let plane = vec![0.3_f32; 2 * 64 * 64];
        let view = StrongView { images: plane.clone(), pasted: vec![1.0; plane.len()] };
        let batch = UnlabeledBatch {
            len: 2,
            ids: Vec::new(),
            inside: vec![1.0; plane.len()],
            weak: plane,
            strong: vec![view],
        };
        let student = net(1);
        student.set_step_seed(1);
        let nets = Nets { student: &student, average: &student, seed: 1, step: 0 };
        let spec = config.consistency.clone().unwrap();
        let loss = advice_loss(nets, &teachers, &batch, 64, &spec).unwrap();
        loss.backward();
        let (_, head) =
            student.trainable().into_iter().find(|(name, _)| name == "segmentation_head.0.bias").unwrap();
        let gradient = Vec::<f32>::try_from(head.grad()).unwrap();
        assert!(gradient.iter().all(|g| *g != 0.0), "{gradient:?}");
    }

    #[test]
    fn only_the_decoder_reads_fewer_features() {
        let config = DeepLabConfig { width: Width::Quarter, dropout: 0.0, ..DeepLabConfig::default() };
        let graph = deeplab_v3_plus(&config);
        let net = TorchNet::new(&graph, Device::Cpu, 1).unwrap();
        let images = Tensor::arange(2 * 64 * 64, (Kind::Float, Device::Cpu)).sin().view([2, 1, 64, 64]);
        let mut readers = Vec::new();
        let sites = DECODER_READS.map(|name| graph.find(name).unwrap());
        let logits = no_grad(|| {
            net.forward_reading(&images, Mode::Eval, &mut |reader, input, _| {
                if sites.contains(&input) && reader.name.starts_with(DECODER) {
                    readers.push(reader.name.clone());
                }
                Ok(None)
            })
        })
        .unwrap();
        assert_eq!(logits.size(), [2, 1, 64, 64]);
        // Four branches of the ASPP, its pooled one, and the low-level projection.
        assert_eq!(readers.len(), 6, "{readers:?}");
        // Running statistics of the encoder move as without dropped features.
        let nets = Nets { student: &net, average: &net, seed: 1, step: 0 };
        let other = TorchNet::new(&graph, Device::Cpu, 1).unwrap();
        drop(no_grad(|| other.forward(&images, Mode::Train)).unwrap());
        drop(no_grad(|| without_features(nets, &images, 0.5)).unwrap());
        for ((name, a), (_, b)) in net.buffers().iter().zip(other.buffers()) {
            assert_eq!(a.equal(&b), name.starts_with("encoder."), "{name}");
        }
    }
}
