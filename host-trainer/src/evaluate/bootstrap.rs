use std::collections::BTreeMap;

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::{Figure, ImageCounts};
use crate::dataset::{Stream, stream_rng};

/// Resamples of a bootstrap, as in CheXlocalize.
pub const RESAMPLES: usize = 1000;

/// Fewest patients that give an interval: resamples of fewer hardly differ, and one patient has no spread at all.
pub const MIN_PATIENTS: usize = 5;

/// A figure and its 95% percentile interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The figure over all images.
    pub value: f64,
    /// The interval; none where fewer than [`MIN_PATIENTS`] patients contribute to the figure.
    #[serde(flatten)]
    pub bounds: Option<Bounds>,
}

/// A 95% percentile interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bounds {
    /// 2.5th percentile of the resamples.
    pub low: f64,
    /// 97.5th percentile.
    pub high: f64,
    /// Resamples that have a figure …
    pub resamples: usize,
    /// … of so many.
    pub drawn: usize,
}

/// Resamples **patients** with replacement (all images of a patient go together) and takes the figure of
/// every resample: the percentile interval of Efron & Tibshirani (1993), chapter 13. Resamples without a
/// figure are left out. None if the images themselves have no figure. The same seed resamples alike, so
/// two models over the same images are compared pairwise.
pub fn bootstrap(images: &[&ImageCounts], seed: u64, resamples: usize, figure: &Figure) -> Option<Interval> {
    let value = figure.of(images)?;
    let patients = figure.patients(images);
    let mut resampler = Resampler::new(images, seed);
    let mut drawn = Vec::with_capacity(images.len());
    let figures = (0..resamples).filter_map(|_| {
        drawn.clear();
        drawn.extend(resampler.draw().iter().map(|&i| images[i]));
        figure.of(&drawn)
    });
    Some(Interval::of(value, figures.collect(), resamples, patients))
}

impl Interval {
    /// A figure with the 2.5th and 97.5th percentile of those of `drawn` resamples that have one, if enough `patients`
    /// contribute.
    pub(super) fn of(value: f64, mut figures: Vec<f64>, drawn: usize, patients: usize) -> Self {
        figures.sort_by(f64::total_cmp);
        let percentiles = percentile(&figures, 0.025).zip(percentile(&figures, 0.975));
        let bounds = percentiles.filter(|_| patients >= MIN_PATIENTS);
        let resamples = figures.len();
        Self { value, bounds: bounds.map(|(low, high)| Bounds { low, high, resamples, drawn }) }
    }

    /// The interval in brackets, or why there is none; says how many resamples it rests on where many had no figure.
    pub fn brackets(&self, number: impl Fn(f64) -> String) -> String {
        let Some(Bounds { low, high, resamples, drawn }) = self.bounds else {
            return format!("[n < {MIN_PATIENTS} patients]");
        };
        let few = resamples * 10 < drawn * 9;
        let rest = if few { format!("; {resamples} of {drawn} resamples") } else { String::new() };
        format!("[{}, {}{rest}]", number(low), number(high))
    }
}

/// Draws patients with replacement: images in, places of images out.
pub(super) struct Resampler {
    patients: Vec<Vec<usize>>,
    rng: ChaCha8Rng,
    drawn: Vec<usize>,
}

impl Resampler {
    pub(super) fn new(images: &[&ImageCounts], seed: u64) -> Self {
        let mut patients: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (i, image) in images.iter().enumerate() {
            patients.entry(&image.patient).or_default().push(i);
        }
        let patients = patients.into_values().collect();
        Self { patients, rng: stream_rng(seed, Stream::Bootstrap, 0), drawn: Vec::new() }
    }

    /// How many patients there are.
    pub(super) fn patients(&self) -> usize {
        self.patients.len()
    }

    /// The images of the next resample.
    pub(super) fn draw(&mut self) -> &[usize] {
        self.drawn.clear();
        for _ in 0..self.patients.len() {
            self.drawn.extend_from_slice(&self.patients[self.rng.random_range(0..self.patients.len())]);
        }
        &self.drawn
    }
}

