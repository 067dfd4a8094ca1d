use std::sync::Arc;

use shared::mask::{Mask, Rle};
use tch::Device;

use super::loss::LossSpec;
use super::{Segmentation, TrainError, ValidationSet};
use crate::config::{Config, Stage};
use crate::dataset::{
    BatchPlan, CodedSample, DatasetError, DeviceDraw, Finding, Index, PhantomSpec, PlanSpec, Pools, Record,
    Sample, Split, data_root, device_pool, load_samples, phantom_pool,
};
use crate::pseudo::PseudoMasks;

/// Phantoms to validate on where no radiograph can be had.
const VALIDATION_PHANTOMS: usize = 32;

/// The images of a segmenter's training, in memory.
#[derive(Debug)]
pub struct Images {
    /// To learn from.
    pub pools: Pools,
    /// Images to validate on: `strong_val` radiographs, else phantoms that are not in the pool. Empty: none.
    pub validation: Vec<Sample>,
}

/// Which radiographs do what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roles {
    /// Learned from with their expert masks.
    pub strong: Vec<Record>,
    /// Learned from with pseudo-masks, or without masks.
    pub weak: Vec<Record>,
    /// Judged on while training; thresholds are fitted here.
    pub validation: Vec<Record>,
}

impl Roles {
    /// As the splits say.
    pub fn of_splits(index: &Index) -> Self {
        Self {
            strong: index.of(Split::StrongTrain),
            weak: index.of(Split::Weak),
            validation: index.of(Split::StrongVal),
        }
    }
}

impl Images {
    /// What a stage of a configuration learns from, by the splits of `index`.
    pub fn of_splits(
        config: &Config,
        stage: Stage,
        index: &Index,
        pseudo: Option<&PseudoMasks>,
    ) -> Result<Self, TrainError> {
        let mut images = Self::load(config, stage, &Roles::of_splits(index), pseudo)?;
        if images.validation.is_empty() {
            images.validation = held_out_phantoms(config)?;
        }
        Ok(images)
    }

    /// Reads radiographs and renders phantoms. Weak images are read where a pseudo-mask or consistency asks for them.
    pub fn load(
        config: &Config,
        stage: Stage,
        roles: &Roles,
        pseudo: Option<&PseudoMasks>,
    ) -> Result<Self, TrainError> {
        let labels = config.labels();
        let read = |records: &[Record]| load_samples(records, &labels, &config.preprocess);
        let (mut pools, pretraining) = (Pools::default(), stage == Stage::Pretrain);
        if !pretraining && config.train.phantom_share < 1.0 {
            pools.strong = read(&roles.strong)?;
        }
        if pretraining || config.train.phantom_share > 0.0 {
            tracing::info!(count = config.phantom.pool, "rendering phantoms");
            pools.phantoms = phantom_pool(&config.phantom, &labels, &config.preprocess)?;
        }
        if !pretraining && config.train.drawn_devices > 0.0 {
            pools.devices = device_pool(&config.phantom, &config.preprocess)?;
        }
        let consistency = !pretraining && config.consistency.is_some();
        let negatives = !pretraining && config.train.negatives;
        if consistency || negatives || pseudo.is_some() {
            // Whatever masks they have, weak images do not teach by them.
            let samples = load_samples(&roles.weak, &[], &config.preprocess)?;
            pools.weak = match (pseudo, negatives) {
                (Some(_), true) => return Err(TrainError::NegativesTwice),
                (Some(pseudo), false) => pseudo.attach(&samples, &labels)?,
                (None, true) => without_findings(config, &roles.weak, &samples)?,
                (None, false) => Vec::new(),
            };
            if consistency {
                pools.unlabeled = samples;
            }
        }
        let validation = read(&roles.validation)?;
        tracing::info!(
            strong = pools.strong.len(),
            weak = pools.weak.len(),
            unlabeled = pools.unlabeled.len(),
            phantoms = pools.phantoms.len(),
            validation = validation.len(),
            "images are ready"
        );
        Ok(Self { pools, validation })
    }

    /// The task of learning from them.
    pub fn task(self, config: &Config, stage: Stage, device: Device) -> Result<Segmentation, TrainError> {
        let spec = config.stage(stage);
        let consistency = config.consistency.clone().filter(|_| stage == Stage::Train);
        let (preprocess, labels) = (&config.preprocess, config.labels());
        let plan = PlanSpec {
            seed: config.seed,
            batch: spec.batch,
            phantom_share: if stage == Stage::Pretrain { 1.0 } else { spec.phantom_share },
            strong_weight: spec.strong_weight,
            unlabeled: consistency.as_ref().map(|spec| spec.views.clone()),
            devices: (config.phantom.devices_class(&labels)).filter(|_| spec.drawn_devices > 0.0).map(
                |class| {
                    let lungs = config.phantom.lung_classes(&labels);
                    DeviceDraw { class, lungs, probability: spec.drawn_devices }
                },
            ),
            mean: preprocess.mean,
            std: preprocess.std,
        };
        // A class that nothing teaches must not decide which weights are the best.
        let mut taught = vec![false; config.classes.len()];
        let planes = self.pools.strong.iter().chain(&self.pools.phantoms).map(Sample::annotated);
        for annotated in planes.chain(self.pools.weak.iter().map(CodedSample::annotated)) {
            taught.iter_mut().zip(annotated).for_each(|(taught, annotated)| *taught |= annotated);
        }
        let mut validation = self.validation;
        for sample in &mut validation {
            sample
                .targets
                .iter_mut()
                .zip(&taught)
                .filter(|(_, t)| !**t)
                .for_each(|(target, _)| *target = None);
        }
        let drawn =
            |target: &Option<Arc<[u8]>>| target.as_ref().is_some_and(|plane| plane.iter().any(|&v| v >= 128));
        let judged = |sample: &Sample| sample.targets.iter().any(drawn);
        let validation = match validation.is_empty() {
            true => None,
            // A night's training must not end at its first validation.
            false if !validation.iter().any(judged) => return Err(TrainError::NothingToValidate),
            false => Some(ValidationSet::new(&validation, preprocess.mean, preprocess.std, device)?),
        };
        let about = consistency.as_ref().map_or(&[][..], |spec| &spec.classes);
        let consistent =
            config.classes.iter().map(|class| about.is_empty() || about.contains(&class.label)).collect();
        Ok(Segmentation {
            plan: Arc::new(BatchPlan::new(plan, config.augment.clone(), self.pools)?),
            validation,
            loss: LossSpec { bce: spec.bce_weight, dice: spec.dice_weight },
            consistency,
            learned: taught,
            consistent,
            teachers: None,
            auxiliary_weight: spec.auxiliary_weight,
        })
    }
}

