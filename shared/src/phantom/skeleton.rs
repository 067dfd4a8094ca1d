//! Spine, ribs, clavicles, shoulder blades and upper arms, as the cortical bone along each ray.
//!
//! Ribs are tubes on the cage's surface: their points run from the spine around the side to the front, and the
//! bone under a pixel grows where the tube turns along the ray, as it does at the lateral chest wall.

use std::f64::consts::{FRAC_PI_2, PI};

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::Anatomy;
use super::canvas::{Knot, Plane, band, ellipse, smooth};
use super::curve::smoothstep;
use super::findings::Side;
use super::texture::{Stream, stream};
use super::thorax::Thorax;
use super::view::View;

/// Draws bone into a plane of soft-tissue equivalents.
struct Skeleton<'a> {
    plane: &'a mut Plane,
    view: View,
    thorax: &'a Thorax,
    anatomy: &'a Anatomy,
    /// Soft-tissue equivalent of 1 mm of this patient's cortical bone, mm.
    weight: f32,
    rng: ChaCha8Rng,
}

/// Adds all bones. `weight`: the soft tissue that attenuates as much as 1 mm of bone does beyond soft tissue.
pub(super) fn draw(
    plane: &mut Plane,
    view: View,
    thorax: &Thorax,
    anatomy: &Anatomy,
    weight: f64,
    seed: u64,
) {
    let weight = (weight * anatomy.bone_density) as f32;
    let rng = stream(seed, Stream::Skeleton);
    let mut skeleton = Skeleton { plane, view, thorax, anatomy, weight, rng };
    skeleton.spine();
    for side in [Side::Right, Side::Left] {
        skeleton.ribs(side);
        skeleton.shoulder(side);
    }
}

