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

    /// Each axis by itself, x and y: what lies at the first place comes to the second, larger by the third.
    pub(super) fn stretched([x, y]: [(f32, f32, f32); 2], size: usize) -> Self {
        let centre = size as f32 / 2.0;
        // Back from the output: from + (v − to) / scale, each relative to the centre.
        let shift = |(from, to, scale): (f32, f32, f32)| from - centre - (to - centre) / scale;
        let affine = [[1.0 / x.2, 0.0, shift(x)], [0.0, 1.0 / y.2, shift(y)]];
        Self { size, affine, control: Vec::new() }
    }

    pub(super) fn apply(&self, sample: &Sample) -> Warped {
        let size = self.size;
        let letterbox = &sample.letterbox;
        let columns = letterbox.pad_left as f32..(letterbox.pad_left + letterbox.content_cols) as f32;
        let rows = letterbox.pad_top as f32..(letterbox.pad_top + letterbox.content_rows) as f32;
        let mut inside = Vec::with_capacity(size * size);
        let annotated: Vec<&[u8]> = sample.targets.iter().flatten().map(AsRef::as_ref).collect();
        let mut quads = Quad::all(&sample.image, &annotated, size);

        let places: Vec<_> = (0..size).map(|at| self.place(at)).collect();
        let (mut xs, mut ys) = (vec![0.0; size], vec![0.0; size]);
        let mut taps = Taps::new(size);
        for r in 0..size {
            self.sources(r, &places, &mut xs, &mut ys);
            inside.extend(xs.iter().zip(&ys).map(|(x, y)| columns.contains(x) & rows.contains(y)));
            taps.set(&xs, &ys);
            for quad in &mut quads {
                quad.read(&taps);
            }
        }
        let mut planes = quads.into_iter().flat_map(|quad| quad.read);
        let mut next = || planes.next().expect("a plane for the image and for each annotated class");
        let image = next();
        let targets = sample.targets.iter().map(|t| t.as_ref().map(|_| next())).collect();
        Warped { image, inside, targets }
    }

    /// Where the pixels of row `r` come from.
    fn sources(&self, r: usize, places: &[(usize, f32)], xs: &mut [f32], ys: &mut [f32]) {
        let centre = self.size as f32 / 2.0;
        let y = r as f32 + 0.5 - centre;
        for ([a, b, t], line) in self.affine.into_iter().zip([&mut *xs, &mut *ys]) {
            for (c, v) in line.iter_mut().enumerate() {
                *v = a * (c as f32 + 0.5 - centre) + b * y + t;
            }
        }
        if !self.control.is_empty() {
            for (c, (x, y)) in xs.iter_mut().zip(ys.iter_mut()).enumerate() {
                let [dx, dy] = self.displacement(places[c], places[r]);
                (*x, *y) = (*x + dx, *y + dy);
            }
        }
        xs.iter_mut().chain(ys).for_each(|v| *v += centre);
    }

    /// The control point before a row or column, and how far it is on the way to the next: smooth, with zero slope at
    /// the control points.
    fn place(&self, at: usize) -> (usize, f32) {
        let at = (at as f32 + 0.5) / self.size as f32 * (CONTROL - 1) as f32;
        let cell = (at as usize).min(CONTROL - 2);
        let t = at - cell as f32;
        (cell, t * t * (3.0 - 2.0 * t))
    }

    fn displacement(&self, (cx, tx): (usize, f32), (cy, ty): (usize, f32)) -> [f32; 2] {
        let point = |x: usize, y: usize| self.control[y * CONTROL + x];
        let (a, b, c, d) = (point(cx, cy), point(cx + 1, cy), point(cx, cy + 1), point(cx + 1, cy + 1));
        std::array::from_fn(|i| {
            let (top, bottom) = (a[i] + (b[i] - a[i]) * tx, c[i] + (d[i] - c[i]) * tx);
            top + (bottom - top) * ty
        })
    }
}

/// Zeros around a plane: before its first pixel and after its last, so that no neighbour is missing.
const BORDER: [usize; 2] = [1, 2];

/// Bilinear interpolation at the places of a row: the first of four neighbours and how far the place is from it.
struct Taps {
    size: usize,
    first: Vec<u32>,
    right: Vec<f32>,
    down: Vec<f32>,
}

impl Taps {
    fn new(size: usize) -> Self {
        Self { size, first: vec![0; size], right: vec![0.0; size], down: vec![0.0; size] }
    }

    /// At continuous (x, y), pixel centres at +0.5. Places beyond the border read zeros.
    fn set(&mut self, xs: &[f32], ys: &[f32]) {
        let line = (self.size + BORDER[0] + BORDER[1]) as i32;
        let last = self.size as f32;
        let split = |v: f32| {
            let v = (v - 0.5).max(-1.0).min(last);
            let (low, whole) = floor(v);
            (low + BORDER[0] as i32, v - whole)
        };
        let places = xs.iter().zip(ys);
        let taps = self.first.iter_mut().zip(&mut self.right).zip(&mut self.down);
        for (((first, right), down), (x, y)) in taps.zip(places) {
            let ((cx, fx), (cy, fy)) = (split(*x), split(*y));
            *first = (cy * line + cx) as u32;
            (*right, *down) = (fx, fy);
        }
    }
}

