//! The cavity: rib cage, domes, mediastinum and heart as implicit functions of the patient's millimetres, from
//! which both the air along a ray and the masks are computed.

use std::f64::consts::TAU;

use rand::Rng;

use super::curve::{Table, bell, monotone, periodic, smoothstep};
use super::findings::Side;
use super::texture::{Stream, stream};
use super::{Anatomy, PhantomParams};

/// Tables reach from above the apices to below the frame.
const TOP: f64 = -120.0;
const BOTTOM: f64 = 520.0;
const STEP: f64 = 0.5;

/// Half of the chest.
#[derive(Clone, Debug)]
pub(super) struct Hemithorax {
    /// −1 on the patient's right (image left), +1 on the left: distances below grow in this direction.
    pub(super) sign: f32,
    /// Inner border of the ribs, mm from the midline, over y.
    pub(super) lateral: Table,
    /// Border of the mediastinum without the heart, mm from the midline, over y.
    pub(super) medial: Table,
    /// Silhouette of the dome, mm, over the distance from the midline.
    pub(super) dome: Table,
    /// Lateral costophrenic angle, mm.
    pub(super) sulcus: f64,
    /// Top of the dome, mm.
    pub(super) dome_top: f64,
}

/// What a ray meets in the cavity.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ray {
    /// Air-holding lung along the ray, mm.
    pub(super) lung: f32,
    /// Whose mask it belongs to.
    pub(super) field: Field,
}

/// The masks of the cavity, which do not overlap.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Field {
    /// Chest wall, mediastinum, abdomen.
    None,
    /// The visible lung of a side.
    Lung(Side),
    /// The cardiac silhouette.
    Heart,
}

/// The cavity of the chest.
#[derive(Clone, Debug)]
pub(super) struct Thorax {
    pub(super) right: Hemithorax,
    pub(super) left: Hemithorax,
    pub(super) heart: Heart,
    /// Midline of spine and mediastinum, mm, over y.
    pub(super) midline: Table,
    /// Depth of lung along a ray in mid-lung, mm, over y.
    depth: Table,
    /// Width of the cage relative to an average adult's: sizes of bones follow it.
    pub(super) scale: f64,
    /// Height of the lung, mm.
    pub(super) height: f64,
    /// Where the trachea divides, mm.
    pub(super) carina: f64,
}

impl Thorax {
    /// The cavity of these parameters.
    pub(super) fn new(params: &PhantomParams) -> Self {
        let a = &params.anatomy;
        let (w, h) = (a.thorax_width, a.lung_height);
        let midline = Table::new(TOP, BOTTOM, STEP, |y| {
            // Bowed above the diaphragm, back to the middle at its ends.
            a.mediastinal_shift * smoothstep(-60.0, 60.0, y) + a.scoliosis * bell((y / h - 0.5) / 0.35)
        });
        let depth = Table::new(TOP, BOTTOM, STEP, |y| {
            let t = y / h;
            a.thorax_depth * (0.34 + 0.5 * smoothstep(0.0, 0.55, t)) * smoothstep(-0.02, 0.09, t)
        });
        Self {
            right: Hemithorax::new(a, params.seed, Side::Right),
            left: Hemithorax::new(a, params.seed, Side::Left),
            heart: Heart::new(a, params.seed),
            midline,
            depth,
            scale: w / 285.0,
            height: h,
            carina: h * 0.33,
        }
    }

    /// One half.
    pub(super) fn side(&self, side: Side) -> &Hemithorax {
        match side {
            Side::Right => &self.right,
            Side::Left => &self.left,
        }
    }

    /// What a ray through (x, y) meets.
    pub(super) fn ray(&self, x: f32, y: f32) -> Ray {
        let side = if x < self.midline.at(y) { Side::Right } else { Side::Left };
        let depth = self.depth.at(y);
        let mut ray = self.side(side).ray(side, x, y, depth);
        let rho = self.heart.rho(x, y);
        if rho < 1.0 {
            let heart = self.heart.thickness * (1.0 - rho * rho * rho).sqrt();
            ray.field = Field::Heart;
            // The heart displaces lung, but for some behind it that thins out towards the spine.
            let t = (((x - self.midline.at(y)).abs() - 8.0) / 55.0).clamp(0.0, 1.0);
            let behind = 0.16 * depth * t * t * (3.0 - 2.0 * t);
            ray.lung = ray.lung.min((0.8 * depth - heart).max(behind));
        }
        ray
    }

    /// A point of a lung field by shares: `across` from the medial to the lateral border, `down` from apex to
    /// dome; the heart is avoided on the left.
    pub(super) fn point(&self, side: Side, across: f64, down: f64) -> (f64, f64) {
        let half = self.side(side);
        let y = half.dome_top * (0.04 + 0.93 * down);
        let lateral = half.lateral.at(y as f32);
        let mut medial = half.medial.at(y as f32);
        // March out of the heart.
        while medial < lateral && self.heart.rho(half.sign * medial, y as f32) < 1.0 {
            medial += 1.0;
        }
        let distance = f64::from(medial) + f64::from(lateral - medial) * (0.04 + 0.92 * across);
        (f64::from(half.sign) * distance, y)
    }
}

