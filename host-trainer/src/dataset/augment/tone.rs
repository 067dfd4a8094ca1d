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
    let across: Vec<f32> = (0..size).map(|c| slope_x * (c as f32 / size as f32 - 0.5)).collect();
    for (r, line) in image.chunks_exact_mut(size).enumerate() {
        let down = slope_y * (r as f32 / size as f32 - 0.5);
        for (value, across) in line.iter_mut().zip(&across) {
            *value = (power(value.max(0.0), gamma) - 0.5) * contrast + shift + (across + down);
        }
    }
    if chance(rng, spec.noise_probability) {
        add_noise(image, between(rng, [0.0, spec.noise]), rng);
    }
}

/// `base` to the power of `exponent`, for base ≥ 0; right to 2e-7 for bases up to 1. A whole image at a time this is
/// vector code, which the standard library's is not.
#[inline(always)]
fn power(base: f32, exponent: f32) -> f32 {
    /// √½: the mantissa is taken in √½..√2.
    const ROOT: u32 = 0x3f35_04f3;
    /// Adding it leaves the nearest whole number in the lowest bits.
    const MAGIC: f32 = 12_582_912.0;
    let bits = base.to_bits().wrapping_sub(ROOT);
    let whole = (bits as i32 >> 23) as f32;
    let mantissa = f32::from_bits((bits & 0x007f_ffff).wrapping_add(ROOT));
    // log2 m = 2 / ln 2 · artanh((m − 1) / (m + 1)).
    let s = (mantissa - 1.0) / (mantissa + 1.0);
    let z = s * s;
    let series = 0.577_078 + z * (0.412_198_6 + z * 0.320_598_9);
    let log2 = whole + s * (2.885_39 + z * (0.961_796_7 + z * series));
    // 2^y: the whole part goes into the exponent, the rest into exp's series.
    let y = (log2 * exponent).clamp(-126.0, 127.0);
    let shifted = y + MAGIC;
    let f = y - (shifted - MAGIC);
    let series = 0.055_504_11 + f * (0.009_618_129 + f * (0.001_333_356 + f * 0.000_154_035));
    let value = 1.0 + f * (std::f32::consts::LN_2 + f * (0.240_226_5 + f * series));
    let scale = f32::from_bits(shifted.to_bits().wrapping_add(127) << 23);
    if base < f32::MIN_POSITIVE { 0.0 } else { value * scale }
}

fn rng_sigma(largest: f32, rng: &mut ChaCha8Rng) -> f32 {
    between(rng, [0.3_f32.min(largest), largest])
}

/// Adds noise of standard deviation `std`: the sum of four uniform bytes, bell-shaped and cheap.
fn add_noise(image: &mut [f32], std: f32, rng: &mut ChaCha8Rng) {
    // Each byte has variance (256² − 1) / 12.
    let scale = std / (4.0 * 65535.0 / 12.0_f32).sqrt();
    let mut bytes = [0; 4 * 256];
    for values in image.chunks_mut(256) {
        let bytes = &mut bytes[..4 * values.len()];
        rng.fill_bytes(bytes);
        for (value, four) in values.iter_mut().zip(bytes.as_chunks::<4>().0) {
            let sum: u16 = four.iter().map(|&byte| u16::from(byte)).sum();
            *value += (f32::from(sum) - 510.0) * scale;
        }
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
        // Tap by tap over the whole line, which the compiler turns into vector code.
        line.fill(0.0);
        for (i, k) in kernel.iter().enumerate() {
            for (value, v) in line.iter_mut().zip(&padded[i..]) {
                *value += k * v;
            }
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
    fn power_is_the_one_of_the_standard_library() {
        for exponent in [0.05, 0.6, 1.0, 1.6, 10.0_f32] {
            for i in 0..=1000 {
                let base = i as f32 / 1000.0;
                let (found, wanted) = (power(base, exponent), base.powf(exponent));
                assert!((found - wanted).abs() < 3e-7, "{base}^{exponent}: {found} {wanted}");
            }
        }
    }

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
