/// Values of two labels at one point: filtering two at once costs little more than one.
pub(super) type Pair = [f32; 2];

/// A Gaussian filter over fixed points.
pub(super) trait Filter {
    /// `outᵢ` = Σⱼ k(i, j)·`valuesⱼ`, up to a factor that is the same everywhere; a value a point.
    fn filter(&mut self, values: &[Pair], out: &mut [Pair]);
}

/// A pairwise term of the CRF: a filter, normalised on both sides, with a Potts weight.
pub(super) struct Kernel<F> {
    filter: F,
    /// 1 / √(Σⱼ k(i, j)) for every point.
    norm: Vec<f32>,
    weight: f32,
    input: Vec<Pair>,
    output: Vec<Pair>,
}

impl<F: Filter> Kernel<F> {
    /// From a filter over `points` points; two different labels cost `weight` times the normalised kernel.
    pub(super) fn new(mut filter: F, points: usize, weight: f32) -> Self {
        let (input, mut output) = (vec![[1.0; 2]; points], vec![[0.0; 2]; points]);
        filter.filter(&input, &mut output);
        let norm = output.iter().map(|sum| 1.0 / (sum[0] + 1e-20).sqrt()).collect();
        Self { filter, norm, weight, input, output }
    }

    /// Adds weight · norm · K · (norm · q): what agreement with others is worth to each label.
    fn add_messages(&mut self, q: &[Pair], scores: &mut [Pair]) {
        for ((input, q), norm) in self.input.iter_mut().zip(q).zip(&self.norm) {
            *input = q.map(|v| v * norm);
        }
        self.filter.filter(&self.input, &mut self.output);
        for ((score, message), norm) in scores.iter_mut().zip(&self.output).zip(&self.norm) {
            score[0] += self.weight * norm * message[0];
            score[1] += self.weight * norm * message[1];
        }
    }
}

/// Mean-field inference with Potts compatibility (Krähenbühl & Koltun 2011, algorithm 1).
///
/// `unary` is log-probabilities up to a constant at each point, `[count × points]`; so is the result, as
/// probabilities. Every update takes all labels of all points from the last one.
pub(super) fn infer<F: Filter>(
    unary: &[f32],
    count: usize,
    kernels: &mut [Kernel<F>],
    iterations: usize,
) -> Vec<f32> {
    let points = unary.len() / count;
    let unary = pairs(unary, count, points);
    let mut q = unary.clone();
    softmax(&mut q, count, points);
    let mut scores = unary.clone();
    for _ in 0..iterations {
        scores.copy_from_slice(&unary);
        for (q, scores) in q.chunks_exact(points).zip(scores.chunks_exact_mut(points)) {
            for kernel in kernels.iter_mut() {
                kernel.add_messages(q, scores);
            }
        }
        softmax(&mut scores, count, points);
        std::mem::swap(&mut q, &mut scores);
    }
    (0..count).flat_map(|label| q[label / 2 * points..][..points].iter().map(move |v| v[label % 2])).collect()
}

/// `[labels × points]` to `[labels / 2, rounded up][points]` pairs; a label too many is 0.
fn pairs(planes: &[f32], count: usize, points: usize) -> Vec<Pair> {
    let mut out = vec![[0.0; 2]; count.div_ceil(2) * points];
    for (label, plane) in planes.chunks_exact(points).enumerate() {
        for (pair, v) in out[label / 2 * points..].iter_mut().zip(plane) {
            pair[label % 2] = *v;
        }
    }
    out
}

/// Scores to probabilities at every point, in place.
fn softmax(scores: &mut [Pair], count: usize, points: usize) {
    if count == 2 {
        for pair in scores {
            let first = 1.0 / (1.0 + (pair[1] - pair[0]).exp());
            *pair = [first, 1.0 - first];
        }
        return;
    }
    for point in 0..points {
        let at = |label: usize| (label / 2 * points + point, label % 2);
        let most = (0..count).map(|label| scores[at(label).0][at(label).1]).fold(f32::NEG_INFINITY, f32::max);
        let mut sum = 0.0;
        for (block, lane) in (0..count).map(at) {
            let v = &mut scores[block][lane];
            *v = (*v - most).exp();
            sum += *v;
        }
        for (block, lane) in (0..count).map(at) {
            scores[block][lane] /= sum;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn softmax_of_any_number_of_labels_adds_to_one() {
        for count in 1..=5 {
            let points = 3;
            let planes: Vec<f32> = (0..count * points).map(|i| (i * 7 % 5) as f32 * 30.0 - 50.0).collect();
            let mut q = pairs(&planes, count, points);
            softmax(&mut q, count, points);
            for point in 0..points {
                let all: Vec<f32> = (0..count).map(|l| q[l / 2 * points + point][l % 2]).collect();
                assert!((all.iter().sum::<f32>() - 1.0).abs() < 1e-6, "{all:?}");
                assert!(all.iter().all(|v| (0.0..=1.0).contains(v)), "{all:?}");
            }
        }
    }
}
