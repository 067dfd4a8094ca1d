use std::borrow::Cow;
use std::sync::Arc;

use rand::Rng as _;
use serde::{Deserialize, Serialize};

use super::augment::{AugmentSpec, augment, draw_devices};
use super::order::{nth_index, nth_of_epochs};
use super::unlabeled::{UnlabeledBatch, ViewSpec};
use super::{Batch, BatchSource, CodedSample, DatasetError, Sample, Stream, stream_rng};

/// What a plan needs beside its images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlanSpec {
    /// Seed of order and augmentation.
    pub seed: u64,
    /// Images a batch.
    pub batch: usize,
    /// Share of draws that are phantoms, 0..=1.
    pub phantom_share: f64,
    /// Probability that a radiograph is one with an expert's mask, where there are pseudo-masks too, 0..=1.
    pub strong_weight: f64,
    /// Images without masks; none: no consistency training.
    pub unlabeled: Option<ViewSpec>,
    /// Devices to draw onto radiographs; none: radiographs stay as they are.
    pub devices: Option<DeviceDraw>,
    /// Mean of normalised grey values, from the preprocessing.
    pub mean: f32,
    /// Standard deviation, from the preprocessing.
    pub std: f32,
}

/// Which radiographs get devices drawn onto them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeviceDraw {
    /// The class that devices are: its mask has to be known.
    pub class: usize,
    /// The classes that are lungs. Where all are known, devices lie to them as they do in their phantom.
    pub lungs: Vec<usize>,
    /// How often, 0..=1.
    pub probability: f64,
}

/// The images that a plan draws from.
#[derive(Clone, Debug, Default)]
pub struct Pools {
    /// With experts' masks.
    pub strong: Vec<Sample>,
    /// With pseudo-masks.
    pub weak: Vec<CodedSample>,
    /// Synthetic.
    pub phantoms: Vec<Sample>,
    /// Without masks.
    pub unlabeled: Vec<Sample>,
    /// Devices alone, of [`super::device_pool`].
    pub devices: Vec<Sample>,
}

/// Which pool a draw takes from, and the how-manieth draw of its kind it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DrawKind {
    /// A radiograph.
    Real(u64),
    /// A phantom.
    Phantom(u64),
}

/// The endless sequence of training batches.
///
/// Batch i is a function of (seed, i) alone. Phantoms are spread evenly: draw k takes one whenever
/// ⌊(k+1)·share⌋ exceeds ⌊k·share⌋. The other draws are radiographs, mixed as CheXseg does (design §5.5): an
/// epoch has as many items as there are strong and weak images together, in a fresh random order; an item is
/// strong with probability `strong_weight`, and its number modulo the size of its set says which image it is.
/// With one set only, an epoch is a permutation of it.
#[derive(Clone, Debug)]
pub struct BatchPlan {
    spec: PlanSpec,
    augment: AugmentSpec,
    pools: Arc<Pools>,
}

impl BatchPlan {
    /// A plan over the pools. A pool may be empty if nothing is drawn from it.
    pub fn new(spec: PlanSpec, augment: AugmentSpec, pools: Pools) -> Result<Self, DatasetError> {
        let nothing = |what| Err(DatasetError::NothingToDraw(what));
        if spec.batch == 0 {
            return nothing("the batch size is 0");
        }
        if !(0.0..=1.0).contains(&spec.phantom_share) {
            return nothing("phantom_share must lie in 0..=1");
        }
        if !(0.0..=1.0).contains(&spec.strong_weight) {
            return nothing("strong_weight must lie in 0..=1");
        }
        if spec.phantom_share > 0.0 && pools.phantoms.is_empty() {
            return nothing("phantom_share is above 0 and the phantom pool is empty");
        }
        if spec.phantom_share < 1.0 && pools.strong.is_empty() && pools.weak.is_empty() {
            return nothing(
                "phantom_share is below 1 and no image has an expert's mask (split strong_train) or a pseudo-mask",
            );
        }
        match &spec.unlabeled {
            Some(views) if views.batch == 0 || views.views == 0 => {
                return nothing("consistency needs a batch and at least one view");
            }
            Some(_) if pools.unlabeled.is_empty() => {
                return nothing("consistency is on and no image is in the split weak");
            }
            _ => (),
        }
        if spec.devices.is_some() && pools.devices.is_empty() {
            return nothing("devices are to be drawn onto radiographs and there are none");
        }
        Ok(Self { spec, augment, pools: pools.into() })
    }

