//! The classifier: it learns image-level labels, and its attention becomes pseudo-masks (design §5.1).

use std::sync::Arc;

use tch::{Kind, Tensor, no_grad};

use crate::config::{Config, Stage};
use crate::dataset::{
    DatasetError, Labelled, LabelledBatch, LabelledDraw, LabelledPlan, Record, Stream, load_labelled,
    stream_rng,
};
use crate::evaluate::auroc;
use crate::net::{Mode, TorchNet, TorchNetError};
use crate::train::upload::{upload, upload_samples};
use crate::train::{Nets, Scores, Task, TrainError, masked_bce};

/// Images a forward pass of a validation.
const CHUNK: usize = 16;

/// Learning image-level labels.
#[derive(Debug)]
pub struct Classification {
    plan: Arc<LabelledPlan>,
    validation: Vec<Labelled>,
    mean_std: [f32; 2],
    findings: usize,
}

impl Classification {
    /// Learns from `weak` and is judged on `validation`, or on the patients that the configuration holds out of
    /// `weak`.
    ///
    /// # Errors
    /// If images cannot be read, or a finding has no positive or no negative image to learn from.
    pub fn load(config: &Config, weak: &[Record], validation: &[Record]) -> Result<Self, TrainError> {
        let held = config.classifier.holdout;
        let (held_out, learned): (Vec<Record>, Vec<Record>) =
            weak.iter().cloned().partition(|record| is_held_out(record, held));
        let findings = config.finding_labels();
        let read = |records: &[Record]| load_labelled(records, &findings, &config.preprocess);
        let images = read(&learned)?;
        for (i, finding) in findings.iter().enumerate() {
            for (value, what) in [(1.0, "present"), (0.0, "absent")] {
                if !images.iter().any(|image| image.labels[i] == Some(value)) {
                    return Err(DatasetError::OneSided { finding: finding.clone(), what }.into());
                }
            }
        }
        let validation = read(if held > 0.0 { &held_out } else { validation })?;
        let both =
            |i: usize| [0.0, 1.0].iter().all(|v| validation.iter().any(|image| image.labels[i] == Some(*v)));
        if !validation.is_empty() && !(0..findings.len()).any(both) {
            return Err(TrainError::NothingToValidate);
        }
        tracing::info!(images = images.len(), validation = validation.len(), "labelled images are ready");
        let mean_std = [config.preprocess.mean, config.preprocess.std];
        let draw = LabelledDraw {
            seed: config.seed,
            batch: config.stage(Stage::Classifier).batch,
            augment: config.augment.clone(),
            mean_std,
            balance_sources: config.classifier.balance_sources,
        };
        let plan = Arc::new(LabelledPlan::new(draw, images)?);
        Ok(Self { plan, validation, mean_std, findings: findings.len() })
    }
}

/// Whether the image's patient is among the share that is held out: a function of the pseudonym alone, so that
/// adding images moves no patient.
fn is_held_out(record: &Record, share: f64) -> bool {
    use rand::Rng as _;
    let hash = shared::bundle::sha256_hex(record.patient.as_bytes());
    let number = u64::from_str_radix(&hash[..16], 16).expect("hexadecimal digits");
    stream_rng(number, Stream::Selection, 0).random::<f64>() < share
}

impl Task for Classification {
    type Source = LabelledPlan;

    fn source(&self) -> &Arc<LabelledPlan> {
        &self.plan
    }

    fn loss(&self, nets: Nets<'_>, batch: &LabelledBatch) -> Result<Tensor, TrainError> {
        let device = nets.student.device();
        let (n, s) = (batch.ids.len() as i64, batch.size as i64);
        let tensor = |values: &[f32], shape: &[i64]| upload(values, shape, device);
        let logits = nets.student.forward(&tensor(&batch.images, &[n, 1, s, s])?, Mode::Train)?;
        let (labels, valid) = (tensor(&batch.labels, &[n, -1])?, tensor(&batch.valid, &[n, -1])?);
        Ok(masked_bce(&logits.f_flatten(1, -1)?, &labels, &valid)?)
    }

    fn validate(&self, net: &TorchNet) -> Result<Option<Scores>, TrainError> {
        if self.validation.is_empty() {
            return Ok(None);
        }
        let logits = logits(net, &self.validation, self.mean_std)?;
        let by_label = (0..self.findings).map(|i| {
            let known = self
                .validation
                .iter()
                .zip(&logits)
                .filter_map(|(image, logits)| Some((f64::from(logits[i]), image.labels[i]? > 0.5)));
            auroc(&known.collect::<Vec<_>>())
        });
        Ok(Some(Scores { by_label: by_label.collect() }))
    }
}

/// The logits of each image, a finding each.
pub fn logits(
    net: &TorchNet,
    images: &[Labelled],
    mean_std: [f32; 2],
) -> Result<Vec<Vec<f32>>, TorchNetError> {
    let mut all = Vec::with_capacity(images.len());
    for chunk in images.chunks(CHUNK) {
        let logits = no_grad(|| {
            let samples = chunk.iter().map(|image| &image.sample);
            net.forward(&upload_samples(samples, mean_std, net.device())?, Mode::Eval)
        })?;
        let rows = logits.f_flatten(1, -1)?.f_to_kind(Kind::Float)?;
        all.extend(Vec::<Vec<f32>>::try_from(&rows)?);
    }
    Ok(all)
}
