use std::collections::BTreeMap;

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::ImageCounts;
use crate::dataset::{Stream, stream_rng};

/// Resamples of a bootstrap, as in CheXlocalize.
pub const RESAMPLES: usize = 1000;

/// A figure and its 95% percentile interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The figure over all images.
    pub value: f64,
    /// 2.5th percentile of the resamples.
    pub low: f64,
    /// 97.5th percentile.
    pub high: f64,
}

/// Resamples **patients** with replacement (all images of a patient go together) and takes the figure of
/// every resample: the percentile interval of Efron & Tibshirani (1993), chapter 13. Resamples without a
/// figure are left out. None if the images themselves have no figure. The same seed resamples alike, so
/// two models over the same images are compared pairwise.
pub fn bootstrap(
    images: &[&ImageCounts],
    seed: u64,
    resamples: usize,
    figure: impl Fn(&[&ImageCounts]) -> Option<f64>,
) -> Option<Interval> {
    let value = figure(images)?;
    let mut resampler = Resampler::new(images, seed);
    let mut drawn = Vec::with_capacity(images.len());
    let figures = (0..resamples).filter_map(|_| {
        drawn.clear();
        drawn.extend(resampler.draw().iter().map(|&i| images[i]));
        figure(&drawn)
    });
    Some(Interval::of(value, figures.collect()))
}

impl Interval {
    /// A figure with the 2.5th and 97.5th percentile of its resamples.
    pub(super) fn of(value: f64, mut figures: Vec<f64>) -> Self {
        figures.sort_by(f64::total_cmp);
        let (low, high) = (percentile(&figures, 0.025, value), percentile(&figures, 0.975, value));
        Self { value, low, high }
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

/// Linear interpolation between order statistics; `empty` for no figures.
fn percentile(sorted: &[f64], share: f64, empty: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return empty };
    let at = share * last as f64;
    let (low, high) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
    low + (high - low) * at.fract()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::{ClassCounts, Counts, Measure, Protocol, statistic};

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
        let figure = |drawn: &[&ImageCounts]| {
            statistic(drawn.iter().copied(), 0, Protocol::Chexlocalize, Measure::Dice)
        };
        bootstrap(&images, 1, RESAMPLES, figure).unwrap()
    }

    #[test]
    fn equal_images_have_no_spread_and_seeds_repeat() {
        let same: Vec<_> = (0..10).map(|i| image(i, 50)).collect();
        assert_eq!(interval(&same), Interval { value: 0.5, low: 0.5, high: 0.5 });
        let mixed: Vec<_> = (0..10).map(|i| image(i, 50 + i as u64)).collect();
        assert_eq!(interval(&mixed), interval(&mixed));
    }

    #[test]
    fn the_interval_of_a_mean_is_near_the_normal_one() {
        // 100 patients, half at 0.4 and half at 0.6: standard error of the mean 0.01, interval ± 0.0196.
        let images: Vec<_> = (0..100).map(|i| image(i, if i % 2 == 0 { 40 } else { 60 })).collect();
        let Interval { value, low, high } = interval(&images);
        assert!((value - 0.5).abs() < 1e-12);
        assert!((value - low - 0.0196).abs() < 0.004, "{low}");
        assert!((high - value - 0.0196).abs() < 0.004, "{high}");
    }

    #[test]
    fn images_of_a_patient_go_together() {
        // The same 100 images from two patients: a resample is all of one, all of the other, or half and half.
        let images: Vec<_> = (0..100).map(|i| image(i % 2, if i % 2 == 0 { 40 } else { 60 })).collect();
        let Interval { low, high, .. } = interval(&images);
        assert!((low - 0.4).abs() < 1e-9 && (high - 0.6).abs() < 1e-9, "{low} {high}");
    }
}
