//! Soft tissue around the cavity: the body's outline, arms, breasts, and the gas in airways and abdomen.

use std::f64::consts::FRAC_PI_2;

use rand::Rng;

use super::Anatomy;
use super::canvas::{Knot, Plane, band, ellipse, smooth};
use super::curve::{Table, monotone, smoothstep};
use super::findings::Side;
use super::texture::{Fractal, Stream, stream};
use super::thorax::Thorax;
use super::view::View;

/// The body along each ray as if solid, mm: trunk, neck, shoulders and upper arms.
pub(super) fn body(view: View, thorax: &Thorax, anatomy: &Anatomy, seed: u64) -> Plane {
    let s = thorax.scale;
    let wall = anatomy.chest_wall;
    let neck = (50.0 + 0.35 * wall) * s;
    let shoulder = f64::from(thorax.left.lateral.at((0.3 * thorax.height) as f32)) + 0.9 * wall + 42.0 * s;
    let rise = anatomy.clavicle_rise;
    let mut arms = Plane::zeros(view.rows, view.cols);
    for sign in [-1.0, 1.0] {
        arm(&mut arms, view, anatomy, sign, (sign * (shoulder - 34.0 * s), 34.0 * s - rise), s, wall);
    }
    let lateral =
        |y: f64| 0.5 * f64::from(thorax.left.lateral.at(y as f32) + thorax.right.lateral.at(y as f32));
    let torso_width = Table::new(-120.0, 520.0, 1.0, |y| {
        let flank = lateral(y.max(60.0)) + wall * (1.0 + 0.5 * smoothstep(150.0, 400.0, y));
        neck + (flank - neck) * smoothstep(-45.0, 70.0, y)
    });
    let torso_depth = Table::new(-120.0, 520.0, 1.0, |y| {
        let chest = anatomy.thorax_depth + 2.0 * wall;
        1.9 * neck + (chest - 1.9 * neck) * smoothstep(-50.0, 110.0, y)
    });
    let slope = [
        (-120.0, neck),
        (-62.0, neck * 1.02),
        (-36.0, 0.48),
        (-14.0, 0.72),
        (6.0, 0.9),
        (30.0, 1.0),
        (62.0, 1.0),
    ]
    .map(|(y, v)| (y * s - rise * 0.6 * smoothstep(-80.0, 0.0, y), if v > 2.0 { v } else { v * shoulder }));
    let shoulder_width = Table::new(-160.0, 520.0, 1.0, |y| monotone(&slope, y));
    let shoulder_depth = Table::new(-160.0, 520.0, 1.0, |y| {
        (108.0 + 0.5 * wall) * s * (1.0 - smoothstep(70.0 * s, 150.0 * s, y))
    });
    let mut rng = stream(seed, Stream::SoftTissue);
    let (corner, extent) = ((-300.0, -160.0), (600.0, 680.0));
    let unevenness = Fractal::new(&mut rng, corner, extent, 60.0, 4, 0.6).bake(corner, extent, 4.0);
    let mut plane = arms;
    for row in 0..view.rows {
        let points = view.row(row);
        for col in 0..view.cols {
            let (x, y) = points.at(col);
            let pixel = &mut plane.data[row * view.cols + col];
            let torso = slab(x / torso_width.at(y), torso_depth.at(y));
            let girdle = slab(x / shoulder_width.at(y), shoulder_depth.at(y));
            // A soft maximum: parts merge without a crease.
            let power = |v: f32| v * v * v * v;
            let whole = (power(torso) + power(girdle) + power(*pixel)).sqrt().sqrt();
            *pixel = if whole > 0.0 { whole * (1.0 + 0.022 * unevenness.at(x, y)) } else { 0.0 };
        }
    }
    plane
}

/// A flattened ellipse of the given depth at `u`, −1 to 1 across.
fn slab(u: f32, depth: f32) -> f32 {
    let u2 = u * u;
    if u2 < 1.0 { depth * (1.0 - u2 * u2.sqrt()).sqrt() } else { 0.0 }
}

fn arm(plane: &mut Plane, view: View, anatomy: &Anatomy, sign: f64, joint: (f64, f64), s: f64, wall: f64) {
    let angle = FRAC_PI_2 - anatomy.arm_abduction.to_radians();
    let knots =
        [(-36.0, 6.0), (-26.0, 24.0), (-8.0, 37.0), (24.0, 45.0), (70.0, 46.0), (160.0, 42.0), (500.0, 38.0)]
            .map(|(t, width): (f64, f64)| {
                let half = (width + 0.35 * wall) * s;
                Knot::new(
                    joint.0 + sign * t * s * angle.cos(),
                    joint.1 + t * s * angle.sin(),
                    half,
                    1.7 * half,
                )
            });
    band(view, &knots, |i, d, depth| {
        plane.data[i] = plane.data[i].max(depth * (1.0 - d * d).sqrt());
    });
}

