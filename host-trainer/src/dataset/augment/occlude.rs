//! What hides anatomy on real radiographs: collimator blades and burned-in marks.

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::{AugmentSpec, between, chance};

/// Blackens borders of random width, as blades that stand in the beam do. Masks stay: anatomy under the
/// border is still there, and readers outline what they infer.
pub(super) fn collimate(image: &mut [f32], size: usize, spec: &AugmentSpec, rng: &mut ChaCha8Rng) {
    if !chance(rng, spec.collimation_probability) {
        return;
    }
    let mut width = || (between(rng, [0.0, spec.collimation.min(0.5)]) * size as f32) as usize;
    let (top, bottom, left, right) = (width(), width(), width(), width());
    for (r, line) in image.chunks_exact_mut(size).enumerate() {
        if r < top || r >= size - bottom {
            line.fill(0.0);
        } else {
            line[..left].fill(0.0);
            line[size - right..].fill(0.0);
        }
    }
}

/// Draws boxes of constant grey, as letters, labels and clips do.
pub(super) fn burn_in_markers(image: &mut [f32], size: usize, spec: &AugmentSpec, rng: &mut ChaCha8Rng) {
    let count = if spec.markers == 0 { 0 } else { rng.random_range(0..=spec.markers) };
    for _ in 0..count {
        let mut extent = || (between(rng, [0.02, spec.marker_size.max(0.02)]) * size as f32).ceil() as usize;
        let (height, width) = (extent().min(size), extent().min(size));
        let (top, left) = (rng.random_range(0..=size - height), rng.random_range(0..=size - width));
        // Mostly white letters and lead, sometimes black privacy bars.
        let gray = if chance(rng, 0.7) { between(rng, [0.8, 1.0]) } else { between(rng, [0.0, 0.2]) };
        for line in image.chunks_exact_mut(size).skip(top).take(height) {
            line[left..left + width].fill(gray);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::{Stream, stream_rng};

    #[test]
    fn collimation_blackens_only_borders() {
        let spec = AugmentSpec { collimation: 0.2, collimation_probability: 1.0, ..AugmentSpec::default() };
        let mut image = vec![1.0; 50 * 50];
        collimate(&mut image, 50, &spec, &mut stream_rng(1, Stream::Augment, 0));
        let middle =
            image.chunks_exact(50).skip(10).take(30).all(|line| line[10..40].iter().all(|&v| v == 1.0));
        assert!(middle);
        assert!(image.contains(&0.0));
    }

    #[test]
    fn markers_stay_small() {
        let spec = AugmentSpec { markers: 2, marker_size: 0.1, ..AugmentSpec::default() };
        for n in 0..30 {
            let mut image = vec![0.5; 50 * 50];
            burn_in_markers(&mut image, 50, &spec, &mut stream_rng(2, Stream::Augment, n));
            assert!(image.iter().filter(|&&v| v != 0.5).count() <= 2 * 5 * 5);
        }
    }
}