/// The images whose labels say that a class is absent, with an empty mask of it and nothing of the others.
fn without_findings(
    config: &Config,
    records: &[Record],
    samples: &[Sample],
) -> Result<Vec<CodedSample>, TrainError> {
    let empty = |sample: &Sample| Rle::encode(&Mask::empty(sample.size(), sample.size()));
    let absent = |record: &Record, class: &str| {
        let mut findings = config.findings.iter().filter(|finding| finding.class.as_deref() == Some(class));
        findings.any(|finding| record.findings.get(&finding.label) == Some(&Finding::Absent))
    };
    let mut with = Vec::new();
    for (record, sample) in records.iter().zip(samples) {
        let codes: Vec<Option<Rle>> =
            config.classes.iter().map(|class| absent(record, &class.label).then(|| empty(sample))).collect();
        if codes.iter().any(Option::is_some) {
            with.push(CodedSample::new(sample, codes).expect("an empty mask is a mask"));
        }
    }
    if with.is_empty() { Err(TrainError::NoNegatives) } else { Ok(with) }
}

/// The radiographs that a stage asks for. Pretraining does without any if the data folder is missing; it validates on
/// phantoms then.
pub fn index_for(config: &Config, stage: Stage) -> Result<Index, DatasetError> {
    if config.data.is_empty() {
        return Ok(Index::default());
    }
    match data_root() {
        Ok(root) => config.index(&root),
        Err(DatasetError::NoRoot { .. }) if stage == Stage::Pretrain => {
            tracing::warn!("no data folder found: validating on phantoms");
            Ok(Index::default())
        }
        Err(error) => Err(error),
    }
}

/// The images that thresholds, selection and calibration use, and what they are: `strong_val`, else phantoms
/// that no training saw.
pub fn validation_samples(
    config: &Config,
    index: Option<&Index>,
) -> Result<(Vec<Sample>, &'static str), DatasetError> {
    let radiographs = index.map_or_else(Vec::new, |index| index.of(Split::StrongVal));
    if !radiographs.is_empty() {
        return Ok((load_samples(&radiographs, &config.labels(), &config.preprocess)?, "strong_val"));
    }
    Ok((held_out_phantoms(config)?, "held-out phantoms"))
}

fn held_out_phantoms(config: &Config) -> Result<Vec<Sample>, DatasetError> {
    // Another seed: none of the training's phantoms.
    let seed = config.phantom.seed ^ 0x5EED_0F0F;
    let held_out = PhantomSpec { pool: VALIDATION_PHANTOMS, seed, ..config.phantom.clone() };
    phantom_pool(&held_out, &config.labels(), &config.preprocess)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use shared::preprocess::Letterbox;

    use super::*;
    use crate::config::tiny;

    #[test]
    fn only_what_a_label_calls_absent_teaches_an_empty_mask() {
        let config = tiny(
            "[[findings]]\nlabel = \"big\"\nclass = \"heart\"\n[[findings]]\nlabel = \"free\"\n[train]\nnegatives = true",
        );
        let image = |id: &str, findings: &[(&str, Finding)]| {
            let sample = Sample {
                id: id.into(),
                letterbox: Letterbox::new(8, 8, 8),
                image: vec![7; 64].into(),
                targets: Vec::new(),
            };
            let record = Record {
                id: id.into(),
                dataset: "d".into(),
                source: "d".into(),
                patient: id.into(),
                split: Split::Weak,
                image: "a.png".into(),
                masks: BTreeMap::new(),
                findings: findings.iter().map(|(label, finding)| ((*label).to_owned(), *finding)).collect(),
                attributes: BTreeMap::new(),
            };
            (record, sample)
        };
        let (records, samples): (Vec<_>, Vec<_>) = [
            image("healthy", &[("big", Finding::Absent)]),
            image("ill", &[("big", Finding::Present)]),
            image("unsure", &[("big", Finding::Uncertain)]),
            image("other", &[("free", Finding::Absent)]),
        ]
        .into_iter()
        .unzip();
        let taught = without_findings(&config, &records, &samples).unwrap();
        assert_eq!(taught.len(), 1);
        let only = taught[0].decoded();
        assert_eq!((only.id.as_str(), only.annotated()), ("healthy", vec![false, true]));
        assert_eq!(only.mask(1).unwrap().area(), 0);
        let none = without_findings(&config, &records[1..], &samples[1..]).unwrap_err().to_string();
        assert!(none.contains("train.negatives"), "{none}");
    }
}