impl Hemithorax {
    fn new(a: &Anatomy, seed: u64, side: Side) -> Self {
        let (w, h) = (a.thorax_width, a.lung_height);
        let left = side == Side::Left;
        let mut rng = stream(seed, Stream::Anatomy);
        rng.set_word_pos(if left { 1 << 16 } else { 2 << 16 });
        let mut wobble = |sd: f64| sd * rng.random_range(-1.0..=1.0);

        // Half widths over the thorax width at shares of the height, after strong masks of JSRT and Wingspan.
        let knots: Vec<(f64, f64)> =
            [(0.0, 0.3), (0.1, 0.345), (0.25, 0.415), (0.5, 0.458), (0.75, 0.485), (1.0, 0.5), (1.6, 0.49)]
                .into_iter()
                .map(|(t, v): (f64, f64)| {
                    let upper = 1.0 + (a.upper_width - 1.0) * (1.0 - t).max(0.0);
                    (t * h, w * (v * upper + wobble(0.009)))
                })
                .collect();
        let apex = w * (0.165 + wobble(0.012)) * a.upper_width.sqrt();
        let rounding = h * (0.12 + wobble(0.02));
        // An ellipse quadrant closes both borders at the apex.
        let close = move |y: f64, over: f64| {
            let t = 1.0 - (y / over).clamp(0.0, 1.0);
            (1.0 - t * t).max(0.0).sqrt()
        };
        let lateral =
            Table::new(TOP, BOTTOM, STEP, |y| apex + (monotone(&knots, y) - apex) * close(y, rounding));

        let neck = w * a.mediastinum;
        let bulge = [wobble(1.0), wobble(1.0), wobble(1.0)];
        let inner = |y: f64| {
            let t = y / h;
            // The mediastinum widens downwards, where heart and great vessels lie.
            let base = neck * (0.9 + 0.12 * t) + w * 0.012 * bulge[0] * bell((t - 0.12) / 0.1);
            let shift = a.mediastinal_shift * smoothstep(0.05, 0.35, t) * if left { 1.0 } else { -1.0 };
            let vessels = if left {
                a.aortic_knob * bell((t - 0.22 - 0.015 * bulge[1]) / 0.065)
                    + a.pulmonary_trunk * bell((t - 0.4) / 0.08)
                    + w * 0.022 * smoothstep(0.2, 0.5, t)
            } else {
                w * (0.012 + 0.012 * bulge[1]) * bell((t - 0.24) / 0.14) + w * 0.02 * bell((t - 0.45) / 0.1)
            };
            let cardiophrenic = w * 0.015 * (1.0 + bulge[2]) * smoothstep(0.75, 1.0, t);
            (base + vessels + shift + cardiophrenic).max(4.0)
        };
        let medial_rounding = rounding * 0.85;
        let medial = Table::new(TOP, BOTTOM, STEP, |y| {
            apex - (apex - inner(y).min(apex * 1.6)) * close(y, medial_rounding)
        });

        let drop = if left { a.left_dome_drop } else { 0.0 };
        let dome_top = (h - a.dome_height + drop).max(h * 0.3);
        let sulcus = (h + 0.7 * drop).max(dome_top + 4.0);
        let wall = f64::from(lateral.at(sulcus as f32));
        let position = (a.dome_position + wobble(0.04)) * wall;
        let (lateral_power, medial_power) = (2.3 + wobble(0.5), 2.0 + wobble(0.4));
        let medial_fall = (0.28 + wobble(0.15)) * a.dome_height.min(50.0);
        let hump = [wobble(1.5), rng_phase(seed, left)];
        let dome = Table::new(-20.0, wall + 60.0, STEP, |x| {
            let scallop = hump[0] * (x / 31.0 + hump[1]).sin() * smoothstep(wall, wall - 40.0, x);
            dome_top
                + scallop
                + if x > position {
                    (sulcus - dome_top) * ((x - position) / (wall - position)).powf(lateral_power)
                } else {
                    medial_fall * ((position - x) / position).powf(medial_power)
                }
        });
        let sign = side.sign() as f32;
        Self { sign, lateral, medial, dome, sulcus, dome_top }
    }

    /// How far lateral of the mediastinum's border (0) towards the chest wall (1) a point lies; outside 0 to 1
    /// it is not in this half's cage.
    pub(super) fn share(&self, x: f32, y: f32) -> f32 {
        let (medial, lateral) = (self.medial.at(y), self.lateral.at(y));
        (self.sign * x - medial) / (lateral - medial).max(0.5)
    }

