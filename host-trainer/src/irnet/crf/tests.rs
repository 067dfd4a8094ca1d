//! Against pydensecrf and against exact filters.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Deserialize;

use super::brute_force::BruteForce;
use super::*;

#[derive(Deserialize)]
struct Case {
    name: String,
    rows: usize,
    cols: usize,
    count: usize,
    spec: CrfSpec,
    image: Vec<u8>,
    labels: String,
    /// pydensecrf with r = g = b, a lattice in five dimensions: ten-thousandths of all labels but the first.
    colour: Vec<u16>,
    /// pydensecrf with our features.
    grey: Vec<u16>,
}

impl Case {
    fn all() -> Vec<Self> {
        let cases: Vec<Self> =
            serde_json::from_str(include_str!("../../../tests/fixtures/crf.json")).unwrap();
        assert_eq!(cases.len(), 4);
        assert_eq!(cases[0].spec, CrfSpec::default());
        cases
    }

    fn labels(&self) -> Vec<u8> {
        self.labels.bytes().map(|digit| digit - b'0').collect()
    }

    fn ours(&self) -> Vec<f32> {
        probabilities(&self.image, self.rows, self.cols, &self.labels(), self.count, &self.spec)
    }

    fn exact(&self) -> Vec<f32> {
        exact(&self.image, self.cols, &self.labels(), self.count, &self.spec)
    }

    /// With the first label, from the others.
    fn whole(&self, others: &[u16]) -> Vec<f32> {
        let n = self.rows * self.cols;
        let others: Vec<f32> = others.iter().map(|&v| f32::from(v) / 1e4).collect();
        let first = (0..n).map(|i| 1.0 - others.iter().skip(i).step_by(n).sum::<f32>());
        first.chain(others.iter().copied()).collect()
    }
}

fn exact(image: &[u8], cols: usize, labels: &[u8], count: usize, spec: &CrfSpec) -> Vec<f32> {
    let mut kernels = kernels(image, cols, spec, BruteForce::new);
    infer(&unary(labels, count, spec.gt_prob), count, &mut kernels, spec.iterations)
}

struct Difference {
    /// Share of pixels with the same likeliest label.
    agree: f32,
    mean: f32,
    worst: f32,
}

fn difference(a: &[f32], b: &[f32], pixels: usize) -> Difference {
    assert_eq!(a.len(), b.len());
    let same = likeliest(a, pixels).iter().zip(likeliest(b, pixels)).filter(|(a, b)| **a == *b).count();
    let each = a.iter().zip(b).map(|(a, b)| (a - b).abs());
    Difference {
        agree: same as f32 / pixels as f32,
        mean: each.clone().sum::<f32>() / a.len() as f32,
        worst: each.fold(0.0, f32::max),
    }
}

#[test]
fn with_the_same_features_it_is_pydensecrf() {
    for case in Case::all() {
        let d = difference(&case.ours(), &case.whole(&case.grey), case.rows * case.cols);
        assert!(d.agree > 0.998 && d.worst < 1e-3, "{}: {} {} {}", case.name, d.agree, d.mean, d.worst);
    }
}

#[test]
fn with_colour_features_pydensecrf_is_near_and_so_is_the_exact_answer() {
    for case in Case::all() {
        let n = case.rows * case.cols;
        let (ours, colour, exact) = (case.ours(), case.whole(&case.colour), case.exact());
        let d = difference(&ours, &colour, n);
        let (we, they) = (difference(&ours, &exact, n), difference(&colour, &exact, n));
        assert!(d.agree > 0.98 && d.mean < 0.02, "{}: {} {}", case.name, d.agree, d.mean);
        for near in [we, they] {
            assert!(near.agree > 0.98 && near.mean < 0.02, "{}: {} {}", case.name, near.agree, near.mean);
        }
    }
}

