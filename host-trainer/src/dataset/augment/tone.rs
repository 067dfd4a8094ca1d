//! Changes of grey values: exposure, contrast, sharpness, noise.

use rand::RngCore;
use rand_chacha::ChaCha8Rng;

use super::{AugmentSpec, between, chance, either};

/// Varies grey values in place; the result may leave 0..1.
pub(super) fn vary(image: &mut [f32], size: usize, spec: &AugmentSpec, rng: &mut ChaCha8Rng) {
    if chance(rng, spec.blur_probability) {
        blur(image, size, rng_sigma(spec.blur, rng));
    }
    let gamma = between(rng, spec.gamma).max(0.05);
    let contrast = between(rng, spec.contrast);
    let shift = 0.5 + either(rng, spec.brightness);
    let (slope_x, slope_y) = (either(rng, spec.exposure_gradient), either(rng, spec.exposure_gradient));
    for (r, line) in image.chunks_exact_mut(size).enumerate() {
        let down = slope_y * (r as f32 / size as f32 - 0.5);
        for (c, value) in line.iter_mut().enumerate() {
            let gradient = slope_x * (c as f32 / size as f32 - 0.5) + down;
            *value = (value.max(0.0).powf(gamma) - 0.5) * contrast + shift + gradient;
        }
    }
    if chance(rng, spec.noise_probability) {
        add_noise(image, between(rng, [0.0, spec.noise]), rng);
    }
}

fn rng_sigma(largest: f32, rng: &mut ChaCha8Rng) -> f32 {
    between(rng, [0.3_f32.min(largest), largest])
}

/// Adds noise of standard deviation `std`: the sum of four uniform bytes, bell-shaped and cheap.
fn add_noise(image: &mut [f32], std: f32, rng: &mut ChaCha8Rng) {
    // Each byte has variance (256² − 1) / 12.
    let scale = std / (4.0 * 65535.0 / 12.0_f32).sqrt();
    for value in image {
        let sum: u32 = rng.next_u32().to_le_bytes().into_iter().map(u32::from).sum();
        *value += (sum as f32 - 510.0) * scale;
    }
}

/// Separable Gaussian blur; the border is repeated.
fn blur(image: &mut [f32], size: usize, sigma: f32) {
    let reach = (3.0 * sigma).ceil() as usize;
    if reach == 0 || size == 0 {
        return;
    }
    let mut kernel: Vec<f32> =
        (0..=2 * reach).map(|i| (-0.5 * ((i as f32 - reach as f32) / sigma).powi(2)).exp()).collect();
    let sum: f32 = kernel.iter().sum();
    kernel.iter_mut().for_each(|v| *v /= sum);

    let mut padded = vec![0.0; size + 2 * reach];
    for line in image.chunks_exact_mut(size) {
        padded[..reach].fill(line[0]);
        padded[reach..reach + size].copy_from_slice(line);
        padded[reach + size..].fill(line[size - 1]);
        for (c, value) in line.iter_mut().enumerate() {
            *value = kernel.iter().zip(&padded[c..]).map(|(k, v)| k * v).sum();
        }
    }
    // Down the columns, whole lines at a time.
    let source = image.to_vec();
    for (r, line) in image.chunks_exact_mut(size).enumerate() {
        line.fill(0.0);
        for (i, k) in kernel.iter().enumerate() {
            let from = (r + i).saturating_sub(reach).min(size - 1);
            for (value, v) in line.iter_mut().zip(&source[from * size..]) {
                *value += k * v;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::{Stream, stream_rng};

    #[test]
    fn noise_has_the_asked_deviation() {
        let mut image = vec![0.0; 40_000];
        add_noise(&mut image, 0.05, &mut stream_rng(1, Stream::Augment, 0));
        let mean = image.iter().sum::<f32>() / 40_000.0;
        let variance = image.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / 40_000.0;
        assert!(mean.abs() < 1e-3, "{mean}");
        assert!((variance.sqrt() - 0.05).abs() < 1e-3, "{}", variance.sqrt());
    }

    #[test]
    fn blur_keeps_flat_images_and_spreads_points() {
        let mut flat = vec![0.7; 81];
        blur(&mut flat, 9, 1.0);
        assert!(flat.iter().all(|v| (v - 0.7).abs() < 1e-5));
        let mut point = vec![0.0; 81];
        point[40] = 1.0;
        blur(&mut point, 9, 1.0);
        assert!((point.iter().sum::<f32>() - 1.0).abs() < 1e-2);
        assert!((point[39] - point[31]).abs() < 1e-6, "the same along both axes");
        assert!(point[40] > point[39] && point[39] > point[38]);
    }
}
