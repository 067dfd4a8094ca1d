//! Pulmonary arteries and veins: trees that branch from the hila and taper to the periphery.

use std::f64::consts::PI;

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::Anatomy;
use super::canvas::{Knot, Plane, band, ellipse, smooth};
use super::findings::Side;
use super::texture::{Stream, stream};
use super::thorax::Thorax;
use super::view::View;

/// Branches end below this radius, mm.
const THINNEST: f64 = 0.28;

/// Adds the blood of both lungs' vessels and hila, mm along the ray.
pub(super) fn draw(filling: &mut Plane, view: View, thorax: &Thorax, anatomy: &Anatomy, seed: u64) {
    if anatomy.vascularity <= 0.0 {
        return;
    }
    let mut rng = stream(seed, Stream::Vessels);
    for side in [Side::Right, Side::Left] {
        let half = thorax.side(side);
        let sign = side.sign();
        let y = thorax.height * if side == Side::Right { 0.43 } else { 0.4 };
        let x = sign * (f64::from(half.medial.at(y as f32)) + 8.0 * thorax.scale);
        let strength = anatomy.vascularity.sqrt();
        hilum(filling, view, (x, y), strength * thorax.scale, &mut rng);
        // From almost straight up, over lateral, to down and medial.
        let trunks = 13;
        for k in 0..trunks {
            let turn = (k as f64 + rng.random_range(-0.3..0.3)) / (trunks - 1) as f64;
            let angle = -0.47 * PI + turn * 0.98 * PI;
            let radius = rng.random_range(1.7..3.5) * strength * thorax.scale;
            let start = (
                x + sign * rng.random_range(-4.0..6.0),
                y + rng.random_range(-16.0..20.0) + 26.0 * (turn - 0.5),
            );
            grow(filling, view, sign, start, angle, radius, 0, thorax.scale, &mut rng);
        }
    }
}

/// The large vessels' shadows at the root of the lung.
fn hilum(filling: &mut Plane, view: View, (x, y): (f64, f64), scale: f64, rng: &mut ChaCha8Rng) {
    for _ in 0..7 {
        let centre = (x + rng.random_range(-9.0..9.0) * scale, y + rng.random_range(-18.0..24.0) * scale);
        let axes = (rng.random_range(5.0..9.0) * scale, rng.random_range(8.0..16.0) * scale);
        let thickness = rng.random_range(4.0..11.0) * scale as f32;
        ellipse(view, centre, axes, rng.random_range(-0.6..0.6), |i, rho2, _, _| {
            filling.data[i] += thickness * (1.0 - rho2);
        });
    }
}

#[expect(clippy::too_many_arguments, reason = "the state of one recursion")]
fn grow(
    filling: &mut Plane,
    view: View,
    sign: f64,
    from: (f64, f64),
    angle: f64,
    radius: f64,
    depth: u32,
    scale: f64,
    rng: &mut ChaCha8Rng,
) {
    if radius < THINNEST || depth > 8 {
        return;
    }
    let length = (rng.random_range(7.0..15.0) + 4.0 * radius) * scale;
    let bend = rng.random_range(-0.5..0.5);
    let end_radius = radius * 0.9;
    let mut knots = Vec::with_capacity(4);
    let (mut x, mut y) = from;
    for k in 0..4 {
        let t = f64::from(k) / 3.0;
        let r = radius + (end_radius - radius) * t;
        // A tube's depth is its width.
        knots.push(Knot::new(x, y, r, 2.0 * r));
        let heading = angle + bend * t;
        x += sign * heading.cos() * length / 3.0;
        y += heading.sin() * length / 3.0;
    }
    let end = knots[3];
    band(view, &smooth(&knots, 4), |i, d, depth| filling.data[i] += 1.25 * depth * (1.0 - d * d).sqrt());
    let spread = rng.random_range(0.25..0.75);
    let share = rng.random_range(0.5..0.75_f64);
    let heading = angle + bend;
    let (thick, thin) =
        (end_radius * share.max(1.0 - share).powf(0.4), end_radius * share.min(1.0 - share).powf(0.5));
    let flip = if rng.random_bool(0.5) { 1.0 } else { -1.0 };
    grow(filling, view, sign, (end.x, end.y), heading - 0.35 * flip * spread, thick, depth + 1, scale, rng);
    grow(filling, view, sign, (end.x, end.y), heading + flip * spread, thin, depth + 1, scale, rng);
}