    /// Which kind draw `draw` is.
    pub fn kind(&self, draw: u64) -> DrawKind {
        let phantoms_before = |k: u64| (k as f64 * self.spec.phantom_share).floor() as u64;
        let before = phantoms_before(draw);
        if phantoms_before(draw + 1) > before {
            DrawKind::Phantom(before)
        } else {
            DrawKind::Real(draw - before)
        }
    }

    fn sample(&self, draw: u64) -> Cow<'_, Sample> {
        match self.kind(draw) {
            DrawKind::Real(nth) => self.radiograph(nth),
            DrawKind::Phantom(nth) => {
                Cow::Borrowed(nth_of_epochs(&self.pools.phantoms, self.spec.seed, Stream::PhantomOrder, nth))
            }
        }
    }

    /// With devices of some phantom, if it is a radiograph whose turn it is.
    fn with_devices<'a>(&self, sample: Cow<'a, Sample>, draw: u64) -> Cow<'a, Sample> {
        let (Some(devices), DrawKind::Real(_)) = (&self.spec.devices, self.kind(draw)) else { return sample };
        if !self.augment.enabled || sample.targets[devices.class].is_none() {
            return sample;
        }
        let mut rng = stream_rng(self.spec.seed, Stream::Devices, draw);
        if rng.random::<f64>() >= devices.probability {
            return sample;
        }
        let pool = &self.pools.devices;
        let of = &pool[rng.random_range(0..pool.len())];
        Cow::Owned(draw_devices(&sample, devices, of, &self.augment, &mut rng))
    }

    fn radiograph(&self, nth: u64) -> Cow<'_, Sample> {
        let Pools { strong, weak, .. } = &*self.pools;
        let item = nth_index(strong.len() + weak.len(), self.spec.seed, Stream::Order, nth);
        let is_strong = match (strong.is_empty(), weak.is_empty()) {
            (false, true) => true,
            (true, _) => false,
            (false, false) => {
                stream_rng(self.spec.seed, Stream::Mix, nth).random::<f64>() < self.spec.strong_weight
            }
        };
        match is_strong {
            true => Cow::Borrowed(&strong[item % strong.len()]),
            false => Cow::Owned(weak[item % weak.len()].decoded()),
        }
    }
}

impl BatchSource for BatchPlan {
    type Batch = Batch;

