use serde::{Deserialize, Serialize};

use crate::dataset::Sample;

/// How many thresholds are tried.
pub const CANDIDATES: usize = 23;

/// Thresholds that are tried: 0.05, 0.10, … 0.95 (design §5.6; 0 would make every pixel foreground), and some below: what
/// is rare and faint is found at probabilities that never come near 0.05, and would seem not to be found at all.
const THRESHOLDS: [f32; CANDIDATES] = [
    0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7,
    0.75, 0.8, 0.85, 0.9, 0.95,
];

/// Finds for every class the probability from which a pixel had best be foreground: the candidate of highest
/// dataset-level IoU on validation images at model size. Ties go to the candidate nearest 0.5.
#[derive(Clone, Debug)]
pub struct ThresholdSearch {
    /// By class: by number of candidates that a pixel's probability reaches, pixels outside and inside truth.
    histograms: Vec<[[u64; CANDIDATES + 1]; 2]>,
    /// By class: candidates below are not chosen.
    least: Vec<f32>,
}

/// How the IoU of a class depends on its threshold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ThresholdCurve {
    /// The class.
    pub label: String,
    /// The best candidate.
    pub chosen: f32,
    /// Candidate and its dataset-level IoU; those without a figure are left out.
    pub points: Vec<(f32, f64)>,
}

impl ThresholdSearch {
    /// A search over classes that want no threshold below `least`, nothing seen yet.
    pub fn new(least: Vec<f32>) -> Self {
        Self { histograms: vec![[[0; CANDIDATES + 1]; 2]; least.len()], least }
    }

    /// Takes in an image: `logits` is C × S × S.
    ///
    /// # Panics
    /// If the logits do not fill the sample's grid for every class.
    pub fn add(&mut self, sample: &Sample, logits: &[f32]) {
        let plane = sample.size() * sample.size();
        assert_eq!(logits.len(), plane * self.histograms.len(), "logits of {}", sample.id);
        for (class, histogram) in self.histograms.iter_mut().enumerate() {
            let Some(truth) = sample.mask(class) else { continue };
            for (logit, &inside) in logits[class * plane..].iter().zip(truth.data()) {
                let probability = 1.0 / (1.0 + (-logit).exp());
                // A small excess, so that a probability of exactly a candidate reaches it.
                let reached = THRESHOLDS.partition_point(|candidate| *candidate <= probability + 5e-6);
                histogram[usize::from(inside)][reached] += 1;
            }
        }
    }

    /// Threshold and IoU of every class; none where no image shows the class: empty masks would favour the threshold
    /// that finds least.
    pub fn best(&self) -> Vec<Option<(f32, f64)>> {
        let classes = self.histograms.iter().zip(&self.least);
        classes.map(|([outside, inside], least)| best(outside, inside, *least)).collect()
    }

    /// The IoU at every candidate, for the classes of these names in the search's order; classes that no image
    /// shows are left out.
    pub fn curves(&self, labels: &[String]) -> Vec<ThresholdCurve> {
        let best = self.best();
        let classes = labels.iter().zip(&self.histograms).zip(best);
        let of_class =
            |((label, [outside, inside]), best): ((&String, &[[u64; CANDIDATES + 1]; 2]), Option<_>)| {
                let points = candidates(outside, inside).map(|(k, iou)| (threshold(k), iou)).collect();
                best.map(|(chosen, _)| ThresholdCurve { label: label.clone(), chosen, points })
            };
        classes.filter_map(of_class).collect()
    }
}

/// The probability of candidate k, from 1 on.
fn threshold(k: usize) -> f32 {
    THRESHOLDS[k - 1]
}

/// The logits of all candidates.
pub fn threshold_logits() -> [f64; CANDIDATES] {
    THRESHOLDS.map(|p| (f64::from(p) / (1.0 - f64::from(p))).ln())
}