/// Two regions with noise, and labels with a shifted border and specks.
fn scene(seed: u64, side: usize) -> (Vec<u8>, Vec<u8>) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let slope: i32 = rng.random_range(-3..4);
    let inside = |i: usize, shift: i32| {
        let (y, x) = ((i / side) as i32, (i % side) as i32);
        8 * x + slope * (y - side as i32 / 2) > 4 * side as i32 + 8 * shift
    };
    (0..side * side)
        .map(|i| {
            let grey = if inside(i, 0) { 130 } else { 90 } + rng.random_range(-12..=12);
            let label = u8::from(inside(i, 2) != rng.random_bool(0.08));
            (grey as u8, label)
        })
        .unzip()
}

#[test]
fn the_lattice_gives_the_labels_of_exact_inference() {
    let local = CrfSpec { bilateral_sxy: 8.0, bilateral_srgb: 12.0, ..CrfSpec::default() };
    // Weak ties leave probabilities away from 0 and 1, where errors of the filter show.
    let soft = CrfSpec { gt_prob: 0.6, gaussian_compat: 0.5, bilateral_compat: 1.0, ..local };
    for seed in 0..6 {
        for spec in [CrfSpec::default(), local, soft] {
            let (image, labels) = scene(seed, 24);
            let ours = probabilities(&image, 24, 24, &labels, 2, &spec);
            let d = difference(&ours, &exact(&image, 24, &labels, 2, &spec), 24 * 24);
            assert!(d.agree >= 0.98 && d.mean < 0.01, "{seed}: {} {} {}", d.agree, d.mean, d.worst);
        }
    }
}

#[test]
fn labels_move_to_the_border_in_the_picture_and_specks_go() {
    let (side, border) = (40, 23);
    let image: Vec<u8> = (0..side * side).map(|i| if i % side < border { 80 } else { 160 }).collect();
    let mut labels: Vec<u8> = (0..side * side).map(|i| u8::from(i % side >= border - 4)).collect();
    labels[5 * side + 5] = 1;
    let refined = refine(&image, side, side, &labels, 2, &CrfSpec::default());
    let truth: Vec<u8> = (0..side * side).map(|i| u8::from(i % side >= border)).collect();
    assert_eq!(refined, truth);
}

#[test]
fn weights_of_zero_and_no_iterations_leave_labels_as_they_are() {
    let (image, labels) = scene(1, 16);
    let unweighted = CrfSpec { gaussian_compat: 0.0, bilateral_compat: 0.0, ..CrfSpec::default() };
    for spec in [unweighted, CrfSpec { iterations: 0, ..CrfSpec::default() }] {
        let p = probabilities(&image, 16, 16, &labels, 3, &spec);
        assert_eq!(refine(&image, 16, 16, &labels, 3, &spec), labels);
        for (i, &label) in labels.iter().enumerate() {
            assert!((p[usize::from(label) * 256 + i] - 0.7).abs() < 1e-6);
            assert!((p[512 + i] - 0.15).abs() < 1e-6);
        }
    }
}

#[test]
fn odd_sizes_and_label_counts_pass() {
    let spec = CrfSpec::default();
    assert!(refine(&[], 0, 4, &[], 2, &spec).is_empty());
    assert_eq!(refine(&[9], 1, 1, &[1], 2, &spec), [1]);
    assert_eq!(probabilities(&[9, 200, 3], 1, 3, &[0; 3], 1, &spec), [1.0; 3]);
    let extreme =
        CrfSpec { gaussian_sxy: 0.05, bilateral_sxy: 1e30, bilateral_srgb: 0.05, ..CrfSpec::default() };
    assert_eq!(extreme.fault(), None);
    let labels: Vec<u8> = (0..35).map(|i| i % 5).collect();
    let image: Vec<u8> = (0..35).map(|i| i * 7).collect();
    let p = probabilities(&image, 5, 7, &labels, 5, &extreme);
    assert!(p.len() == 175 && p.iter().all(|v| v.is_finite()));
}