impl Skeleton<'_> {
    fn spine(&mut self) {
        let s = self.thorax.scale;
        let (mut y, mut height) = (-110.0, 15.0 * s);
        while y < 480.0 {
            height *= 1.03;
            let middle = y + height / 2.0;
            let x = f64::from(self.thorax.midline.at(middle as f32));
            let half = (11.0 + 8.0 * smoothstep(-60.0, 320.0, middle)) * s;
            let disc = 0.17 * height;
            // Arches and facets run on behind the discs.
            let arches = [y, y + height].map(|end| Knot::new(x, end, 0.92 * half, 1.1 * s));
            let (weight, plane) = (self.weight, &mut *self.plane);
            band(self.view, &arches, |i, d, bone| {
                plane.data[i] += weight * bone * (1.0 - d.abs().powi(10)).sqrt();
            });
            // Waisted body with dense endplates.
            let body = [0.0, 0.12, 0.5, 0.88, 1.0].map(|t: f64| {
                let waist = 1.0 - 0.1 * (PI * t).sin();
                let plate = if (0.05..0.95).contains(&t) { 1.0 } else { 1.2 };
                Knot::new(x, y + disc / 2.0 + t * (height - disc), half * waist, 1.1 * plate * s)
            });
            band(self.view, &smooth(&body, 4), |i, d, bone| {
                let rim = 1.0 + 0.35 * d.abs().powi(6);
                plane.data[i] += weight * bone * rim * (1.0 - d.abs().powi(10)).sqrt();
            });
            // Pedicles and the spinous process.
            for (dx, dy, a, b, bone) in
                [(-0.62, 0.34, 3.2, 4.6, 1.7), (0.62, 0.34, 3.2, 4.6, 1.7), (0.0, 0.72, 2.6, 6.0, 1.6)]
            {
                ellipse(self.view, (x + dx * half, y + dy * height), (a * s, b * s), 0.0, |i, rho2, _, _| {
                    plane.data[i] += weight * bone * (1.0 - rho2).sqrt();
                });
            }
            // Transverse processes.
            for sign in [-1.0, 1.0] {
                let wing = [
                    Knot::new(x + sign * half * 0.7, y + 0.35 * height, 4.0 * s, 1.6),
                    Knot::new(x + sign * (half + 12.0 * s), y + 0.22 * height, 3.4 * s, 1.0),
                ];
                band(self.view, &wing, |i, d, bone| plane.data[i] += weight * bone * (1.0 - d * d).sqrt());
            }
            y += height;
        }
    }

    fn ribs(&mut self, side: Side) {
        let half = self.thorax.side(side);
        let (s, sign, h) = (self.thorax.scale, side.sign(), self.thorax.height);
        let slope = self.anatomy.rib_slope * h / 260.0;
        let spacing = h * 0.0975;
        let depth = self.anatomy.thorax_depth / 2.0;
        for rib in 0..12 {
            let n = f64::from(rib);
            let start = -0.045 * h + spacing * n + self.rng.random_range(-1.5..1.5);
            // Falls by this much up to the front; long ribs most.
            let fall = slope * (56.0 + 98.0 * smoothstep(0.0, 7.0, n));
            let turn = PI * if rib < 7 { 0.85 } else { 0.85 - 0.09 * (n - 6.0) };
            let half_width = (5.0 + 1.4 * smoothstep(0.0, 4.0, n)) * s;
            let jitter = self.rng.random_range(-0.06..0.06);
            let points: Vec<(f64, f64, f64, f64)> = (0..=36)
                .map(|k| {
                    let phi = turn * f64::from(k) / 36.0;
                    let progress = phi / PI;
                    // Nearly level at the back, steep at the side.
                    let y = start - 6.0 * s * smoothstep(0.0, 0.12, progress)
                        + fall * (progress + jitter * progress * (1.0 - progress)).powf(1.18);
                    let x0 = f64::from(self.thorax.midline.at(y as f32)) * (1.0 - progress).max(0.0);
                    let neck = 13.0 * s;
                    let wall = outer(half, y, h) + 3.0 * s;
                    let x = x0 * (1.0 - phi.sin()) + sign * (neck + (wall - neck) * phi.sin().powf(0.82));
                    (x, y, -depth * phi.cos(), phi)
                })
                .collect();
            let knots: Vec<Knot> = (0..points.len())
                .map(|k| {
                    let (a, b) = (points[k.saturating_sub(1)], points[(k + 1).min(points.len() - 1)]);
                    let flat = (b.0 - a.0).hypot(b.1 - a.1);
                    // Along the ray the tube is seen end on.
                    let stretch = (flat.hypot(b.2 - a.2) / flat.max(1e-6)).min(2.6);
                    let (x, y, _, phi) = points[k];
                    // Towards the cartilage ribs flatten and lose mineral.
                    let front = smoothstep(0.55 * turn, turn, phi);
                    // Taller than thick: at the side, where it descends, its narrow edge is seen.
                    let (across, along) =
                        ((b.0 - a.0).abs() / flat.max(1e-6), (b.1 - a.1).abs() / flat.max(1e-6));
                    let seen = half_width * (1.0 + 0.25 * front) * across.hypot(0.5 * along);
                    Knot::new(
                        x,
                        y,
                        seen,
                        stretch * (1.0 - 0.9 * front) * if rib > 7 { 0.65 } else { 1.0 } * s,
                    )
                })
                .collect();
            let (weight, plane) = (self.weight, &mut *self.plane);
            band(self.view, &knots, |i, d, value| plane.data[i] += weight * value * tube(d, 0.84, 2.3, 1.5));
        }
    }

    fn shoulder(&mut self, side: Side) {
        let (s, sign) = (self.thorax.scale, side.sign());
        let half = self.thorax.side(side);
        let shift = self.anatomy.mediastinal_shift;
        let rise = self.anatomy.clavicle_rise + self.rng.random_range(-5.0..5.0);
        let top = 24.0 * s + self.rng.random_range(-6.0..6.0);
        let reach = f64::from(half.lateral.at(60.0)) + 42.0 * s;
        let weight = self.weight;
        // Clavicle: an S from the manubrium to the acromion.
        let clavicle = [
            Knot::new(sign * 14.0 * s + 0.6 * shift, top + 4.0, 9.0 * s, 1.0),
            Knot::new(sign * 30.0 * s + 0.5 * shift, top - 2.0, 6.6 * s, 1.0),
            Knot::new(sign * 0.5 * reach, top - 0.45 * rise - 4.0 * s, 5.4 * s, 1.1),
            Knot::new(sign * 0.78 * reach, top - 0.9 * rise - 6.0 * s, 5.4 * s, 1.1),
            Knot::new(sign * reach, top - rise, 7.4 * s, 0.9),
        ];
        let plane = &mut *self.plane;
        band(self.view, &smooth(&clavicle, 8), |i, d, value| {
            plane.data[i] += weight * value * tube(d, 0.72, 3.6, 2.6);
        });
        // Shoulder blade: a thin plate with thick borders, a spine and the glenoid.
        let inner = f64::from(half.lateral.at(110.0)) + self.anatomy.scapula_clearance;
        let (glenoid, tip) =
            ((sign * (reach - 12.0 * s), top - rise + 26.0 * s), (sign * (inner + 14.0 * s), 168.0 * s));
        let corner = (sign * (inner - 4.0 * s), top + 14.0 * s);
        let centre = ((glenoid.0 + tip.0 + corner.0) / 3.0, (glenoid.1 + tip.1 + corner.1) / 3.0);
        let plate = [
            Knot::new(
                0.5 * (glenoid.0 + corner.0),
                corner.1 - 6.0 * s,
                0.42 * (glenoid.0 - corner.0).abs(),
                1.5,
            ),
            Knot::new(centre.0, centre.1, 0.34 * (glenoid.0 - corner.0).abs(), 1.4),
            Knot::new(tip.0, tip.1, 7.0 * s, 1.5),
        ];
        band(self.view, &smooth(&plate, 12), |i, d, bone| {
            plane.data[i] += weight * bone * (1.0 - d.abs().powi(8));
        });
        for (from, to, width, bone) in [
            (corner, tip, 2.0, 1.5),
            (glenoid, tip, 3.6, 2.4),
            ((corner.0, corner.1 + 22.0 * s), (sign * (reach + 4.0 * s), top - rise - 6.0 * s), 4.6, 3.2),
        ] {
            let bow = ((from.0 + to.0) / 2.0 + sign * 3.0, (from.1 + to.1) / 2.0);
            let edge = [from, bow, to].map(|(x, y)| Knot::new(x, y, width * s, bone));
            band(self.view, &smooth(&edge, 8), |i, d, value| {
                plane.data[i] += weight * value * (1.0 - d * d).sqrt();
            });
        }
        ellipse(self.view, glenoid, (9.0 * s, 17.0 * s), sign * 0.2, |i, rho2, _, _| {
            plane.data[i] += weight * 3.4 * (1.0 - rho2).sqrt();
        });
        self.humerus(sign, glenoid);
    }

    fn humerus(&mut self, sign: f64, glenoid: (f64, f64)) {
        let s = self.thorax.scale;
        let head = (glenoid.0 + sign * 24.0 * s, glenoid.1 - 3.0 * s);
        let angle = FRAC_PI_2 - self.anatomy.arm_abduction.to_radians();
        let along = |t: f64| (head.0 + sign * t * angle.cos(), head.1 + t * angle.sin());
        let (weight, plane) = (self.weight, &mut *self.plane);
        ellipse(self.view, head, (23.0 * s, 24.0 * s), 0.0, |i, rho2, _, _| {
            plane.data[i] += weight * (4.2 * (1.0 - rho2).sqrt() + 1.2 * rho2.powi(8));
        });
        let shaft: Vec<Knot> = [(4.0, 20.0, 0.0), (35.0, 14.0, 0.7), (70.0, 11.5, 1.0), (480.0, 11.5, 1.0)]
            .into_iter()
            .map(|(t, width, bone)| {
                let (x, y) = along(t * s);
                Knot::new(x, y, width * s, bone * s)
            })
            .collect();
        band(self.view, &shaft, |i, d, value| plane.data[i] += weight * value * tube(d, 0.62, 5.0, 2.6));
    }
}

/// The cage's outer half width for ribs: at the apex it stays open, unlike the lung.
fn outer(half: &super::thorax::Hemithorax, y: f64, height: f64) -> f64 {
    let width = f64::from(half.lateral.at(y.max(0.115 * height) as f32));
    let closed = smoothstep(-0.14 * height, 0.14 * height, y);
    width * (0.5 + 0.5 * closed)
}

/// A hollow bone along the ray, mm: cortex down to `inner` of the radius, marrow within. `d` is the distance
/// from the axis over the radius.
fn tube(d: f32, inner: f32, cortex: f32, marrow: f32) -> f32 {
    let whole = (1.0 - d * d).max(0.0).sqrt();
    let hollow = (inner * inner - d * d).max(0.0).sqrt();
    cortex * (whole - hollow) / (1.0 - inner * inner).sqrt() + marrow * hollow
}
