use serde::{Deserialize, Serialize};

/// Bins of the reliability diagram and of the expected calibration error, as in Guo et al. 2017.
pub const CALIBRATION_BINS: usize = 15;

/// How far predicted probabilities are what they say.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// Expected calibration error (Guo et al. 2017, "On calibration of modern neural networks", eq. 3), 0..1.
    pub ece: f64,
    /// The reliability diagram: [`CALIBRATION_BINS`] bins of one width over 0..1.
    pub bins: Vec<ReliabilityBin>,
}

/// Predictions of one range of probabilities.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReliabilityBin {
    /// The bin holds probabilities above this; the first bin 0, too.
    pub low: f64,
    /// … and up to this.
    pub high: f64,
    /// Predictions in it.
    pub count: usize,
    /// Their mean probability, 0..1; none in an empty bin.
    pub confidence: Option<f64>,
    /// Share of them whose label is positive, 0..1.
    pub observed: Option<f64>,
}

/// Area under the receiver operating characteristic of (score, label) pairs, 0..1: the Mann–Whitney
/// probability that a positive scores above a negative, ties counting ½. None if a label is missing altogether
/// or a score is no finite number.
pub fn auroc(pairs: &[(f64, bool)]) -> Option<f64> {
    if pairs.iter().any(|(score, _)| !score.is_finite()) {
        return None;
    }
    let mut sorted = pairs.to_vec();
    sorted.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    let (mut below, mut wins) = (0_u64, 0.0_f64);
    // Partial equality, so that 0 and −0 are a tie.
    for tied in sorted.chunk_by(|(a, _), (b, _)| a == b) {
        let positive = tied.iter().filter(|(_, label)| *label).count() as u64;
        let negative = tied.len() as u64 - positive;
        wins += positive as f64 * (below as f64 + negative as f64 / 2.0);
        below += negative;
    }
    let positives = pairs.len() as u64 - below;
    if positives == 0 || below == 0 { None } else { Some(wins / (positives as f64 * below as f64)) }
}

/// Reliability diagram and expected calibration error of (probability, label) pairs. None without pairs or if a
/// probability lies outside 0..1.
pub fn calibration(pairs: &[(f64, bool)]) -> Option<Calibration> {
    if pairs.is_empty() || pairs.iter().any(|(p, _)| !(0.0..=1.0).contains(p)) {
        return None;
    }
    let mut sums = CalibrationSums::default();
    pairs.iter().for_each(|&(p, label)| sums.add(p, label));
    sums.finish()
}

/// What a reliability diagram is computed from: bin by bin, so that predictions need not be kept.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct CalibrationSums {
    /// Predictions, the sum of their probabilities, and how many of them are positive.
    bins: [(usize, f64, usize); CALIBRATION_BINS],
}

impl CalibrationSums {
    /// Adds a prediction; `p` lies in 0..1.
    pub(super) fn add(&mut self, p: f64, label: bool) {
        // Bin m holds (m/15, (m + 1)/15].
        let bin = (p * CALIBRATION_BINS as f64).ceil() as usize;
        let (count, confidence, positive) = &mut self.bins[bin.saturating_sub(1).min(CALIBRATION_BINS - 1)];
        *count += 1;
        *confidence += p;
        *positive += usize::from(label);
    }

    /// The diagram; none without predictions.
    pub(super) fn finish(&self) -> Option<Calibration> {
        let total: usize = self.bins.iter().map(|(count, ..)| count).sum();
        if total == 0 {
            return None;
        }
        let bin = |(m, &(count, confidence, positive)): (usize, &(usize, f64, usize))| {
            let mean = |sum: f64| (count > 0).then(|| sum / count as f64);
            let edge = |m: usize| m as f64 / CALIBRATION_BINS as f64;
            let (confidence, observed) = (mean(confidence), mean(positive as f64));
            ReliabilityBin { low: edge(m), high: edge(m + 1), count, confidence, observed }
        };
        let bins: Vec<ReliabilityBin> = self.bins.iter().enumerate().map(bin).collect();
        let gap = |bin: &ReliabilityBin| Some(bin.count as f64 * (bin.confidence? - bin.observed?).abs());
        let ece = bins.iter().filter_map(gap).sum::<f64>() / total as f64;
        Some(Calibration { ece, bins })
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    /// Made by `tests/fixtures/make_evaluate_fixtures.py`.
    #[derive(Deserialize)]
    struct Case {
        name: String,
        pairs: Vec<(f64, bool)>,
        auroc: Option<f64>,
        ece: f64,
        /// Count, mean confidence, observed share.
        bins: Vec<(usize, Option<f64>, Option<f64>)>,
    }

    #[test]
    fn figures_equal_those_of_numpy() {
        let near = |a: Option<f64>, b: Option<f64>| match (a, b) {
            (Some(a), Some(b)) => (a - b).abs() < 1e-12,
            (a, b) => a == b,
        };
        let cases: Vec<Case> =
            serde_json::from_str(include_str!("../../tests/fixtures/ranking.json")).unwrap();
        assert!(cases.len() >= 4);
        for case in cases {
            assert!(near(auroc(&case.pairs), case.auroc), "{}: {:?}", case.name, auroc(&case.pairs));
            let found = calibration(&case.pairs).unwrap();
            assert!((found.ece - case.ece).abs() < 1e-12, "{}: {}", case.name, found.ece);
            assert_eq!(found.bins.len(), case.bins.len());
            for (bin, (count, confidence, observed)) in found.bins.iter().zip(case.bins) {
                assert_eq!(bin.count, count, "{}: {bin:?}", case.name);
                assert!(near(bin.confidence, confidence) && near(bin.observed, observed), "{bin:?}");
            }
        }
    }

    #[test]
    fn small_cases_by_hand() {
        assert_eq!(auroc(&[(0.1, false), (0.9, true)]), Some(1.0));
        assert_eq!(auroc(&[(0.9, false), (0.1, true)]), Some(0.0));
        assert_eq!(auroc(&[(0.5, false), (0.5, true)]), Some(0.5));
        assert_eq!(auroc(&[(0.0, false), (-0.0, true)]), Some(0.5));
        assert_eq!(auroc(&[(0.5, true)]), None);
        assert_eq!(auroc(&[]), None);
        assert_eq!(auroc(&[(f64::NAN, true), (0.5, false)]), None);
        let ends = calibration(&[(0.0, false), (1.0, true)]).unwrap();
        assert_eq!((ends.ece, ends.bins[0].count, ends.bins[14].count), (0.0, 1, 1));
        assert_eq!(calibration(&[(1.5, true)]), None);
        assert_eq!(calibration(&[]), None);
    }
}
