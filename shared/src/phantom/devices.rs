//! Tubes, lines and implants, in millimetres of soft tissue that attenuate as much.

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::Structure;
use super::canvas::{Knot, band, ellipse, smooth};
use super::findings::{Devices, Side};
use super::layers::Layers;
use super::texture::{Stream, stream};
use super::thorax::Thorax;
use super::trunk::trachea_x;
use super::view::View;

struct Tray<'a> {
    layers: &'a mut Layers,
    view: View,
    thorax: &'a Thorax,
    rng: ChaCha8Rng,
}

/// Draws all devices. Each is seeded apart, so that one more leaves the others in place.
pub(super) fn draw(layers: &mut Layers, view: View, thorax: &Thorax, devices: &Devices, seed: u64) {
    let mut tray = Tray { layers, view, thorax, rng: stream(seed, Stream::Devices) };
    let mut turn = 0;
    let mut reseed = |tray: &mut Tray| {
        turn += 1;
        tray.rng.set_word_pos(turn << 16);
    };
    reseed(&mut tray);
    if devices.endotracheal_tube {
        tray.endotracheal_tube();
    }
    reseed(&mut tray);
    if let Some(side) = devices.central_line {
        tray.central_line(side);
    }
    reseed(&mut tray);
    if devices.nasogastric_tube {
        tray.nasogastric_tube();
    }
    reseed(&mut tray);
    if let Some(side) = devices.pacemaker {
        tray.pacemaker(side);
    }
    for electrode in 0..devices.ecg_electrodes {
        reseed(&mut tray);
        tray.electrode(electrode);
    }
}

