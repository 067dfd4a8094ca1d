//! Random walk of class activation over a grid, held back by edges.
//!
//! J. Ahn, S. Cho and S. Kwak, "Weakly Supervised Learning of Instance Segmentation with Inter-pixel Relations",
//! CVPR 2019, eq. 9 to 11; details follow `propagate_to_edge` of the released code.

use serde::{Deserialize, Serialize};

use super::paths::{Path, search_paths};

/// How the walk goes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WalkSpec {
    /// Exponent of affinities, at least 0: large ones make the walk timid.
    pub beta: f32,
    /// The walk makes 2^`exp_times` steps, at most 2^16.
    pub exp_times: u32,
    /// Pixels nearer than this are neighbours. With 0 or 1 there are none.
    pub radius: usize,
}

impl Default for WalkSpec {
    fn default() -> Self {
        Self { beta: 5.0, exp_times: 3, radius: 3 }
    }
}

impl WalkSpec {
    /// The first field that is out of its range, and what it should be.
    pub fn fault(&self) -> Option<(&'static str, &'static str)> {
        if !(self.beta.is_finite() && self.beta >= 0.0) {
            Some(("beta", "must be finite and at least 0"))
        } else if self.exp_times > 16 {
            Some(("exp_times", "must be at most 16"))
        } else if self.radius > 64 {
            Some(("radius", "must be at most 64"))
        } else {
            None
        }
    }
}

/// Spreads activation over the grid; `cams` and the result are `[classes × rows × cols]`.
///
/// `cams` are class activation maps, each with maximum 1 as a rule; `edge` is `[rows × cols]` in 0..=1 (values
/// beyond are clamped). The result is x·T^(2^exp_times) with x = cam · (1 − edge), so for non-negative maps it lies
/// between 0 and the greatest x of its class.
///
/// Two neighbours have affinity (1 − greatest edge on their path)^beta, a pixel has 1 to itself, and T is the
/// affinity matrix with each *column* divided by its sum. A map stands on the left of T, as in the released code: a
/// step gives each pixel the mean of its neighbours by affinity. That keeps constant maps, and the sum of a map
/// weighted by column sums, but not the plain sum.
///
/// The released code squares the dense matrix `exp_times` times; this applies the sparse matrix 2^`exp_times` times,
/// which is the same product in another order. It also pads edges with 1, which leaves no affinity to the padding:
/// here there is none. Sums are in f64, or hundreds of steps would drift.
///
/// # Panics
/// If `edge` does not hold `rows × cols` values, or `cams` no multiple of them.
pub fn propagate(cams: &[f32], edge: &[f32], rows: usize, cols: usize, spec: &WalkSpec) -> Vec<f32> {
    let n = rows * cols;
    assert_eq!(edge.len(), n, "edges of {rows} × {cols} need as many values");
    if n == 0 {
        assert!(cams.is_empty(), "maps of {rows} × {cols} hold no values");
        return Vec::new();
    }
    assert!(cams.len().is_multiple_of(n), "each map of {rows} × {cols} needs as many values");

    let open: Vec<f64> = edge.iter().map(|&e| 1.0 - f64::from(e).clamp(0.0, 1.0)).collect();
    let walk = Walk::new(&open, rows, cols, spec);
    let mut result = Vec::with_capacity(cams.len());
    let mut next = vec![0.0; n];
    for cam in cams.chunks_exact(n) {
        let mut map: Vec<f64> = cam.iter().zip(&open).map(|(&v, o)| f64::from(v) * o).collect();
        for _ in 0..1_u64.checked_shl(spec.exp_times).unwrap_or(u64::MAX) {
            walk.step(&map, &mut next);
            std::mem::swap(&mut map, &mut next);
        }
        result.extend(map.iter().map(|&v| v as f32));
    }
    result
}

/// The transition matrix, by direction.
struct Walk {
    rows: usize,
    cols: usize,
    /// For each way to a neighbour, the affinity of all pixels that have that neighbour, in reading order.
    ways: Vec<((usize, isize), Vec<f64>)>,
    /// 1 / the sum of each column of the affinity matrix.
    scale: Vec<f64>,
}

impl Walk {
    /// `open` is 1 − edge.
    fn new(open: &[f64], rows: usize, cols: usize, spec: &WalkSpec) -> Self {
        // The power rises with its base, so the power of the least opening is the least of the powers.
        let powers: Vec<f64> = open.iter().map(|o| o.powf(f64::from(spec.beta))).collect();
        let mut walk = Self { rows, cols, ways: Vec::new(), scale: Vec::new() };
        for Path { to: (dy, dx), cells } in search_paths(spec.radius) {
            let way = (dy as usize, dx as isize);
            let mut affinity = Vec::new();
            for (from, _, len) in walk.lines(way) {
                let start = affinity.len();
                affinity.resize(start + len, f64::INFINITY);
                for &(y, x) in &cells {
                    let cell = (from + y as usize * cols).wrapping_add_signed(x as isize);
                    for (least, power) in affinity[start..].iter_mut().zip(&powers[cell..]) {
                        *least = least.min(*power);
                    }
                }
            }
            walk.ways.push((way, affinity));
        }
        // A sum over a column is a step of the bare affinities from a map of ones.
        walk.scale = vec![1.0; rows * cols];
        let mut sums = vec![0.0; rows * cols];
        walk.step(&vec![1.0; rows * cols], &mut sums);
        walk.scale = sums.into_iter().map(|sum| 1.0 / sum).collect();
        walk
    }