/// The largest whole number that is not above `v`, for |v| below 2²²: plain arithmetic, which becomes vector code on
/// processors without an instruction for it.
#[inline(always)]
fn floor(v: f32) -> (i32, f32) {
    /// Adding it leaves the nearest whole number in the lowest bits.
    const MAGIC: f32 = 12_582_912.0;
    let nearest = v + MAGIC;
    let (number, whole) = (nearest.to_bits().wrapping_sub(MAGIC.to_bits()) as i32, nearest - MAGIC);
    if whole > v { (number - 1, whole - 1.0) } else { (number, whole) }
}

/// Four planes side by side, so that one pass over the neighbours serves them all.
struct Quad {
    line: usize,
    pixels: Vec<[f32; 4]>,
    /// The largest value of each plane.
    scales: [f32; 4],
    /// What was read so far of each plane, as shares of its largest value.
    read: Vec<Vec<f32>>,
}

impl Quad {
    /// The image and the targets, in this order.
    fn all(image: &[u16], targets: &[&[u8]], size: usize) -> Vec<Self> {
        let line = size + BORDER[0] + BORDER[1];
        let count = 1 + targets.len();
        let quad = |first: usize| {
            let mut pixels = vec![[0.0; 4]; line * line];
            let lanes = (count - first).min(4);
            let mut rows: [Vec<f32>; 4] = std::array::from_fn(|_| vec![0.0; size]);
            for r in 0..size {
                for (lane, row) in rows[..lanes].iter_mut().enumerate() {
                    match first + lane {
                        0 => widen(row, &image[r * size..]),
                        plane => widen(row, &targets[plane - 1][r * size..]),
                    }
                }
                let [a, b, c, d] = &rows;
                let pixels = &mut pixels[(r + BORDER[0]) * line + BORDER[0]..][..size];
                for ((((pixel, a), b), c), d) in pixels.iter_mut().zip(a).zip(b).zip(c).zip(d) {
                    *pixel = [*a, *b, *c, *d];
                }
            }
            let read = (0..lanes).map(|_| Vec::with_capacity(size * size)).collect();
            let scales = std::array::from_fn(|lane| if first + lane == 0 { 65535.0 } else { 255.0 });
            Self { line, pixels, scales, read }
        };
        (0..count).step_by(4).map(quad).collect()
    }

    /// Reads a row of each plane.
    fn read(&mut self, taps: &Taps) {
        let mut row = vec![[0.0; 4]; taps.size];
        let places = taps.first.iter().zip(&taps.right).zip(&taps.down);
        for (value, ((first, right), down)) in row.iter_mut().zip(places) {
            let first = *first as usize;
            let (left, up) = (1.0 - right, 1.0 - down);
            let weights = [up * left, up * right, down * left, down * right];
            // Copies first: written in place, the compiler could not compute the four planes at once.
            let (top, bottom) = (&self.pixels[first..][..2], &self.pixels[first + self.line..][..2]);
            let near = [top[0], top[1], bottom[0], bottom[1]];
            *value = std::array::from_fn(|i| {
                weights[0] * near[0][i]
                    + weights[1] * near[1][i]
                    + weights[2] * near[2][i]
                    + weights[3] * near[3][i]
            });
        }
        for (lane, (plane, scale)) in self.read.iter_mut().zip(self.scales).enumerate() {
            plane.extend(row.iter().map(|value| value[lane] / scale));
        }
    }
}

fn widen<T: Copy + Into<f32>>(row: &mut [f32], values: &[T]) {
    for (wide, value) in row.iter_mut().zip(values) {
        *wide = (*value).into();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taps_interpolate_inside_and_fade_out_at_the_border() {
        let image: Vec<u16> = (0..16).map(|v| v * 257).collect();
        let mask: Vec<u8> = (0..16).collect();
        let at = |x, y| {
            let mut quads = Quad::all(&image, &[mask.as_slice(); 4], 4);
            let mut taps = Taps::new(4);
            taps.set(&[x; 4], &[y; 4]);
            quads.iter_mut().for_each(|quad| quad.read(&taps));
            let planes: Vec<f32> = quads.iter().flat_map(|quad| &quad.read).map(|plane| plane[0]).collect();
            assert_eq!(planes.len(), 5);
            assert!(planes.iter().all(|v| (v - planes[0]).abs() < 1e-7), "{planes:?}");
            (planes[0] * 255.0 * 1e4).round() / 1e4
        };
        assert_eq!(at(0.5, 0.5), 0.0);
        assert_eq!(at(2.0, 1.5), 5.5);
        assert_eq!(at(3.5, 3.5), 15.0);
        assert_eq!(at(4.0, 3.5), 7.5);
        assert_eq!(at(0.0, 3.5), 6.0);
        assert_eq!(at(5.1, 1.0), 0.0);
        assert_eq!(at(-3.0, -3.0), 0.0);
        assert_eq!(at(f32::NAN, 1e30), 0.0);
    }

    #[test]
    fn floor_is_the_one_of_the_standard_library() {
        for v in [-1.0, -0.999_999_94, -1e-9, -0.0, 0.0, 0.499_999_97, 0.5, 1.5, 2.5, 318.999_97, 4096.0_f32]
        {
            assert_eq!(floor(v), (v.floor() as i32, v.floor()), "{v}");
        }
    }
}
