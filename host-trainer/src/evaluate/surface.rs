use serde::{Deserialize, Serialize};
use shared::mask::Mask;

/// Tolerance of the normalized surface distance as a share of the side of the model's grid.
pub const SURFACE_TOLERANCE: f64 = 0.02;

/// Distance where there is nothing to be distant from.
const NOWHERE: u32 = u32::MAX;

/// Boundary pixels of an expert mask and of a predicted one, and how many of each lie near the other's.
///
/// A boundary pixel is a foreground pixel with at least one of its four neighbours in the background or
/// outside the grid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SurfaceCounts {
    /// In the expert's boundary.
    pub truth: u64,
    /// Of these, within the tolerance of the predicted boundary.
    pub truth_near: u64,
    /// In the predicted boundary.
    pub predicted: u64,
    /// Of these, within the tolerance of the expert's boundary.
    pub predicted_near: u64,
}

/// The tolerance on a grid of this side in pixels: [`SURFACE_TOLERANCE`] of it, whole pixels, at least 1.
/// 256 gives 5, 320 gives 6.
pub fn surface_tolerance(side: usize) -> f64 {
    (SURFACE_TOLERANCE * side as f64).round().max(1.0)
}

impl SurfaceCounts {
    /// Of two masks of one size, `tolerance` in pixels between pixel centres (Euclidean, inclusive).
    ///
    /// # Panics
    /// If the sizes differ.
    pub fn of(truth: &Mask, predicted: &Mask, tolerance: f64) -> Self {
        let (rows, cols) = (truth.rows(), truth.cols());
        assert_eq!((rows, cols), (predicted.rows(), predicted.cols()), "masks of different size");
        let (truth, predicted) = (boundary(truth), boundary(predicted));
        let near = |points: &[bool], other: &[bool]| {
            let distances = squared_distances(rows, cols, other);
            let limit = tolerance * tolerance;
            let within = |(&point, &d): (&bool, &u32)| point && d != NOWHERE && f64::from(d) <= limit;
            points.iter().zip(&distances).filter(|&pair| within(pair)).count() as u64
        };
        let count = |points: &[bool]| points.iter().filter(|&&point| point).count() as u64;
        Self {
            truth: count(&truth),
            truth_near: near(&truth, &predicted),
            predicted: count(&predicted),
            predicted_near: near(&predicted, &truth),
        }
    }

    /// Normalized surface distance, also called surface Dice at tolerance (Nikolov et al. 2021, J Med Internet
    /// Res 23:e26151): the share of both boundaries that lies within the tolerance of the other, 0..1. None if
    /// both masks are empty, 0 if one is.
    pub fn nsd(&self) -> Option<f64> {
        let all = self.truth + self.predicted;
        if all == 0 { None } else { Some((self.truth_near + self.predicted_near) as f64 / all as f64) }
    }
}

fn boundary(mask: &Mask) -> Vec<bool> {
    let (rows, cols, data) = (mask.rows(), mask.cols(), mask.data());
    let inside = |r: usize, c: usize| {
        let at = r * cols + c;
        r > 0
            && r + 1 < rows
            && c > 0
            && c + 1 < cols
            && [at - cols, at + cols, at - 1, at + 1].iter().all(|&neighbour| data[neighbour] != 0)
    };
    let pixels = (0..rows).flat_map(|r| (0..cols).map(move |c| (r, c)));
    pixels.map(|(r, c)| data[r * cols + c] != 0 && !inside(r, c)).collect()
}

/// Squared Euclidean distance of every pixel to the nearest point, exact and in linear time (Felzenszwalb &
/// Huttenlocher 2012, Theory of Computing 8:415): along columns by two scans, then along each row as the lower
/// envelope of the parabolas that the columns give.
fn squared_distances(rows: usize, cols: usize, points: &[bool]) -> Vec<u32> {
    let mut distances = vec![NOWHERE; rows * cols];
    for c in 0..cols {
        let mut scan = |order: &mut dyn Iterator<Item = usize>| {
            let mut steps = NOWHERE;
            for r in order {
                let at = r * cols + c;
                steps = if points[at] { 0 } else { steps.saturating_add(1) };
                distances[at] = distances[at].min(steps);
            }
        };
        scan(&mut (0..rows));
        scan(&mut (0..rows).rev());
    }
    let mut envelope = Envelope::default();
    for row in distances.chunks_exact_mut(cols.max(1)) {
        envelope.lower(row);
    }
    distances
}

