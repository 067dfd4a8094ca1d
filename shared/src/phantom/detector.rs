//! From line integrals to log exposure: Beer–Lambert attenuation, scatter, blur, quantum noise.

use rand::RngCore;

use super::canvas::Plane;
use super::layers::Layers;
use super::texture::{Fractal, Stream, stream};
use super::view::View;
use super::{Acquisition, PhantomParams};

/// Linear attenuation of water and of cortical bone (1.92 g/cm³), 1/mm, at photon energies in keV: NIST XCOM
/// mass attenuation coefficients times density.
const COEFFICIENTS: [(f64, f64, f64); 5] = [
    (25.0, 0.0513, 0.445),
    (30.0, 0.0376, 0.256),
    (40.0, 0.0268, 0.128),
    (60.0, 0.0206, 0.0605),
    (80.0, 0.0184, 0.0428),
];

/// Attenuation of soft tissue and of bone, 1/mm, for a tube voltage: taken at half the peak energy, which is
/// near a filtered chest spectrum's effective energy.
pub(super) fn attenuation(tube_voltage: f64) -> (f64, f64) {
    let energy = 0.5 * tube_voltage;
    let i = COEFFICIENTS.windows(2).position(|w| energy < w[1].0).unwrap_or(COEFFICIENTS.len() - 2);
    let (a, b) = (COEFFICIENTS[i], COEFFICIENTS[i + 1]);
    // Power laws are straight in double-log scale.
    let t = (energy / a.0).ln() / (b.0 / a.0).ln();
    let blend = |p: f64, q: f64| p * (q / p).powf(t);
    (blend(a.1, b.1), blend(a.2, b.2))
}

/// Negative log exposure, about 0 in air and 5 behind the mediastinum.
pub(super) fn expose(layers: &Layers, body: &Plane, view: View, params: &PhantomParams) -> Plane {
    let acquisition = &params.acquisition;
    let (soft, _) = attenuation(acquisition.tube_voltage);
    let soft = soft as f32;
    let aerated = 1.0 - params.anatomy.lung_density as f32;
    let mut rng = stream(params.seed, Stream::Parenchyma);
    let parenchyma = Fractal::new(&mut rng, (-240.0, -120.0), (480.0, 520.0), 9.0, 3, 0.75);
    let mut exposure = Plane::zeros(view.rows, view.cols);
    for row in 0..view.rows {
        let points = view.row(row);
        for col in 0..view.cols {
            let i = row * view.cols + col;
            let lung = layers.lung.data[i];
            let mut tissue = body.data[i] + layers.solid.data[i];
            if lung > 0.0 {
                let (x, y) = points.at(col);
                let air = (lung - layers.filling.data[i].min(lung)) * aerated;
                tissue -= air * (1.0 + 0.035 * parenchyma.at(x, y));
            }
            exposure.data[i] = (-soft * tissue.max(0.0)).exp();
        }
    }
    scatter(&mut exposure, view, acquisition);
    noise(&mut exposure, view, acquisition, params.seed);
    let sigma = (acquisition.blur / view.spacing).hypot(0.5);
    gaussian(&mut exposure, sigma);
    for v in &mut exposure.data {
        *v = -v.max(1e-5).ln();
    }
    exposure
}

/// Scattered photons: a veil of what passes in the surroundings.
fn scatter(exposure: &mut Plane, view: View, acquisition: &Acquisition) {
    if acquisition.scatter <= 0.0 {
        return;
    }
    // Unattenuated air beside the patient scatters nothing.
    let veil = Coarse::new(exposure, 28.0 / view.spacing, |v| v.min(0.2));
    let share = acquisition.scatter as f32;
    veil.apply(exposure, |v, veil| *v += share * veil);
}

/// Poisson noise in its Gaussian limit: the sum of four uniform numbers is close enough to a normal one.
fn noise(exposure: &mut Plane, view: View, acquisition: &Acquisition, seed: u64) {
    let mut rng = stream(seed, Stream::Noise);
    let per_pixel = (acquisition.photons * view.spacing * view.spacing) as f32;
    // Four 16-bit uniforms have a variance of 4/12.
    let scale = 3f32.sqrt() / 65536.0;
    for v in &mut exposure.data {
        let bits = rng.next_u64();
        let sum = (0..4).map(|k| ((bits >> (16 * k)) & 0xffff) as f32).sum::<f32>();
        let normal = (sum - 2.0 * 65535.0) * scale;
        *v += normal * (*v / per_pixel).sqrt();
        *v = v.max(0.0);
    }
}

