use std::sync::Arc;

use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use super::augment::{AugmentSpec, augment};
use super::{Batch, DatasetError, Sample, Stream, stream_rng};

/// What a plan needs beside its images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlanSpec {
    /// Seed of order and augmentation.
    pub seed: u64,
    /// Images a batch.
    pub batch: usize,
    /// Share of draws that are phantoms, 0..=1.
    pub phantom_share: f64,
    /// Mean of normalised grey values, from the preprocessing.
    pub mean: f32,
    /// Standard deviation, from the preprocessing.
    pub std: f32,
}

/// Which pool a draw takes from, and the how-manieth draw from that pool it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DrawKind {
    /// A radiograph.
    Real(u64),
    /// A phantom.
    Phantom(u64),
}

/// The endless sequence of training batches over two pools, real radiographs and phantoms.
///
/// Batch i is a function of (seed, i) alone. Phantoms are spread evenly: draw k takes one whenever
/// ⌊(k+1)·share⌋ exceeds ⌊k·share⌋. Within a pool every epoch is a fresh permutation, so each image is seen
/// once before any is seen twice.
#[derive(Clone, Debug)]
pub struct BatchPlan {
    spec: PlanSpec,
    augment: AugmentSpec,
    real: Arc<[Sample]>,
    phantoms: Arc<[Sample]>,
}

impl BatchPlan {
    /// A plan over the two pools. A pool may be empty if its share is 0.
    pub fn new(
        spec: PlanSpec,
        augment: AugmentSpec,
        real: Vec<Sample>,
        phantoms: Vec<Sample>,
    ) -> Result<Self, DatasetError> {
        let nothing = |what| Err(DatasetError::NothingToDraw(what));
        if spec.batch == 0 {
            return nothing("the batch size is 0");
        }
        if !(0.0..=1.0).contains(&spec.phantom_share) {
            return nothing("phantom_share must lie in 0..=1");
        }
        if spec.phantom_share > 0.0 && phantoms.is_empty() {
            return nothing("phantom_share is above 0 and the phantom pool is empty");
        }
        if spec.phantom_share < 1.0 && real.is_empty() {
            return nothing("phantom_share is below 1 and no data set has images in the split strong_train");
        }
        Ok(Self { spec, augment, real: real.into(), phantoms: phantoms.into() })
    }

    /// Batch `number`.
    pub fn batch(&self, number: u64) -> Batch {
        let first = number * self.spec.batch as u64;
        let examples = (first..first + self.spec.batch as u64).map(|draw| {
            let mut rng = stream_rng(self.spec.seed, Stream::Augment, draw);
            augment(self.sample(draw), &self.augment, &mut rng)
        });
        Batch::collate(number, examples.collect(), self.spec.mean, self.spec.std)
    }

    /// Which pool draw `draw` takes from.
    pub fn kind(&self, draw: u64) -> DrawKind {
        let phantoms_before = |k: u64| (k as f64 * self.spec.phantom_share).floor() as u64;
        let before = phantoms_before(draw);
        if phantoms_before(draw + 1) > before {
            DrawKind::Phantom(before)
        } else {
            DrawKind::Real(draw - before)
        }
    }

    fn sample(&self, draw: u64) -> &Sample {
        let (pool, tag, nth) = match self.kind(draw) {
            DrawKind::Real(nth) => (&self.real, 0, nth),
            DrawKind::Phantom(nth) => (&self.phantoms, 1, nth),
        };
        let (epoch, at) = (nth / pool.len() as u64, (nth % pool.len() as u64) as usize);
        let mut order: Vec<usize> = (0..pool.len()).collect();
        order.shuffle(&mut stream_rng(self.spec.seed, Stream::Order, 2 * epoch + tag));
        &pool[order[at]]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use shared::preprocess::Letterbox;

    use super::*;

    fn sample(id: usize) -> Sample {
        Sample {
            id: id.to_string(),
            letterbox: Letterbox::new(8, 8, 8),
            image: (0..64).map(|i| (i * 1000 + id) as u16).collect(),
            targets: vec![Some(vec![255; 64]), None],
        }
    }

    fn plan(share: f64, real: usize, phantoms: usize) -> Result<BatchPlan, DatasetError> {
        let spec = PlanSpec { seed: 17, batch: 4, phantom_share: share, mean: 0.5, std: 0.25 };
        let pool = |n: usize, from: usize| (from..from + n).map(sample).collect();
        BatchPlan::new(spec, AugmentSpec::default(), pool(real, 0), pool(phantoms, 100))
    }

    #[test]
    fn batches_do_not_depend_on_what_was_drawn_before() {
        let (a, b) = (plan(0.25, 5, 3).unwrap(), plan(0.25, 5, 3).unwrap());
        let _ = a.batch(0);
        assert_eq!(a.batch(7), b.batch(7));
        assert_ne!(a.batch(7).images, a.batch(8).images);
    }

    #[test]
    fn phantoms_take_their_share_evenly() {
        let plan = plan(0.25, 5, 3).unwrap();
        for batch in 0..10 {
            let phantoms =
                (batch * 4..batch * 4 + 4).filter(|&k| matches!(plan.kind(k), DrawKind::Phantom(_)));
            assert_eq!(phantoms.count(), 1);
        }
    }

    #[test]
    fn an_epoch_sees_every_image_once() {
        let plan = plan(0.0, 6, 0).unwrap();
        let mut seen = BTreeMap::new();
        for draw in 0..18 {
            *seen.entry(plan.sample(draw).id.clone()).or_insert(0) += 1;
        }
        assert_eq!(seen.len(), 6);
        assert!(seen.values().all(|&n| n == 3));
    }

    #[test]
    fn unannotated_classes_are_invalid_and_empty() {
        let batch = plan(0.0, 2, 0).unwrap().batch(0);
        assert_eq!(batch.valid, [1.0, 0.0].repeat(4));
        assert!(batch.targets[64..128].iter().all(|&v| v == 0.0));
    }

    #[test]
    fn empty_pools_are_refused() {
        assert!(plan(0.5, 5, 0).is_err());
        assert!(plan(0.5, 0, 5).is_err());
        assert!(plan(1.0, 0, 5).is_ok());
        assert!(plan(1.5, 5, 5).is_err());
    }
}