/// Every candidate with its IoU; nothing where the class is nowhere.
fn candidates(outside: &[u64], inside: &[u64]) -> impl Iterator<Item = (usize, f64)> {
    let truth: u64 = inside.iter().sum();
    (1..=CANDIDATES).filter_map(move |k| {
        let hits: u64 = inside[k..].iter().sum();
        let union = truth + outside[k..].iter().sum::<u64>();
        (truth > 0).then(|| (k, hits as f64 / union as f64))
    })
}

fn best(outside: &[u64], inside: &[u64], least: f32) -> Option<(f32, f64)> {
    let off_centre = |k: usize| (threshold(k) - 0.5).abs();
    candidates(outside, inside)
        .filter(|(k, _)| threshold(*k) >= least)
        .max_by(|(a, x), (b, y)| x.total_cmp(y).then(off_centre(*b).total_cmp(&off_centre(*a))))
        .map(|(k, iou)| (threshold(k), iou))
}

#[cfg(test)]
mod tests {
    use shared::preprocess::Letterbox;

    use super::*;

    fn search(probabilities: [f32; 4], truth: Option<[u8; 4]>) -> Option<(f32, f64)> {
        search_from(0.0, probabilities, truth)
    }

    fn search_from(least: f32, probabilities: [f32; 4], truth: Option<[u8; 4]>) -> Option<(f32, f64)> {
        let sample = Sample {
            id: "a".into(),
            letterbox: Letterbox::new(2, 2, 2),
            image: vec![0; 4].into(),
            targets: vec![truth.map(|t| t.map(|v| v * 255).into())],
        };
        let mut search = ThresholdSearch::new(vec![least]);
        search.add(&sample, &probabilities.map(|p| (p / (1.0 - p)).ln()));
        search.best()[0]
    }

    #[test]
    fn the_best_candidate_separates_truth_from_the_rest() {
        let (threshold, iou) = search([0.82, 0.78, 0.3, 0.1], Some([1, 0, 0, 0])).unwrap();
        assert_eq!((threshold, iou), (0.8, 1.0));
        let (threshold, iou) = search([0.22, 0.18, 0.02, 0.01], Some([1, 1, 0, 0])).unwrap();
        assert_eq!((threshold, iou), (0.15, 1.0));
    }

    #[test]
    fn the_curve_holds_every_candidate_and_the_chosen_one() {
        let mut search = ThresholdSearch::new(vec![0.0; 2]);
        search.histograms[0][1][CANDIDATES] = 3;
        search.histograms[0][0][8] = 1;
        let curves = search.curves(&["a".into(), "b".into()]);
        // Nobody annotates b.
        assert_eq!(curves.len(), 1);
        assert_eq!((curves[0].label.as_str(), curves[0].chosen), ("a", 0.5));
        assert_eq!(curves[0].points.len(), CANDIDATES);
        assert_eq!((curves[0].points[0], curves[0].points[8].1), ((0.005, 0.75), 1.0));
    }

    #[test]
    fn ties_go_to_the_middle_and_exact_candidates_are_reached() {
        assert_eq!(search([0.9, 0.1, 0.1, 0.1], Some([1, 0, 0, 0])), Some((0.5, 1.0)));
        let (threshold, _) = search([0.95, 0.949, 0.1, 0.1], Some([1, 0, 0, 0])).unwrap();
        assert_eq!(threshold, 0.95);
    }

    #[test]
    fn what_is_found_at_small_probabilities_only_is_found() {
        assert_eq!(search([0.012, 0.009, 0.002, 0.001], Some([1, 0, 0, 0])), Some((0.01, 1.0)));
    }

    #[test]
    fn no_threshold_below_the_least_is_chosen() {
        let probabilities = [0.07, 0.06, 0.02, 0.3];
        assert_eq!(search(probabilities, Some([1, 1, 0, 1])), Some((0.05, 1.0)));
        assert_eq!(search_from(0.1, probabilities, Some([1, 1, 0, 1])), Some((0.3, 1.0 / 3.0)));
    }

    #[test]
    fn a_class_that_no_image_shows_has_none() {
        assert_eq!(search([0.9; 4], None), None);
        assert_eq!(search([0.9, 0.3, 0.1, 0.1], Some([0; 4])), None);
    }
}
