//! Random streams and smooth random textures.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// What draws random numbers: each has a stream of its own, so that one more structure leaves the others as
/// they were.
#[derive(Clone, Copy, Debug)]
#[repr(u64)]
pub(super) enum Stream {
    Anatomy = 1,
    Findings,
    Acquisition,
    Vessels,
    Skeleton,
    Parenchyma,
    SoftTissue,
    Abdomen,
    GroundGlass,
    Consolidation,
    Nodules,
    Devices,
    Noise,
    Heart,
}

/// The stream of a seed.
pub(super) fn stream(seed: u64, stream: Stream) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(stream as u64);
    rng
}

/// Value noise on a lattice over a rectangle of the patient, smooth, mean 0, within −1 to 1.
#[derive(Clone, Debug)]
pub(super) struct Noise {
    x: f32,
    y: f32,
    per_mm: f32,
    width: usize,
    height: usize,
    values: Vec<f32>,
}

impl Noise {
    /// Noise with a cell of `cell` mm over `x..x + width`, `y..y + height`; constant beyond.
    pub(super) fn new(
        rng: &mut ChaCha8Rng,
        (x, y): (f64, f64),
        (width, height): (f64, f64),
        cell: f64,
    ) -> Self {
        let (columns, lines) = ((width / cell).ceil() as usize + 2, (height / cell).ceil() as usize + 2);
        let values = (0..columns * lines).map(|_| rng.random_range(-1.0..=1.0)).collect();
        Self { x: x as f32, y: y as f32, per_mm: (1.0 / cell) as f32, width: columns, height: lines, values }
    }

    /// The value at a point, mm.
    pub(super) fn at(&self, x: f32, y: f32) -> f32 {
        let (i, u) = split((x - self.x) * self.per_mm, self.width);
        let (j, v) = split((y - self.y) * self.per_mm, self.height);
        let top = &self.values[j * self.width + i..];
        let bottom = &self.values[(j + 1) * self.width + i..];
        let (a, b) = (top[0] + (top[1] - top[0]) * u, bottom[0] + (bottom[1] - bottom[0]) * u);
        a + (b - a) * v
    }
}

fn split(position: f32, cells: usize) -> (usize, f32) {
    let position = position.clamp(0.0, (cells - 1) as f32 - 1e-3);
    let i = (position as usize).min(cells - 2);
    let t = position - i as f32;
    (i, t * t * (3.0 - 2.0 * t))
}

/// Octaves of [`Noise`], each half the size and `gain` times the strength of the one before.
#[derive(Clone, Debug)]
pub(super) struct Fractal {
    octaves: Vec<(Noise, f32)>,
}

impl Fractal {
    /// Octaves from `cell` mm down.
    pub(super) fn new(
        rng: &mut ChaCha8Rng,
        origin: (f64, f64),
        size: (f64, f64),
        cell: f64,
        octaves: usize,
        gain: f64,
    ) -> Self {
        let octaves = (0..octaves as i32)
            .map(|k| (Noise::new(rng, origin, size, cell / 2f64.powi(k)), gain.powi(k) as f32))
            .collect();
        Self { octaves }
    }

    /// The same texture sampled every `step` mm over a rectangle, for a single look-up a pixel.
    pub(super) fn bake(&self, (x, y): (f64, f64), (width, height): (f64, f64), step: f64) -> Noise {
        let (columns, lines) = ((width / step).ceil() as usize + 2, (height / step).ceil() as usize + 2);
        let mut values = Vec::with_capacity(columns * lines);
        for line in 0..lines {
            let v = (y + line as f64 * step) as f32;
            values.extend((0..columns).map(|column| self.at((x + column as f64 * step) as f32, v)));
        }
        Noise { x: x as f32, y: y as f32, per_mm: (1.0 / step) as f32, width: columns, height: lines, values }
    }

    /// The sum at a point, mm.
    pub(super) fn at(&self, x: f32, y: f32) -> f32 {
        self.octaves.iter().map(|(noise, gain)| noise.at(x, y) * gain).sum()
    }
}