/// Separable Gaussian blur, in place; `sigma` in pixels.
fn gaussian(plane: &mut Plane, sigma: f64) {
    let reach = (3.0 * sigma).ceil().max(1.0) as usize;
    let mut kernel: Vec<f32> =
        (0..=reach).map(|k| (-0.5 * (k as f64 / sigma).powi(2)).exp() as f32).collect();
    let sum = kernel[0] + 2.0 * kernel[1..].iter().sum::<f32>();
    kernel.iter_mut().for_each(|k| *k /= sum);
    let (rows, cols) = (plane.rows, plane.cols);
    let mut line = vec![0.0_f32; cols + 2 * reach];
    for row in plane.data.chunks_exact_mut(cols) {
        line[reach..reach + cols].copy_from_slice(row);
        line[..reach].fill(row[0]);
        line[reach + cols..].fill(row[cols - 1]);
        for (col, out) in row.iter_mut().enumerate() {
            let centre = col + reach;
            let mut v = kernel[0] * line[centre];
            for (k, weight) in kernel.iter().enumerate().skip(1) {
                v += weight * (line[centre - k] + line[centre + k]);
            }
            *out = v;
        }
    }
    // Columns, whole rows at a time.
    let source = plane.data.clone();
    for row in 0..rows {
        let out = &mut plane.data[row * cols..][..cols];
        out.iter_mut().zip(&source[row * cols..]).for_each(|(o, s)| *o = kernel[0] * s);
        for (k, &weight) in kernel.iter().enumerate().skip(1) {
            let above = &source[row.saturating_sub(k) * cols..][..cols];
            let below = &source[(row + k).min(rows - 1) * cols..][..cols];
            for ((o, a), b) in out.iter_mut().zip(above).zip(below) {
                *o += weight * (a + b);
            }
        }
    }
}

/// A strongly blurred copy of a plane, kept on a coarse grid.
#[derive(Debug)]
pub(super) struct Coarse {
    rows: usize,
    cols: usize,
    step: usize,
    data: Vec<f32>,
}

impl Coarse {
    /// Blurs by about `sigma` pixels what `map` makes of the plane.
    pub(super) fn new(plane: &Plane, sigma: f64, map: impl Fn(f32) -> f32) -> Self {
        let step = ((sigma / 3.0) as usize).clamp(1, 256);
        let (rows, cols) = (plane.rows.div_ceil(step), plane.cols.div_ceil(step));
        let mut sums = vec![(0.0_f32, 0.0_f32); rows * cols];
        for (row, line) in plane.data.chunks_exact(plane.cols).enumerate() {
            for (cells, values) in sums[row / step * cols..].iter_mut().zip(line.chunks(step)) {
                cells.0 += values.iter().map(|&v| map(v)).sum::<f32>();
                cells.1 += values.len() as f32;
            }
        }
        let mut grid = Plane { rows, cols, data: sums.into_iter().map(|(sum, n)| sum / n).collect() };
        gaussian(&mut grid, (sigma / step as f64).max(0.3));
        Self { rows, cols, step, data: grid.data }
    }

    /// Calls `f` with every pixel and the blurred value there.
    pub(super) fn apply(&self, plane: &mut Plane, mut f: impl FnMut(&mut f32, f32)) {
        let place = |p: usize, cells: usize| {
            let at = ((p as f32 + 0.5) / self.step as f32 - 0.5).clamp(0.0, (cells - 1) as f32);
            let i = (at as usize).min(cells.saturating_sub(2));
            (i, (i + 1).min(cells - 1), at - i as f32)
        };
        let columns: Vec<_> = (0..plane.cols).map(|c| place(c, self.cols)).collect();
        let mut line = vec![0.0_f32; self.cols];
        for (row, pixels) in plane.data.chunks_exact_mut(plane.cols).enumerate() {
            let (top, bottom, t) = place(row, self.rows);
            for (c, v) in line.iter_mut().enumerate() {
                let (a, b) = (self.data[top * self.cols + c], self.data[bottom * self.cols + c]);
                *v = a + (b - a) * t;
            }
            for (pixel, &(a, b, t)) in pixels.iter_mut().zip(&columns) {
                f(pixel, line[a] + (line[b] - line[a]) * t);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attenuation_falls_with_voltage_and_bone_loses_most() {
        let ((soft_low, bone_low), (soft_high, bone_high)) = (attenuation(60.0), attenuation(120.0));
        assert!((soft_high - 0.0206).abs() < 1e-9 && (bone_high - 0.0605).abs() < 1e-9);
        assert!(soft_low > soft_high && bone_low / soft_low > bone_high / soft_high);
    }

    #[test]
    fn blur_keeps_the_mean_of_a_field_without_borders_and_a_constant() {
        let mut plane = Plane::zeros(40, 50);
        plane.data[20 * 50 + 25] = 100.0;
        gaussian(&mut plane, 2.0);
        assert!((plane.data.iter().sum::<f32>() - 100.0).abs() < 1e-2);
        let mut flat = Plane { rows: 7, cols: 9, data: vec![3.0; 63] };
        gaussian(&mut flat, 4.0);
        assert!(flat.data.iter().all(|v| (v - 3.0).abs() < 1e-5));
        Coarse::new(&flat, 20.0, |v| v).apply(&mut flat, |v, blurred| *v -= blurred);
        assert!(flat.data.iter().all(|v| v.abs() < 1e-5));
    }
}
