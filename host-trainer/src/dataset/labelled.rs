use std::collections::BTreeMap;
use std::sync::Arc;

use super::augment::{AugmentSpec, augment};
use super::sample::normalize;
use super::{BatchSource, DatasetError, Finding, Named, Record, Sample, Stream, load_samples, stream_rng};
use shared::preprocess::PreprocessSpec;

/// An image with its image-level labels.
#[derive(Clone, Debug)]
pub struct Labelled {
    /// The image; it has no masks.
    pub sample: Sample,
    /// Where it comes from.
    pub source: String,
    /// One entry a finding: 1 present, 0 absent; `None`: unknown or uncertain.
    pub labels: Vec<Option<f32>>,
}

/// What a finding teaches; an uncertain one teaches nothing (U-Ignore), unless the import has made it one of the
/// others.
pub fn label_of(finding: Option<Finding>) -> Option<f32> {
    match finding? {
        Finding::Present => Some(1.0),
        Finding::Absent => Some(0.0),
        Finding::Uncertain => None,
    }
}

/// Reads the images that say anything of any of `findings`.
pub fn load_labelled(
    records: &[Record],
    findings: &[String],
    preprocess: &PreprocessSpec,
) -> Result<Vec<Labelled>, DatasetError> {
    let labels = |record: &Record| -> Vec<Option<f32>> {
        findings.iter().map(|f| label_of(record.findings.get(f).copied())).collect()
    };
    let (records, labels): (Vec<Record>, Vec<_>) = records
        .iter()
        .map(|record| (record.clone(), labels(record)))
        .filter(|(_, labels)| labels.iter().any(Option::is_some))
        .unzip();
    let samples = load_samples(&records, &[], preprocess)?;
    let parts = samples.into_iter().zip(records).zip(labels);
    Ok(parts.map(|((sample, record), labels)| Labelled { sample, source: record.source, labels }).collect())
}

/// Images and labels of one step.
#[derive(Clone, Debug, PartialEq)]
pub struct LabelledBatch {
    /// Ids of the images.
    pub ids: Vec<String>,
    /// Side of the model's grid (S), pixels.
    pub size: usize,
    /// N × 1 × S × S: normalised grey values.
    pub images: Vec<f32>,
    /// N × F: 1 or 0; 0 where unknown.
    pub labels: Vec<f32>,
    /// N × F: 1 where known, else 0.
    pub valid: Vec<f32>,
}

impl Named for LabelledBatch {
    fn ids(&self) -> &[String] {
        &self.ids
    }
}

/// The endless sequence of batches of a classifier. Groups of images take turns; within a group each epoch is a fresh
/// permutation.
#[derive(Clone, Debug)]
pub struct LabelledPlan {
    seed: u64,
    batch: usize,
    augment: AugmentSpec,
    mean_std: [f32; 2],
    images: Arc<[Labelled]>,
    /// Places of each group's images.
    groups: Vec<Vec<usize>>,
}

/// How a classifier's batches are drawn.
#[derive(Clone, Debug)]
pub struct LabelledDraw {
    /// Seed of order and augmentation.
    pub seed: u64,
    /// Images a batch.
    pub batch: usize,
    /// Variation of images.
    pub augment: AugmentSpec,
    /// Mean and standard deviation of normalised grey values.
    pub mean_std: [f32; 2],
    /// Whether every pair of source and labels is a group of its own; else all images are one.
    pub balance_sources: bool,
}

impl LabelledPlan {
    /// A plan over images, of which there must be some.
    pub fn new(draw: LabelledDraw, images: Vec<Labelled>) -> Result<Self, DatasetError> {
        if images.is_empty() {
            return Err(DatasetError::NothingToDraw("no image has any of the findings"));
        }
        let mut groups: BTreeMap<(String, String), Vec<usize>> = BTreeMap::new();
        for (place, image) in images.iter().enumerate() {
            let key = match draw.balance_sources {
                true => (image.source.clone(), format!("{:?}", image.labels)),
                false => <(String, String)>::default(),
            };
            groups.entry(key).or_default().push(place);
        }
        let LabelledDraw { seed, batch, augment, mean_std, .. } = draw;
        let groups = groups.into_values().collect();
        Ok(Self { seed, batch, augment, mean_std, images: images.into(), groups })
    }

