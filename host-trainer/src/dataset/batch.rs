use super::Named;
use super::augment::Example;
use super::sample::normalize;
use super::unlabeled::UnlabeledBatch;

/// Images and targets of one training step, ready to become tensors.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// Number of the batch, from 0.
    pub number: u64,
    /// Ids of the images, unlabeled ones last.
    pub ids: Vec<String>,
    /// Images in it (N).
    pub len: usize,
    /// Classes (C).
    pub classes: usize,
    /// Side of the model's grid (S), pixels.
    pub size: usize,
    /// N × 1 × S × S: normalised grey values.
    pub images: Vec<f32>,
    /// N × C × S × S: coverage 0..1; 0 where the class is not annotated.
    pub targets: Vec<f32>,
    /// N × C: 1 where the class is annotated, else 0.
    pub valid: Vec<f32>,
    /// Images without masks, for consistency training.
    pub unlabeled: Option<UnlabeledBatch>,
}

impl Named for Batch {
    fn ids(&self) -> &[String] {
        &self.ids
    }
}

impl Batch {
    /// Puts examples together; `mean` and `std` normalise the grey values as the device does.
    pub fn collate(number: u64, ids: Vec<String>, examples: Vec<Example>, mean: f32, std: f32) -> Self {
        let len = examples.len();
        let (size, classes) = examples.first().map_or((0, 0), |e| (e.size, e.targets.len()));
        let plane = size * size;
        let mut batch = Self {
            number,
            ids,
            len,
            classes,
            size,
            images: Vec::with_capacity(len * plane),
            targets: Vec::with_capacity(len * classes * plane),
            valid: Vec::with_capacity(len * classes),
            unlabeled: None,
        };
        for example in examples {
            batch.images.extend(normalize(&example.image, mean, std));
            for target in example.targets {
                batch.valid.push(if target.is_some() { 1.0 } else { 0.0 });
                match target {
                    Some(target) => batch.targets.extend(target),
                    None => batch.targets.resize(batch.targets.len() + plane, 0.0),
                }
            }
        }
        batch
    }
}
