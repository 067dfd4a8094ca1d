use crate::dataset::Sample;

/// Temperatures that are tried lie between these.
const RANGE: [f64; 2] = [0.2, 10.0];
/// Logits beyond ±LIMIT count as ±LIMIT.
const LIMIT: f32 = 32.0;
/// Bins of one unit of logit.
const BINS_A_UNIT: usize = 32;
const BINS: usize = 2 * LIMIT as usize * BINS_A_UNIT;

/// Finds for every class the temperature that its logits are best divided by: the one of least negative log-likelihood
/// over the pixels of validation images (Guo et al. 2017, On Calibration of Modern Neural Networks, §4.2). Padding takes
/// no part.
#[derive(Clone, Debug)]
pub struct TemperatureSearch {
    /// By class: pixels outside and inside truth by bin of their logit.
    histograms: Vec<[Vec<u64>; 2]>,
}

impl TemperatureSearch {
    /// A search over `classes`, nothing seen yet.
    pub fn new(classes: usize) -> Self {
        Self { histograms: vec![[vec![0; BINS], vec![0; BINS]]; classes] }
    }

    /// Takes in an image: `logits` is C × S × S.
    ///
    /// # Panics
    /// If the logits do not fill the sample's grid for every class.
    pub fn add(&mut self, sample: &Sample, logits: &[f32]) {
        let plane = sample.size() * sample.size();
        assert_eq!(logits.len(), plane * self.histograms.len(), "logits of {}", sample.id);
        let inside = sample.inside();
        for (class, histogram) in self.histograms.iter_mut().enumerate() {
            let Some(truth) = sample.mask(class) else { continue };
            let pixels = logits[class * plane..].iter().zip(truth.data()).zip(&inside);
            for ((logit, &truth), _) in pixels.filter(|(_, inside)| **inside) {
                let bin = (logit.clamp(-LIMIT, LIMIT) + LIMIT) * BINS_A_UNIT as f32;
                histogram[usize::from(truth)][(bin as usize).min(BINS - 1)] += 1;
            }
        }
    }

    /// The temperature of every class, to three digits after the point; none where no image shows the class.
    pub fn best(&self) -> Vec<Option<f32>> {
        self.histograms.iter().map(|[outside, inside]| best(outside, inside)).collect()
    }
}

fn best(outside: &[u64], inside: &[u64]) -> Option<f32> {
    if inside.iter().all(|n| *n == 0) {
        return None;
    }
    let middle = |bin: usize| (bin as f64 + 0.5) / BINS_A_UNIT as f64 - f64::from(LIMIT);
    // −ln σ(z) = softplus(−z), without overflow.
    let softplus = |z: f64| z.max(0.0) + (-z.abs()).exp().ln_1p();
    let loss = |temperature: f64| -> f64 {
        let of = |counts: &[u64], sign: f64| -> f64 {
            let used = counts.iter().enumerate().filter(|(_, n)| **n > 0);
            used.map(|(bin, n)| *n as f64 * softplus(sign * middle(bin) / temperature)).sum()
        };
        of(outside, 1.0) + of(inside, -1.0)
    };
    // Convex in 1/T, so it has one minimum: golden section over ln T.
    let golden = (5f64.sqrt() - 1.0) / 2.0;
    let [mut low, mut high] = RANGE.map(f64::ln);
    for _ in 0..40 {
        let (a, b) = (high - golden * (high - low), low + golden * (high - low));
        if loss(a.exp()) <= loss(b.exp()) { high = b } else { low = a }
    }
    let temperature = ((low + high) / 2.0).exp();
    Some((temperature * 1000.0).round() as f32 / 1000.0)
}

#[cfg(test)]
mod tests {
    use rand::{Rng as _, SeedableRng as _};
    use shared::preprocess::Letterbox;

    use super::*;

    /// Logits whose probabilities are right once they are divided by `temperature`.
    fn search(temperature: f32) -> Option<f32> {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(1);
        let size = 200;
        let (mut truth, mut logits) = (Vec::new(), Vec::new());
        for _ in 0..size * size {
            let z: f32 = rng.random_range(-4.0..4.0);
            truth.push(if rng.random::<f32>() < 1.0 / (1.0 + (-z).exp()) { 255 } else { 0 });
            logits.push(z * temperature);
        }
        let sample = Sample {
            id: "a".into(),
            letterbox: Letterbox::new(size, size, size),
            image: vec![0; size * size].into(),
            targets: vec![Some(truth.into()), None],
        };
        logits.extend(vec![0.0; size * size]);
        let mut search = TemperatureSearch::new(2);
        search.add(&sample, &logits);
        assert_eq!(search.best()[1], None);
        search.best()[0]
    }

    #[test]
    fn the_temperature_that_was_put_in_comes_out() {
        for temperature in [0.5, 1.0, 2.5] {
            let found = search(temperature).unwrap();
            assert!((found / temperature - 1.0).abs() < 0.05, "{temperature}: {found}");
        }
    }

    #[test]
    fn a_class_without_pixels_and_one_of_no_doubt_have_usable_answers() {
        let sample = |truth: u8| Sample {
            id: "a".into(),
            letterbox: Letterbox::new(2, 2, 2),
            image: vec![0; 4].into(),
            targets: vec![Some(vec![truth; 4].into())],
        };
        let mut none = TemperatureSearch::new(1);
        none.add(&sample(0), &[1.0; 4]);
        assert_eq!(none.best(), [None]);
        let mut sure = TemperatureSearch::new(1);
        sure.add(&sample(255), &[100.0, f32::INFINITY, 3.0, 9.0]);
        assert_eq!(sure.best(), [Some(0.2)]);
    }
}
