use super::{Filter, Pair};

/// The exact Gaussian filter, O(n²): Σⱼ exp(−|fᵢ − fⱼ|²/2)·vⱼ, what the lattice approximates.
pub(super) struct BruteForce {
    /// `[points × points]`.
    kernel: Vec<f32>,
    points: usize,
}

impl BruteForce {
    /// From features `[points × dims]`, each already divided by its standard deviation.
    pub(super) fn new(features: &[f32], dims: usize) -> Self {
        let points = features.len() / dims;
        let mut kernel = Vec::with_capacity(points * points);
        for a in features.chunks_exact(dims) {
            kernel.extend(features.chunks_exact(dims).map(|b| {
                let squared: f32 = a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum();
                (-0.5 * squared).exp()
            }));
        }
        Self { kernel, points }
    }
}

impl Filter for BruteForce {
    fn filter(&mut self, values: &[Pair], out: &mut [Pair]) {
        for (line, out) in self.kernel.chunks_exact(self.points).zip(out) {
            let mut sum = [0.0_f64; 2];
            for (k, value) in line.iter().zip(values) {
                sum[0] += f64::from(k * value[0]);
                sum[1] += f64::from(k * value[1]);
            }
            *out = sum.map(|s| s as f32);
        }
    }
}