impl Tray<'_> {
    /// A round wire or tube, `depth` at its axis, in the mask.
    fn wire(&mut self, points: &[(f64, f64)], half_width: f64, depth: f64) {
        let knots: Vec<Knot> = points.iter().map(|&(x, y)| Knot::new(x, y, half_width, depth)).collect();
        let mask = self.layers.masks.get_mut(&Structure::SupportDevices).expect("every structure has a mask");
        let (solid, cols) = (&mut self.layers.solid, self.view.cols);
        band(self.view, &smooth(&knots, 14), |i, d, v| {
            solid.data[i] += v * (1.0 - d * d).sqrt();
            mask.set(i / cols, i % cols, true);
        });
    }

    fn disc(&mut self, centre: (f64, f64), axes: (f64, f64), tilt: f64, depth: f32, rim: f32) {
        let mask = self.layers.masks.get_mut(&Structure::SupportDevices).expect("every structure has a mask");
        let (solid, cols) = (&mut self.layers.solid, self.view.cols);
        // Never thinner than a pixel.
        let least = 0.75 * self.view.spacing;
        ellipse(self.view, centre, (axes.0.max(least), axes.1.max(least)), tilt, |i, rho2, _, _| {
            solid.data[i] += depth * (1.0 - rho2.powi(6)) + rim * rho2.powi(6);
            mask.set(i / cols, i % cols, true);
        });
    }

    fn endotracheal_tube(&mut self) {
        let tip = self.thorax.carina - self.rng.random_range(22.0..55.0) * self.thorax.scale;
        let lean = self.rng.random_range(-2.5..2.5);
        let path: Vec<(f64, f64)> = (0..=6)
            .map(|k| {
                let y = -118.0 + (tip + 118.0) * f64::from(k) / 6.0;
                (trachea_x(self.thorax, y) + lean, y)
            })
            .collect();
        self.wire(&path, 4.8, 3.0);
        let stripe: Vec<(f64, f64)> = path.iter().map(|&(x, y)| (x + 3.4, y)).collect();
        self.wire(&stripe, 0.8, 15.0);
    }

    fn central_line(&mut self, side: Side) {
        let (s, h, sign) = (self.thorax.scale, self.thorax.height, side.sign());
        let border = -f64::from(self.thorax.right.medial.at((0.35 * h) as f32));
        let tip = h * self.rng.random_range(0.36..0.56);
        let mut path = Vec::new();
        if self.rng.random_bool(0.6) {
            // Jugular.
            path.push((sign * 38.0 * s, -118.0));
            path.push((sign * 32.0 * s, -60.0));
            path.push((sign * 26.0 * s, -5.0));
        } else {
            // Subclavian: in under the clavicle, over to the mediastinum.
            path.push((sign * 120.0 * s, 70.0 * s + self.rng.random_range(-10.0..40.0)));
            path.push((sign * 92.0 * s, 24.0 * s));
            path.push((sign * 55.0 * s, 12.0 * s));
        }
        if side == Side::Left {
            path.push((12.0 * s, 0.16 * h));
        }
        path.push((border + 9.0 * s, 0.24 * h));
        path.push((border + 6.0 * s, 0.5 * (0.24 * h + tip)));
        path.push((border + 6.0 * s + self.rng.random_range(-3.0..3.0), tip));
        self.wire(&path, 1.05, 16.0);
    }

    fn nasogastric_tube(&mut self) {
        let (s, h) = (self.thorax.scale, self.thorax.height);
        let dome = self.thorax.left.dome_top;
        let wobble = self.rng.random_range(-4.0..4.0);
        let midline = |y: f64| f64::from(self.thorax.midline.at(y as f32));
        let path = [
            (midline(-118.0) + wobble, -118.0),
            (midline(0.0) + 4.0, 0.0),
            (midline(0.3 * h) + 5.0 + 0.5 * wobble, 0.3 * h),
            (midline(0.6 * h) + 7.0, 0.6 * h),
            (14.0 * s, dome),
            (34.0 * s, dome + 34.0 * s),
            (self.rng.random_range(45.0..75.0) * s, dome + self.rng.random_range(50.0..95.0) * s),
        ];
        self.wire(&path, 2.0, 9.0);
        let stripe: Vec<(f64, f64)> = path.iter().map(|&(x, y)| (x + 0.8, y)).collect();
        self.wire(&stripe, 0.6, 12.0);
    }

    fn pacemaker(&mut self, side: Side) {
        let (s, h, sign) = (self.thorax.scale, self.thorax.height, side.sign());
        let place = (sign * self.rng.random_range(84.0..112.0) * s, self.rng.random_range(48.0..78.0) * s);
        let tilt = self.rng.random_range(-0.5..0.5);
        self.disc(place, (25.0, 20.0), tilt, 95.0, 60.0);
        self.disc((place.0 - sign * 4.0, place.1 - 3.0), (15.0, 11.0), tilt, 60.0, 40.0);
        let heart = self.thorax.heart.centre;
        let half = self.thorax.heart.half;
        let cava = -f64::from(self.thorax.right.medial.at((0.35 * h) as f32)) + 8.0 * s;
        let leads = if self.rng.random_bool(0.6) { 2 } else { 1 };
        for lead in 0..leads {
            let spread = f64::from(lead) * 4.0;
            let tip = if lead == 0 {
                (heart.0 + 0.5 * half.0, heart.1 + 0.62 * half.1)
            } else {
                (heart.0 - 0.5 * half.0, heart.1 - 0.05 * half.1)
            };
            let mut path = vec![
                (place.0 - sign * 18.0, place.1 - 12.0),
                (sign * 62.0 * s, 26.0 * s - spread),
                (sign * 26.0 * s, 0.11 * h - spread),
            ];
            path.push((cava + spread, 0.3 * h));
            path.push((cava + spread * 0.5, 0.52 * h));
            if lead == 0 {
                path.push((heart.0 - 0.35 * half.0, heart.1 + 0.5 * half.1));
            } else {
                path.push((cava + 6.0, heart.1 + 0.25 * half.1));
            }
            path.push(tip);
            self.wire(&path, 1.0, 34.0);
            self.disc(tip, (1.8, 1.8), 0.0, 40.0, 0.0);
        }
    }

    fn electrode(&mut self, index: u8) {
        let (s, h) = (self.thorax.scale, self.thorax.height);
        let (x, y) = match index {
            0 => (-95.0, 0.12),
            1 => (100.0, 0.12),
            2 => (120.0, 0.92),
            3 => (-115.0, 0.95),
            4 => (20.0, 0.6),
            _ => (70.0, 0.75),
        };
        let place = (x * s + self.rng.random_range(-22.0..22.0), y * h + self.rng.random_range(-25.0..25.0));
        self.disc(place, (8.0, 8.0), 0.0, 2.5, 1.0);
        self.disc(place, (2.4, 2.4), 0.0, 70.0, 0.0);
        // The clip, and its wire off the field.
        let side = if self.rng.random_bool(0.5) { 1.0 } else { -1.0 };
        let clip = (place.0 + side * 9.0, place.1 + self.rng.random_range(-6.0..6.0));
        self.wire(&[place, clip], 1.6, 40.0);
        let exit = if self.rng.random_bool(0.7) {
            (side * 330.0, self.rng.random_range(0.0..1.4) * h)
        } else {
            (self.rng.random_range(-160.0..160.0), 480.0)
        };
        let sway = |rng: &mut ChaCha8Rng, t: f64| {
            (
                clip.0 + (exit.0 - clip.0) * t + rng.random_range(-38.0..38.0),
                clip.1 + (exit.1 - clip.1) * t + rng.random_range(-45.0..45.0),
            )
        };
        let (a, b) = (sway(&mut self.rng, 0.33), sway(&mut self.rng, 0.66));
        self.wire(&[clip, a, b, exit], 1.15, 13.0);
    }
}
