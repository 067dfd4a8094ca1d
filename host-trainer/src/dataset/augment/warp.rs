//! Movement of pixels: an affine map and a smooth random displacement.

use rand_chacha::ChaCha8Rng;

use super::{AugmentSpec, between, chance, either};
use crate::dataset::Sample;

/// Control points of the smooth displacement along a side.
const CONTROL: usize = 6;

/// Where each output pixel comes from.
pub(super) struct Field {
    size: usize,
    /// Output centre-relative (x, y) → input centre-relative: rows of a 2 × 3 matrix.
    affine: [[f32; 3]; 2],
    /// Displacement (x, y) in pixels at CONTROL × CONTROL points; empty: none.
    control: Vec<[f32; 2]>,
}

/// A warped sample.
pub(super) struct Warped {
    pub(super) image: Vec<f32>,
    /// Whether the pixel shows the radiograph, not padding.
    pub(super) inside: Vec<bool>,
    pub(super) targets: Vec<Option<Vec<f32>>>,
}

impl Field {
    pub(super) fn random(spec: &AugmentSpec, size: usize, rng: &mut ChaCha8Rng) -> Self {
        let angle = either(rng, spec.rotation_deg).to_radians();
        let scale = between(rng, spec.scale).max(0.05);
        let aspect = 1.0 + either(rng, spec.aspect).clamp(-0.9, 0.9);
        let (scale_x, scale_y) = (scale * aspect.sqrt(), scale / aspect.sqrt());
        let shear = either(rng, spec.shear_deg).to_radians().tan();
        let side = size as f32;
        let (shift_x, shift_y) = (either(rng, spec.translate) * side, either(rng, spec.translate) * side);
        // The inverse map: undo the shift, the rotation, the shear, the scale.
        let (sin, cos) = angle.sin_cos();
        let x = [cos + shear * sin, sin - shear * cos].map(|v| v / scale_x);
        let y = [-sin, cos].map(|v| v / scale_y);
        let row = |[a, b]: [f32; 2]| [a, b, -(a * shift_x + b * shift_y)];
        let mut control = Vec::new();
        if chance(rng, spec.elastic_probability) {
            let amplitude = spec.elastic * side;
            control =
                (0..CONTROL * CONTROL).map(|_| [either(rng, amplitude), either(rng, amplitude)]).collect();
        }
        Self { size, affine: [row(x), row(y)], control }
    }

    pub(super) fn apply(&self, sample: &Sample) -> Warped {
        let size = self.size;
        let centre = size as f32 / 2.0;
        let letterbox = &sample.letterbox;
        let columns = letterbox.pad_left as f32..(letterbox.pad_left + letterbox.content_cols) as f32;
        let rows = letterbox.pad_top as f32..(letterbox.pad_top + letterbox.content_rows) as f32;
        let mut taps = Vec::with_capacity(size * size);
        let mut inside = Vec::with_capacity(size * size);
        for r in 0..size {
            for c in 0..size {
                let (x, y) = (c as f32 + 0.5 - centre, r as f32 + 0.5 - centre);
                let [dx, dy] = self.displacement(c, r);
                let from = |[a, b, t]: [f32; 3], d: f32| a * x + b * y + t + d + centre;
                let (x, y) = (from(self.affine[0], dx), from(self.affine[1], dy));
                inside.push(columns.contains(&x) && rows.contains(&y));
                taps.push(Tap::new(x, y, size));
            }
        }
        let image = taps.iter().map(|tap| tap.sample(&sample.image, size) / 65535.0).collect();
        let target = |plane: &Vec<u8>| taps.iter().map(|tap| tap.sample(plane, size) / 255.0).collect();
        Warped { image, inside, targets: sample.targets.iter().map(|t| t.as_ref().map(target)).collect() }
    }

    /// Smooth interpolation (zero slope at the control points) of the displacement.
    fn displacement(&self, col: usize, row: usize) -> [f32; 2] {
        if self.control.is_empty() {
            return [0.0; 2];
        }
        let place = |i: usize| {
            let at = (i as f32 + 0.5) / self.size as f32 * (CONTROL - 1) as f32;
            let cell = (at as usize).min(CONTROL - 2);
            let t = at - cell as f32;
            (cell, t * t * (3.0 - 2.0 * t))
        };
        let ((cx, tx), (cy, ty)) = (place(col), place(row));
        let point = |x: usize, y: usize| self.control[y * CONTROL + x];
        let (a, b, c, d) = (point(cx, cy), point(cx + 1, cy), point(cx, cy + 1), point(cx + 1, cy + 1));
        std::array::from_fn(|i| {
            let (top, bottom) = (a[i] + (b[i] - a[i]) * tx, c[i] + (d[i] - c[i]) * tx);
            top + (bottom - top) * ty
        })
    }
}

/// Bilinear interpolation at one place: four neighbours and their weights; neighbours outside count as 0.
struct Tap {
    first: usize,
    weights: [f32; 4],
}

impl Tap {
    /// At continuous (x, y), pixel centres at +0.5, of a grid of `size`².
    fn new(x: f32, y: f32, size: usize) -> Self {
        let split = |v: f32| {
            let v = v - 0.5;
            let low = v.floor();
            (low as i64, v - low)
        };
        let ((x0, fx), (y0, fy)) = (split(x), split(y));
        let last = size as i64 - 1;
        // Neighbours are taken at (cx, cy) .. +1, so that the index stays inside; weights follow.
        let axis = |low: i64, fraction: f32| -> (usize, [f32; 2]) {
            match low {
                -1 => (0, [fraction, 0.0]),
                low if low == last => ((last - 1).max(0) as usize, [0.0, 1.0 - fraction]),
                low if (0..last).contains(&low) => (low as usize, [1.0 - fraction, fraction]),
                _ => (0, [0.0; 2]),
            }
        };
        let ((cx, wx), (cy, wy)) = (axis(x0, fx), axis(y0, fy));
        Self { first: cy * size + cx, weights: [wy[0] * wx[0], wy[0] * wx[1], wy[1] * wx[0], wy[1] * wx[1]] }
    }

    fn sample<T: Copy + Into<f32>>(&self, plane: &[T], size: usize) -> f32 {
        let [a, b, c, d] = self.weights;
        let (top, bottom) = (&plane[self.first..], &plane[self.first + size..]);
        a * top[0].into() + b * top[1].into() + c * bottom[0].into() + d * bottom[1].into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taps_interpolate_inside_and_fade_out_at_the_border() {
        let plane: Vec<f32> = (0..16).map(|v| v as f32).collect();
        let at = |x, y| Tap::new(x, y, 4).sample(&plane, 4);
        assert_eq!(at(0.5, 0.5), 0.0);
        assert_eq!(at(2.0, 1.5), 5.5);
        assert_eq!(at(3.5, 3.5), 15.0);
        assert_eq!(at(4.0, 3.5), 7.5);
        assert_eq!(at(0.0, 3.5), 6.0);
        assert_eq!(at(5.1, 1.0), 0.0);
        assert_eq!(at(-3.0, -3.0), 0.0);
    }
}