    /// Stretches of pixels whose neighbour in this direction lies on the grid: (first pixel, its neighbour, length).
    fn lines(&self, (dy, dx): (usize, isize)) -> impl Iterator<Item = (usize, usize, usize)> + use<> {
        let (cols, aside) = (self.cols, dx.unsigned_abs());
        let (skip, skip_to) = if dx < 0 { (aside, 0) } else { (0, aside) };
        let rows = if aside < cols { self.rows.saturating_sub(dy) } else { 0 };
        (0..rows).map(move |row| (row * cols + skip, (row + dy) * cols + skip_to, cols - aside))
    }

    /// `next` = `map` · T.
    fn step(&self, map: &[f64], next: &mut [f64]) {
        next.copy_from_slice(map);
        for (way, affinity) in &self.ways {
            let mut rest = affinity.as_slice();
            for (from, to, len) in self.lines(*way) {
                let (line, after) = rest.split_at(len);
                rest = after;
                // There and back: affinity is symmetric.
                add_product(&mut next[to..to + len], line, &map[from..from + len]);
                add_product(&mut next[from..from + len], line, &map[to..to + len]);
            }
        }
        for (value, scale) in next.iter_mut().zip(&self.scale) {
            *value *= scale;
        }
    }
}

/// `sum` += `a` · `b`, value by value.
fn add_product(sum: &mut [f64], a: &[f64], b: &[f64]) {
    for ((sum, a), b) in sum.iter_mut().zip(a).zip(b) {
        *sum += a * b;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Deserialize)]
    struct Fixture {
        rows: usize,
        cols: usize,
        classes: usize,
        cams: Vec<f32>,
        edge: Vec<f32>,
        cases: Vec<Case>,
    }

    #[derive(Deserialize)]
    struct Case {
        spec: WalkSpec,
        result: Vec<f32>,
    }

    #[test]
    fn it_is_the_dense_matrix_squared() {
        let f: Fixture = serde_json::from_str(include_str!("../../tests/fixtures/walk.json")).unwrap();
        assert_eq!((f.cams.len(), f.cases.len()), (f.classes * f.rows * f.cols, 4));
        assert_eq!(f.cases[0].spec, WalkSpec::default());
        for case in &f.cases {
            let ours = propagate(&f.cams, &f.edge, f.rows, f.cols, &case.spec);
            assert_eq!(ours.len(), case.result.len());
            for (a, b) in ours.iter().zip(&case.result) {
                assert!((a - b).abs() < 1e-5, "{a} {b} {:?}", case.spec);
            }
        }
    }

    #[test]
    fn a_wall_stops_the_walk() {
        let (rows, cols) = (9, 11);
        let edge: Vec<f32> = (0..rows * cols).map(|i| f32::from(u8::from(i % cols == 5))).collect();
        let mut cam = vec![0.0; rows * cols];
        cam[4 * cols + 2] = 1.0;
        for radius in [2, 3, 5] {
            let spec = WalkSpec { radius, exp_times: 6, ..WalkSpec::default() };
            for (i, v) in propagate(&cam, &edge, rows, cols, &spec).into_iter().enumerate() {
                assert_eq!(v > 0.0, i % cols < 5, "{i}: {v}");
            }
        }
    }

    #[test]
    fn without_neighbours_only_edges_count() {
        let (cam, edge) = ([1.0, 0.5, 0.2, 0.8], [0.0, 0.5, 1.0, 7.0]);
        for (radius, size) in [(0, [2, 2]), (1, [2, 2]), (5, [1, 4])] {
            let spec = WalkSpec { radius, exp_times: u32::from(radius != 5), ..WalkSpec::default() };
            let out = propagate(&cam, &edge, size[0], size[1], &spec);
            assert_eq!(out.len(), 4);
            if radius < 2 {
                assert_eq!(out, [1.0, 0.25, 0.0, 0.0]);
            }
        }
        assert!(propagate(&[], &[], 0, 7, &WalkSpec::default()).is_empty());
        assert!(propagate(&[], &edge, 2, 2, &WalkSpec::default()).is_empty());
    }

    #[test]
    fn faults_name_the_field() {
        assert_eq!(WalkSpec::default().fault(), None);
        let fault = |spec: WalkSpec| spec.fault().map(|(field, _)| field);
        assert_eq!(fault(WalkSpec { beta: f32::NAN, ..WalkSpec::default() }), Some("beta"));
        assert_eq!(fault(WalkSpec { exp_times: 17, ..WalkSpec::default() }), Some("exp_times"));
        assert_eq!(fault(WalkSpec { radius: 65, ..WalkSpec::default() }), Some("radius"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn constants_and_the_weighted_sum_stay(
            open in prop::collection::vec(0f64..=1.0, 6 * 8),
            map in prop::collection::vec(0f64..=1.0, 6 * 8),
            radius in 1usize..9,
        ) {
            let walk = Walk::new(&open, 6, 8, &WalkSpec { radius, ..WalkSpec::default() });
            let mut next = vec![0.0; 48];
            walk.step(&vec![0.7; 48], &mut next);
            prop_assert!(next.iter().all(|v| (v - 0.7).abs() < 1e-12));
            walk.step(&map, &mut next);
            let mass = |map: &[f64]| map.iter().zip(&walk.scale).map(|(v, s)| v / s).sum::<f64>();
            prop_assert!((mass(&next) - mass(&map)).abs() < 1e-12 * mass(&map).max(1.0));
            let most = map.iter().copied().fold(0.0, f64::max);
            prop_assert!(next.iter().all(|&v| (0.0..=most + 1e-12).contains(&v)));
        }
    }
}
