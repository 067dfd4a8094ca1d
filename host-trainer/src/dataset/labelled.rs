use std::sync::Arc;

use super::augment::{AugmentSpec, augment};
use super::{BatchSource, DatasetError, Finding, Named, Record, Sample, Stream, load_samples, stream_rng};
use shared::preprocess::PreprocessSpec;

/// An image with its image-level labels.
#[derive(Clone, Debug)]
pub struct Labelled {
    /// The image; it has no masks.
    pub sample: Sample,
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
    Ok(samples.into_iter().zip(labels).map(|(sample, labels)| Labelled { sample, labels }).collect())
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

/// The endless sequence of batches of a classifier: each epoch a fresh permutation.
#[derive(Clone, Debug)]
pub struct LabelledPlan {
    /// Seed of order and augmentation.
    pub seed: u64,
    /// Images a batch.
    pub batch: usize,
    /// Variation of images.
    pub augment: AugmentSpec,
    /// Mean and standard deviation of normalised grey values.
    pub mean_std: [f32; 2],
    /// The images; not empty.
    pub images: Arc<[Labelled]>,
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
            let Labelled { sample, labels } =
                super::order::nth_of_epochs(&self.images, self.seed, Stream::Order, draw);
            let example = augment(sample, &self.augment, &mut stream_rng(self.seed, Stream::Augment, draw));
            batch.size = example.size;
            batch.ids.push(sample.id.clone());
            batch.images.extend(example.image.iter().map(|v| (v - mean) / std));
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

    #[test]
    fn labels_stay_with_their_images() {
        let image = |i: u16| Labelled {
            sample: Sample {
                id: i.to_string(),
                letterbox: Letterbox::new(8, 8, 8),
                image: vec![i * 8000; 64],
                targets: Vec::new(),
            },
            labels: vec![Some(f32::from(i % 2)), None],
        };
        let plan = LabelledPlan {
            seed: 1,
            batch: 3,
            augment: AugmentSpec { enabled: false, ..AugmentSpec::default() },
            mean_std: [0.0, 1.0],
            images: (0..6).map(image).collect(),
        };
        let batch = plan.batch(5);
        for (i, id) in batch.ids.iter().enumerate() {
            let number: u16 = id.parse().unwrap();
            assert_eq!(batch.labels[2 * i], f32::from(number % 2));
            assert_eq!(batch.valid[2 * i..2 * i + 2], [1.0, 0.0]);
            assert!((batch.images[64 * i] - f32::from(number * 8000) / 65535.0).abs() < 1e-6);
        }
        assert_eq!(plan.batch(5), batch);
    }
}