/// Linear interpolation between order statistics; none of no figures.
fn percentile(sorted: &[f64], share: f64) -> Option<f64> {
    let at = share * sorted.len().checked_sub(1)? as f64;
    let (low, high) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
    Some(low + (high - low) * at.fract())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::{ClassCounts, Counts, Measure, Protocol};

    fn image(patient: usize, intersection: u64) -> ImageCounts {
        let counts = Counts { truth: 100, predicted: 100, intersection };
        ImageCounts {
            patient: patient.to_string(),
            classes: vec![Some(ClassCounts { source: counts, model: counts, ..ClassCounts::default() })],
            ..ImageCounts::default()
        }
    }

    fn interval(images: &[ImageCounts]) -> Interval {
        let images: Vec<_> = images.iter().collect();
        let figure = Figure::of_class(0, Protocol::Chexlocalize, Measure::Dice);
        bootstrap(&images, 1, RESAMPLES, &figure).unwrap()
    }

    #[test]
    fn equal_images_have_no_spread_and_seeds_repeat() {
        let same: Vec<_> = (0..10).map(|i| image(i, 50)).collect();
        let bounds = Bounds { low: 0.5, high: 0.5, resamples: RESAMPLES, drawn: RESAMPLES };
        assert_eq!(interval(&same), Interval { value: 0.5, bounds: Some(bounds) });
        let mixed: Vec<_> = (0..10).map(|i| image(i, 50 + i as u64)).collect();
        assert_eq!(interval(&mixed), interval(&mixed));
    }

    #[test]
    fn the_interval_of_a_mean_is_near_the_normal_one() {
        // 100 patients, half at 0.4 and half at 0.6: standard error of the mean 0.01, interval ± 0.0196.
        let images: Vec<_> = (0..100).map(|i| image(i, if i % 2 == 0 { 40 } else { 60 })).collect();
        let Interval { value, bounds } = interval(&images);
        let Bounds { low, high, .. } = bounds.unwrap();
        assert!((value - 0.5).abs() < 1e-12);
        assert!((value - low - 0.0196).abs() < 0.004, "{low}");
        assert!((high - value - 0.0196).abs() < 0.004, "{high}");
    }

    #[test]
    fn images_of_a_patient_go_together() {
        // 100 images of five patients, four at 0.4: the mean of a resample is 0.4 + 0.04 times how often it holds the
        // fifth. More than three times is rarer than 2.5%.
        let images: Vec<_> = (0..100).map(|i| image(i % 5, if i % 5 == 0 { 60 } else { 40 })).collect();
        let Bounds { low, high, .. } = interval(&images).bounds.unwrap();
        assert!((low - 0.4).abs() < 1e-9 && (high - 0.52).abs() < 1e-9, "{low} {high}");
    }

    #[test]
    fn few_patients_have_no_interval_however_many_images_they_have() {
        let of =
            |patients: usize| -> Vec<_> { (0..40).map(|i| image(i % patients, 40 + i as u64)).collect() };
        for few in [1, 4] {
            let found = interval(&of(few));
            assert!((found.value - 0.595).abs() < 1e-12 && found.bounds.is_none(), "{found:?}");
            assert_eq!(found.brackets(|v| v.to_string()), "[n < 5 patients]");
        }
        assert!(interval(&of(5)).bounds.is_some());
        // A patient whose class nobody annotated contributes nothing.
        let mut images = of(5);
        for image in images.iter_mut().filter(|image| image.patient == "3") {
            image.classes[0] = None;
        }
        assert_eq!(interval(&images).bounds, None);
    }

    #[test]
    fn resamples_without_a_figure_are_told() {
        let bounds = Bounds { low: 0.25, high: 0.5, resamples: 900, drawn: 1000 };
        let text = |resamples| {
            let bounds = Some(Bounds { resamples, ..bounds });
            Interval { value: 0.3, bounds }.brackets(|v| format!("{v:.2}"))
        };
        assert_eq!(text(900), "[0.25, 0.50]");
        assert_eq!(text(899), "[0.25, 0.50; 899 of 1000 resamples]");
    }
}