/// Adds breasts and takes away the gas of trachea, bronchi, stomach and bowel (mm of soft tissue).
pub(super) fn organs(solid: &mut Plane, view: View, thorax: &Thorax, anatomy: &Anatomy, seed: u64) {
    let mut rng = stream(seed, Stream::Abdomen);
    let s = thorax.scale;
    if anatomy.breast > 0.0 {
        let size = (52.0 + 0.45 * anatomy.breast) * s;
        let y = thorax.height * rng.random_range(0.6..0.72);
        for sign in [-1.0, 1.0] {
            let centre = (sign * rng.random_range(80.0..98.0) * s, y + rng.random_range(-6.0..6.0));
            let axes = (size * rng.random_range(1.0..1.15), size);
            let depth = anatomy.breast as f32;
            ellipse(view, centre, axes, 0.0, |i, rho2, _, at_y| {
                // Hangs: full at its lower fold, fading upwards.
                let sag = 0.5 + 0.5 * ((at_y - centre.1 as f32) / size as f32);
                solid.data[i] += 0.7 * depth * (1.0 - rho2).powf(0.7) * sag.clamp(0.0, 1.0);
            });
        }
    }
    airways(solid, view, thorax);
    bowel(solid, view, thorax, anatomy, &mut rng);
}

/// Where the trachea runs, mm: the midline, a little to the right above the carina.
pub(super) fn trachea_x(thorax: &Thorax, y: f64) -> f64 {
    f64::from(thorax.midline.at(y as f32)) - 5.0 * thorax.scale * smoothstep(-20.0, thorax.carina, y)
}

fn airways(solid: &mut Plane, view: View, thorax: &Thorax) {
    let s = thorax.scale;
    let mut pipe = |knots: &[Knot]| {
        band(view, &smooth(knots, 8), |i, d, depth| solid.data[i] -= depth * (1.0 - d * d).sqrt());
    };
    let trachea: Vec<Knot> = (0..=8)
        .map(|k| {
            let y = -115.0 + (thorax.carina + 115.0) * f64::from(k) / 8.0;
            Knot::new(trachea_x(thorax, y), y, 8.6 * s, 15.0 * s * (0.7 + 0.3 * smoothstep(-110.0, -20.0, y)))
        })
        .collect();
    pipe(&trachea);
    let (x, y) = (trachea_x(thorax, thorax.carina), thorax.carina - 3.0);
    for (sign, length, fall) in [(-1.0, 30.0, 30.0), (1.0, 44.0, 26.0)] {
        pipe(&[
            Knot::new(x, y, 6.5 * s, 9.0 * s),
            Knot::new(x + sign * 0.5 * length * s, y + 0.55 * fall * s, 6.0 * s, 7.5 * s),
            Knot::new(x + sign * length * s, y + fall * s, 4.6 * s, 3.0 * s),
        ]);
    }
}

fn bowel(
    solid: &mut Plane,
    view: View,
    thorax: &Thorax,
    anatomy: &Anatomy,
    rng: &mut rand_chacha::ChaCha8Rng,
) {
    let s = thorax.scale;
    let mut bubble = |centre: (f64, f64), axes: (f64, f64), depth: f32, tilt: f64| {
        ellipse(view, centre, axes, tilt, |i, rho2, _, _| solid.data[i] -= depth * (1.0 - rho2).sqrt());
    };
    let left = thorax.side(Side::Left);
    if anatomy.gastric_bubble > 0.0 {
        let r = anatomy.gastric_bubble;
        let x = rng.random_range(0.42..0.62) * f64::from(left.lateral.at(left.sulcus as f32));
        let flat = rng.random_range(0.5..0.95);
        let y = f64::from(left.dome.at(x as f32)) + rng.random_range(5.0..9.0) + r * flat;
        bubble(
            (x, y),
            (r * rng.random_range(1.0..1.5), r * flat),
            (1.15 * r) as f32,
            rng.random_range(-0.3..0.3),
        );
    }
    let loops = (anatomy.bowel_gas * 16.0).round() as usize;
    for _ in 0..loops {
        let x = rng.random_range(-0.75..1.0) * 120.0 * s;
        let y = left.sulcus.max(thorax.right.sulcus) + rng.random_range(5.0..130.0) * s
            - if x > 40.0 { 25.0 } else { 0.0 };
        let r = rng.random_range(6.0..19.0) * s;
        bubble((x, y), (r * rng.random_range(0.9..2.0), r), (0.8 * r) as f32, rng.random_range(-1.5..1.5));
    }
}