    fn ray(&self, side: Side, x: f32, y: f32, depth: f32) -> Ray {
        const NOTHING: Ray = Ray { lung: 0.0, field: Field::None };
        if y < 0.0 {
            return NOTHING;
        }
        let distance = self.sign * x;
        let share = self.share(x, y);
        if share >= 1.0 {
            return NOTHING;
        }
        let dome = self.dome.at(distance);
        let mut lung = if share >= 0.0 {
            // The cage's cross-section is an ellipse; near the mediastinum the lung is thinner than amid.
            let wall = (1.0 - share.powi(3)).sqrt();
            let hilar = 0.72 + 0.28 * (share * 3.0).min(1.0);
            depth * wall * hilar
        } else {
            // Lung that reaches behind and before the mediastinum.
            depth * 0.1 * (1.0 + share * 1.4).max(0.0).powi(2)
        };
        let below = y - dome;
        if below > 0.0 {
            // The dome falls steeply to the front and far to the back: lung remains in the posterior recess.
            let t = below / 62.0;
            let recess = (share * 3.0).clamp(0.0, 1.0);
            lung *= if t < 1.0 { recess * (0.36 * (1.0 - t.sqrt()) + 0.08 * (1.0 - t)) } else { 0.0 };
        }
        let field = if share >= 0.0 && below < 0.0 { Field::Lung(side) } else { Field::None };
        Ray { lung, field }
    }
}

fn rng_phase(seed: u64, left: bool) -> f64 {
    let mut rng = stream(seed, Stream::Anatomy);
    rng.set_word_pos(if left { 3 << 16 } else { 4 << 16 });
    rng.random_range(0.0..TAU)
}

/// The heart: an outline given as radius over angle, as thick as an ellipsoid.
#[derive(Clone, Debug)]
pub(super) struct Heart {
    /// Centre of the outline, mm.
    pub(super) centre: (f64, f64),
    /// Half extents of the outline, mm.
    pub(super) half: (f64, f64),
    /// Radius over the angle from +x, clockwise, mm.
    radius: Table,
    largest: f32,
    /// Depth at the middle, mm.
    thickness: f32,
}

impl Heart {
    fn new(a: &Anatomy, seed: u64) -> Self {
        let shape = &a.heart;
        let width = shape.cardiothoracic_ratio * a.thorax_width;
        let height = (shape.aspect * width).min(a.lung_height * 0.68);
        let left_end = a.mediastinal_shift + shape.left_share * width;
        let bottom = a.lung_height - a.dome_height + 0.9 * a.left_dome_drop.max(0.0) + shape.sink;
        // Outline in its box: x 0 (right border) to 1 (left border), y 0 (top) to 1 (bottom).
        let lift = 0.24 * shape.apex_lift;
        let tent = shape.tent;
        let mut rng = stream(seed, Stream::Heart);
        let mut j = |v: f64| v + rng.random_range(-0.015..=0.015);
        let outline = [
            (1.0, j(0.83 - lift)),
            (j(0.97), j(0.94 - 0.4 * lift)),
            (j(0.84), j(0.985)),
            (j(0.6), 1.0),
            (j(0.33), j(0.985)),
            (j(0.1), j(0.95)),
            (j(0.025), j(0.84)),
            (0.0, j(0.62)),
            (j(0.05), j(0.38)),
            (j(0.16 + 0.05 * tent), j(0.18)),
            (j(0.28 + 0.05 * tent), j(0.055)),
            (j(0.43), 0.0),
            (j(0.57 - 0.03 * tent), j(0.04 + 0.02 * tent)),
            (j(0.71 - 0.03 * tent), j(0.17 + 0.03 * tent)),
            (j(0.85 - 0.02 * tent), j(0.38)),
            (j(0.955 - 0.01 * tent), j(0.62 - 0.6 * lift)),
        ];
        let centre = (left_end - 0.48 * width, bottom - 0.45 * height);
        let mut knots: Vec<(f64, f64)> = outline
            .iter()
            .map(|&(u, v)| {
                let (x, y) = ((u - 0.52) * width, (v - 0.55) * height);
                (y.atan2(x).rem_euclid(TAU), x.hypot(y))
            })
            .collect();
        knots.sort_by(|p, q| p.0.total_cmp(&q.0));
        let radius = Table::new(0.0, TAU, TAU / 1440.0, |angle| periodic(&knots, TAU, angle));
        let largest = knots.iter().map(|k| k.1).fold(0.0, f64::max) * 1.05;
        Self {
            centre,
            half: (width / 2.0, height / 2.0),
            radius,
            largest: largest as f32,
            thickness: (0.46 * a.thorax_depth + 0.3 * width) as f32,
        }
    }

    /// Distance from the centre over the outline's radius in that direction; below 1 lies the heart.
    pub(super) fn rho(&self, x: f32, y: f32) -> f32 {
        let (dx, dy) = (x - self.centre.0 as f32, y - self.centre.1 as f32);
        let distance2 = dx * dx + dy * dy;
        if distance2 > self.largest * self.largest {
            return 2.0;
        }
        let angle = dy.atan2(dx);
        let angle = if angle < 0.0 { angle + std::f32::consts::TAU } else { angle };
        distance2.sqrt() / self.radius.at(angle)
    }
}