    fn batch(&self, number: u64) -> Batch {
        let PlanSpec { seed, mean, std, .. } = self.spec;
        let first = number * self.spec.batch as u64;
        let (mut ids, mut examples) = (Vec::new(), Vec::new());
        for draw in first..first + self.spec.batch as u64 {
            let sample = self.with_devices(self.sample(draw), draw);
            ids.push(sample.id.clone());
            examples.push(augment(&sample, &self.augment, &mut stream_rng(seed, Stream::Augment, draw)));
        }
        let mut batch = Batch::collate(number, ids, examples, mean, std);
        batch.unlabeled = self.spec.unlabeled.as_ref().map(|views| {
            UnlabeledBatch::draw(&self.pools.unlabeled, views, &self.augment, seed, number, [mean, std])
        });
        if let Some(unlabeled) = &batch.unlabeled {
            batch.ids.extend(unlabeled.ids.iter().cloned());
        }
        batch
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
            targets: vec![Some(vec![255; 64].into()), None],
        }
    }

    fn spec() -> PlanSpec {
        PlanSpec {
            seed: 17,
            batch: 4,
            phantom_share: 0.0,
            strong_weight: 0.9,
            unlabeled: None,
            devices: None,
            mean: 0.5,
            std: 0.25,
        }
    }

    fn pool(n: usize, from: usize) -> Vec<Sample> {
        (from..from + n).map(sample).collect()
    }

    fn coded(n: usize, from: usize) -> Vec<CodedSample> {
        pool(n, from).iter().map(|sample| CodedSample::new(sample, vec![None, None]).unwrap()).collect()
    }

    fn plan(share: f64, real: usize, phantoms: usize) -> Result<BatchPlan, DatasetError> {
        let pools = Pools { strong: pool(real, 0), phantoms: pool(phantoms, 100), ..Pools::default() };
        BatchPlan::new(PlanSpec { phantom_share: share, ..spec() }, AugmentSpec::default(), pools)
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
    fn an_epoch_of_one_set_sees_every_image_once() {
        let plan = plan(0.0, 6, 0).unwrap();
        let mut seen = BTreeMap::new();
        for draw in 0..18 {
            *seen.entry(plan.sample(draw).id.clone()).or_insert(0) += 1;
        }
        assert_eq!(seen.len(), 6);
        assert!(seen.values().all(|&n| n == 3));
    }

    #[test]
    fn strong_images_come_as_often_as_their_weight_says() {
        let pools = Pools { strong: pool(3, 0), weak: coded(50, 100), ..Pools::default() };
        let plan = BatchPlan::new(spec(), AugmentSpec::default(), pools).unwrap();
        let strong = |draw: &u64| plan.sample(*draw).id.parse::<usize>().unwrap() < 100;
        let share = (0..5000).filter(strong).count() as f64 / 5000.0;
        assert!((share - 0.9).abs() < 0.02, "{share}");
        // Each strong image equally often.
        let first = (0..5000).filter(|&draw| plan.sample(draw).id == "0").count() as f64;
        assert!((first / 5000.0 - 0.3).abs() < 0.03, "{first}");
    }

    #[test]
    fn weak_images_alone_are_drawn_whatever_the_weight() {
        let pools = Pools { weak: coded(4, 100), ..Pools::default() };
        let plan = BatchPlan::new(spec(), AugmentSpec::default(), pools).unwrap();
        assert!((0..20).all(|draw| plan.sample(draw).id.len() == 3));
    }

    #[test]
    fn batches_name_their_images_and_carry_unlabeled_ones() {
        let unlabeled = Some(ViewSpec { batch: 3, ..ViewSpec::default() });
        let pools = Pools { strong: pool(3, 0), unlabeled: pool(5, 50), ..Pools::default() };
        let plan = BatchPlan::new(PlanSpec { unlabeled, ..spec() }, AugmentSpec::default(), pools).unwrap();
        let batch = plan.batch(2);
        assert_eq!((batch.len, batch.ids.len()), (4, 7));
        assert_eq!(batch.unlabeled.unwrap().len, 3);
    }

    #[test]
    fn devices_are_drawn_onto_radiographs_whose_mask_of_them_is_known_as_often_as_asked() {
        let wire = Sample {
            image: vec![5_000; 64].into(),
            targets: vec![Some(vec![255; 64].into()); 2],
            ..sample(0)
        };
        let plan = |class| {
            let pools = Pools {
                strong: pool(4, 0),
                phantoms: pool(2, 100),
                devices: vec![wire.clone()],
                ..Pools::default()
            };
            let devices = Some(DeviceDraw { class, lungs: Vec::new(), probability: 0.25 });
            let spec = PlanSpec { devices, phantom_share: 0.5, ..spec() };
            BatchPlan::new(spec, AugmentSpec::default(), pools).unwrap()
        };
        let drawn = |plan: &BatchPlan, draw: u64| {
            let sample = plan.sample(draw);
            plan.with_devices(sample.clone(), draw).image != sample.image
        };
        let (known, unknown) = (plan(0), plan(1));
        let (phantom, real): (Vec<u64>, Vec<u64>) =
            (0..2000).partition(|&draw| matches!(known.kind(draw), DrawKind::Phantom(_)));
        assert!(phantom.iter().all(|&draw| !drawn(&known, draw)));
        let share = real.iter().filter(|&&draw| drawn(&known, draw)).count() as f64 / real.len() as f64;
        assert!((share - 0.25).abs() < 0.04, "{share}");
        assert!((0..200).all(|draw| !drawn(&unknown, draw)));

        let devices = Some(DeviceDraw { class: 0, lungs: Vec::new(), probability: 0.5 });
        let pools = Pools { strong: pool(1, 0), ..Pools::default() };
        let none = BatchPlan::new(PlanSpec { devices, ..spec() }, AugmentSpec::default(), pools);
        assert!(none.unwrap_err().to_string().contains("devices"));
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
        let unlabeled = Some(ViewSpec::default());
        let pools = Pools { strong: pool(3, 0), ..Pools::default() };
        assert!(BatchPlan::new(PlanSpec { unlabeled, ..spec() }, AugmentSpec::default(), pools).is_err());
    }
}