    fn image(&self, draw: u64) -> &Labelled {
        let turn = (draw % self.groups.len() as u64) as usize;
        let nth = draw / self.groups.len() as u64;
        // A stream of its own for each group.
        let seed = self.seed.wrapping_add((turn as u64) << 32);
        &self.images[*super::order::nth_of_epochs(&self.groups[turn], seed, Stream::Order, nth)]
    }
}

impl BatchSource for LabelledPlan {
    type Batch = LabelledBatch;

    fn batch(&self, number: u64) -> LabelledBatch {
        let [mean, std] = self.mean_std;
        let mut batch = LabelledBatch {
            ids: Vec::new(),
            size: 0,
            images: Vec::new(),
            labels: Vec::new(),
            valid: Vec::new(),
        };
        for draw in number * self.batch as u64..(number + 1) * self.batch as u64 {
            let Labelled { sample, labels, .. } = self.image(draw);
            let example = augment(sample, &self.augment, &mut stream_rng(self.seed, Stream::Augment, draw));
            batch.size = example.size;
            batch.ids.push(sample.id.clone());
            batch.images.extend(normalize(&example.image, mean, std));
            batch.labels.extend(labels.iter().map(|label| label.unwrap_or(0.0)));
            batch.valid.extend(labels.iter().map(|label| if label.is_some() { 1.0 } else { 0.0 }));
        }
        batch
    }
}

#[cfg(test)]
mod tests {
    use shared::preprocess::Letterbox;

    use super::*;

    #[test]
    fn uncertain_and_unknown_labels_teach_nothing() {
        assert_eq!(label_of(None), None);
        assert_eq!(label_of(Some(Finding::Uncertain)), None);
        assert_eq!(label_of(Some(Finding::Present)), Some(1.0));
        assert_eq!(label_of(Some(Finding::Absent)), Some(0.0));
    }

    fn image(i: u16, source: &str) -> Labelled {
        Labelled {
            sample: Sample {
                id: i.to_string(),
                letterbox: Letterbox::new(8, 8, 8),
                image: vec![i * 3000; 64].into(),
                targets: Vec::new(),
            },
            source: source.into(),
            labels: vec![Some(f32::from(i % 2)), None],
        }
    }

    fn plan(images: Vec<Labelled>, balance_sources: bool) -> LabelledPlan {
        let augment = AugmentSpec { enabled: false, ..AugmentSpec::default() };
        let draw = LabelledDraw { seed: 1, batch: 3, augment, mean_std: [0.0, 1.0], balance_sources };
        LabelledPlan::new(draw, images).unwrap()
    }

    #[test]
    fn labels_stay_with_their_images() {
        let plan = plan((0..6).map(|i| image(i, "a")).collect(), false);
        let batch = plan.batch(5);
        for (i, id) in batch.ids.iter().enumerate() {
            let number: u16 = id.parse().unwrap();
            assert_eq!(batch.labels[2 * i], f32::from(number % 2));
            assert_eq!(batch.valid[2 * i..2 * i + 2], [1.0, 0.0]);
            assert!((batch.images[64 * i] - f32::from(number * 3000) / 65535.0).abs() < 1e-6);
        }
        assert_eq!(plan.batch(5), batch);
    }

    #[test]
    fn balanced_sources_and_labels_come_equally_often() {
        // Source a: one of nine positive; source b: all positive.
        let mut images: Vec<Labelled> = (0..9).map(|i| image(if i == 0 { 1 } else { 2 * i }, "a")).collect();
        images.extend((0..4).map(|i| image(2 * i + 1, "b")));
        let share = |plan: &LabelledPlan, source: &str, label: f32| {
            let own = |draw: &u64| {
                let image = plan.image(*draw);
                image.source == source && image.labels[0] == Some(label)
            };
            (0..600).filter(own).count()
        };
        let balanced = plan(images.clone(), true);
        for (source, label) in [("a", 0.0), ("a", 1.0), ("b", 1.0)] {
            assert_eq!(share(&balanced, source, label), 200, "{source} {label}");
        }
        let plain = plan(images, false);
        assert!(share(&plain, "a", 1.0) < 60);
    }
}