/// Parabolas that are lowest somewhere, from left to right.
#[derive(Default)]
struct Envelope {
    /// Column of the vertex, and its height.
    vertices: Vec<(f64, f64)>,
    /// Where each begins to be the lowest.
    starts: Vec<f64>,
}

impl Envelope {
    /// Replaces distances along columns by squared distances in the plane.
    fn lower(&mut self, row: &mut [u32]) {
        self.vertices.clear();
        self.starts.clear();
        for (c, &steps) in row.iter().enumerate().filter(|(_, steps)| **steps != NOWHERE) {
            let (at, height) = (c as f64, f64::from(steps) * f64::from(steps));
            let mut start = f64::NEG_INFINITY;
            while let (Some(&(v, h)), Some(&from)) = (self.vertices.last(), self.starts.last()) {
                start = ((height + at * at) - (h + v * v)) / (2.0 * (at - v));
                if start > from {
                    break;
                }
                self.vertices.pop();
                self.starts.pop();
                start = f64::NEG_INFINITY;
            }
            self.vertices.push((at, height));
            self.starts.push(start);
        }
        let mut k = 0;
        for (c, value) in row.iter_mut().enumerate() {
            while self.starts.get(k + 1).is_some_and(|&start| start < c as f64) {
                k += 1;
            }
            *value = match self.vertices.get(k) {
                Some(&(v, h)) => ((c as f64 - v).powi(2) + h) as u32,
                None => NOWHERE,
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by `tests/fixtures/make_evaluate_fixtures.py`, every distance by brute force.
    #[derive(Deserialize)]
    struct Case {
        name: String,
        size: [usize; 2],
        truth: String,
        predicted: String,
        squared_distances_to_truth: Vec<Option<u32>>,
        tolerances: Vec<Expected>,
    }

    #[derive(Deserialize)]
    struct Expected {
        tolerance: f64,
        counts: SurfaceCounts,
        nsd: Option<f64>,
    }

    fn mask(size: [usize; 2], text: &str) -> Mask {
        Mask::from_data(size[0], size[1], text.bytes().map(|b| b - b'0').collect())
    }

    #[test]
    fn distances_and_shares_equal_those_of_brute_force() {
        let cases: Vec<Case> =
            serde_json::from_str(include_str!("../../tests/fixtures/surface.json")).unwrap();
        assert!(cases.len() >= 8);
        for case in cases {
            let (truth, predicted) = (mask(case.size, &case.truth), mask(case.size, &case.predicted));
            let distances = squared_distances(case.size[0], case.size[1], &boundary(&truth));
            let expected: Vec<u32> =
                case.squared_distances_to_truth.iter().map(|d| d.unwrap_or(NOWHERE)).collect();
            assert_eq!(distances, expected, "{}", case.name);
            for expected in case.tolerances {
                let counts = SurfaceCounts::of(&truth, &predicted, expected.tolerance);
                assert_eq!(counts, expected.counts, "{} within {}", case.name, expected.tolerance);
                match (counts.nsd(), expected.nsd) {
                    (Some(found), Some(nsd)) => assert!((found - nsd).abs() < 1e-12, "{}", case.name),
                    (found, nsd) => assert_eq!(found, nsd, "{}", case.name),
                }
            }
        }
    }

    #[test]
    fn a_shift_within_the_tolerance_is_perfect_and_emptiness_is_told_apart() {
        let square = |at: usize| {
            Mask::from_fn(40, 40, move |r, c| (10..20).contains(&r) && (at..at + 10).contains(&c))
        };
        assert_eq!(SurfaceCounts::of(&square(10), &square(12), 2.0).nsd(), Some(1.0));
        assert!(SurfaceCounts::of(&square(10), &square(13), 2.0).nsd().unwrap() < 1.0);
        let empty = Mask::empty(40, 40);
        assert_eq!(SurfaceCounts::of(&empty, &empty, 2.0).nsd(), None);
        assert_eq!(SurfaceCounts::of(&square(10), &empty, 2.0).nsd(), Some(0.0));
        assert_eq!(SurfaceCounts::of(&empty, &square(10), 2.0).nsd(), Some(0.0));
    }

    #[test]
    fn the_tolerance_follows_the_grid() {
        assert_eq!([16, 256, 320].map(surface_tolerance), [1.0, 5.0, 6.0]);
    }
}
