use serde::Serialize;

use super::resample::NumpyRandomState;

/// Replicates of CheXlocalize's bootstrap.
pub const CHEXLOCALIZE_RESAMPLES: usize = 1000;

/// A figure with the bootstrap that `eval.py` makes of it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Estimate {
    /// The figure over the images themselves.
    pub value: f64,
    /// Mean of the replicates that have a figure; none if no replicate has.
    pub bootstrap_mean: Option<f64>,
    /// 25th of 1000 replicates in order, those without a figure last; none if it is one of those.
    pub low: Option<f64>,
    /// 975th.
    pub high: Option<f64>,
}

/// What an image adds to a figure: the figure is the sum of parts over the sum of wholes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Share {
    part: f64,
    whole: f64,
}

impl Share {
    /// Of a mean over images: an image without a value does not count.
    pub(super) fn mean(value: Option<f64>) -> Self {
        value.map_or_else(Self::default, |part| Self { part, whole: 1.0 })
    }

    /// Of a ratio of sums.
    pub(super) fn ratio(part: u64, whole: u64) -> Self {
        Self { part: part as f64, whole: whole as f64 }
    }
}

/// Figures of every pathology and of their mean.
pub(super) struct Estimates {
    /// By pathology; none without a figure.
    pub(super) each: Vec<Option<Estimate>>,
    /// Mean of the pathologies that have one.
    pub(super) mean: Option<Estimate>,
}

/// Bootstraps a table of `images[i][pathology]`, images in the order of their ids.
pub(super) fn estimate(images: &[Vec<Share>], pathologies: usize, seed: u32) -> Estimates {
    let everything: Vec<usize> = (0..images.len()).collect();
    let values = figures(images, pathologies, &everything);
    let mut state = NumpyRandomState::new(seed);
    let replicates: Vec<Vec<Option<f64>>> = (0..CHEXLOCALIZE_RESAMPLES)
        .map(|_| figures(images, pathologies, &state.choice(images.len())))
        .collect();
    let each = |k: usize| summary(values[k], replicates.iter().map(|figures| figures[k]).collect());
    Estimates {
        each: (0..pathologies).map(each).collect(),
        mean: summary(mean(&values), replicates.iter().map(|figures| mean(figures)).collect()),
    }
}

fn figures(images: &[Vec<Share>], pathologies: usize, at: &[usize]) -> Vec<Option<f64>> {
    let figure = |k: usize| {
        let (part, whole) =
            at.iter().map(|&i| images[i][k]).fold((0.0, 0.0), |(p, w), one| (p + one.part, w + one.whole));
        (whole > 0.0).then(|| part / whole)
    };
    (0..pathologies).map(figure).collect()
}

fn mean(figures: &[Option<f64>]) -> Option<f64> {
    let known: Vec<f64> = figures.iter().copied().flatten().collect();
    if known.is_empty() { None } else { Some(known.iter().sum::<f64>() / known.len() as f64) }
}

fn summary(value: Option<f64>, replicates: Vec<Option<f64>>) -> Option<Estimate> {
    let bootstrap_mean = mean(&replicates);
    let mut known: Vec<f64> = replicates.into_iter().flatten().collect();
    known.sort_by(f64::total_cmp);
    let nth = |n: usize| known.get(n - 1).copied();
    let (low, high) = (nth(CHEXLOCALIZE_RESAMPLES / 40), nth(CHEXLOCALIZE_RESAMPLES * 39 / 40));
    Some(Estimate { value: value?, bootstrap_mean, low, high })
}
