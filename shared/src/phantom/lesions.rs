//! Findings in lung and pleura: each changes what fills the lung and draws its mask from the same function.

use std::f64::consts::TAU;

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::Structure;
use super::canvas::{Knot, band, ellipse, smooth};
use super::curve::smoothstep;
use super::findings::{Effusion, Findings, Nodule, Opacity, PleuralAir};
use super::layers::Layers;
use super::texture::{Fractal, Stream, stream};
use super::thorax::Thorax;
use super::view::View;

/// Draws all findings of lung and pleura.
pub(super) fn draw(layers: &mut Layers, view: View, thorax: &Thorax, findings: &Findings, seed: u64) {
    let mut rng = stream(seed, Stream::GroundGlass);
    for opacity in &findings.ground_glass {
        patch(layers, view, thorax, opacity, false, &mut rng);
    }
    let mut rng = stream(seed, Stream::Consolidation);
    for opacity in &findings.consolidations {
        patch(layers, view, thorax, opacity, true, &mut rng);
    }
    let mut rng = stream(seed, Stream::Nodules);
    for lesion in &findings.nodules {
        nodule(layers, view, thorax, lesion, &mut rng);
    }
    for air in &findings.pneumothoraces {
        pneumothorax(layers, view, thorax, air);
    }
    for effusion in &findings.effusions {
        fluid(layers, view, thorax, effusion);
    }
}

/// An opacity with a cloudy edge; its mask is where more than a tenth of the air is gone.
fn patch(layers: &mut Layers, view: View, thorax: &Thorax, o: &Opacity, dense: bool, rng: &mut ChaCha8Rng) {
    let (cx, cy) = thorax.point(o.side, o.across, o.down);
    let reach = 1.5 * o.radius;
    let (origin, size) = ((cx - reach, cy - reach), (2.0 * reach, 2.0 * reach));
    let edge = Fractal::new(rng, origin, size, (o.radius * 0.7).max(6.0), 4, 0.55);
    let grain = Fractal::new(rng, origin, size, if dense { 9.0 } else { 6.0 }, 3, 0.7);
    let (axes, tilt) = ((reach, reach * rng.random_range(0.7..1.0)), rng.random_range(0.0..TAU));
    let density = o.density as f32;
    let sharpness = if dense { 0.55 } else { 0.8 };
    let sign = o.side.sign() as f32;
    let field = |x: f32, y: f32, rho2: f32| {
        let rho = rho2.sqrt();
        let g = 1.5 * (1.0 - rho) - 0.3 + 0.5 * edge.at(x, y) * rho.sqrt();
        let t = (g / sharpness).clamp(0.0, 1.0);
        let grain = if dense { 0.12 } else { 0.3 } * grain.at(x, y);
        density * (t * t * (3.0 - 2.0 * t) * (1.0 + grain)).clamp(0.0, 1.0)
    };
    let mut hits = Vec::new();
    ellipse(view, (cx, cy), axes, tilt, |i, rho2, x, y| {
        // One lung's disease stays on its side of the midline.
        if sign * (x - thorax.midline.at(y)) > 0.0 {
            let lost = field(x, y, rho2);
            let filled = &mut layers.filling.data[i];
            *filled += lost * (layers.lung.data[i] - *filled).max(0.0);
            if lost > 0.1 * density {
                hits.push(i);
            }
        }
    });
    let cols = view.cols;
    hits.retain(|&i| layers.in_field(o.side, i));
    for i in hits {
        layers.mask(Structure::LungOpacity).set(i / cols, i % cols, true);
        if dense {
            layers.mask(Structure::Consolidation).set(i / cols, i % cols, true);
        }
    }
    if dense {
        bronchogram(layers, view, o, (cx, cy), rng);
    }
}

/// Air in the bronchi of consolidated lung.
fn bronchogram(layers: &mut Layers, view: View, o: &Opacity, (cx, cy): (f64, f64), rng: &mut ChaCha8Rng) {
    let sign = o.side.sign();
    for _ in 0..rng.random_range(2..6) {
        let heading = rng.random_range(-0.4..1.2_f64);
        let length = o.radius * rng.random_range(0.6..1.1);
        let start = (cx - sign * 0.5 * length * heading.cos(), cy - 0.5 * length * heading.sin());
        let knots: Vec<Knot> = (0..4)
            .map(|k| {
                let t = f64::from(k) / 3.0;
                let x = start.0 + sign * t * length * heading.cos();
                let y = start.1 + t * length * heading.sin() + rng.random_range(-3.0..3.0);
                Knot::new(x, y, 1.9 - 0.9 * t, 0.45)
            })
            .collect();
        band(view, &smooth(&knots, 5), |i, d, share| layers.filling.data[i] *= 1.0 - share * (1.0 - d * d));
    }
}

fn nodule(layers: &mut Layers, view: View, thorax: &Thorax, n: &Nodule, rng: &mut ChaCha8Rng) {
    let centre = thorax.point(n.side, n.across, n.down);
    let lobes: [(f64, f64); 3] =
        std::array::from_fn(|k| (rng.random_range(0.0..0.1) / (k + 1) as f64, rng.random_range(0.0..TAU)));
    let radius = n.radius as f32;
    let mut hits = Vec::new();
    // At least a pixel, so that a present nodule has a mask.
    let reach = (1.25 * n.radius).max(0.8 * view.spacing);
    ellipse(view, centre, (reach, reach), 0.0, |i, rho2, x, y| {
        let angle = f64::from(y - centre.1 as f32).atan2(f64::from(x - centre.0 as f32));
        let lobulated =
            1.0 + lobes.iter().zip(2..).map(|((a, p), k)| a * (f64::from(k) * angle + p).cos()).sum::<f64>();
        let edge = (radius * lobulated as f32).max(0.75 * view.spacing as f32);
        let d2 = rho2 * (reach * reach) as f32 / (edge * edge);
        if d2 < 1.0 {
            let chord = 2.0 * radius * (1.0 - d2).sqrt();
            layers.filling.data[i] += chord * n.density.min(1.0) as f32;
            layers.solid.data[i] += chord * (n.density - 1.0).max(0.0) as f32;
            hits.push(i);
        }
    });
    for i in hits {
        if layers.in_field(n.side, i) {
            layers.mask(Structure::LungNodule).set(i / view.cols, i % view.cols, true);
        }
    }
}

/// The collapsed lung is the cage's shape let down from the apex and drawn in from the wall; what lies between
/// is air without vessels, and the pleura itself is a fine line.
fn pneumothorax(layers: &mut Layers, view: View, thorax: &Thorax, p: &PleuralAir) {
    let half = thorax.side(p.side);
    let end = half.sulcus;
    let border = |y: f64| {
        let fade = 1.0 - smoothstep(0.55 * end, 0.97 * end, y);
        let apex = 0.25 * p.lateral_gap * fade;
        f64::from(half.lateral.at((y - p.apical_gap * fade) as f32)) - (p.lateral_gap * fade).max(apex)
    };
    let line = super::curve::Table::new(-10.0, end + 10.0, 0.5, border);
    let gap = p.apical_gap as f32;
    let mut hits = Vec::new();
    for row in 0..view.rows {
        let points = view.row(row);
        for col in 0..view.cols {
            let i = row * view.cols + col;
            if layers.in_field(p.side, i) {
                let (x, y) = points.at(col);
                if y < gap || half.sign * x > line.at(y) {
                    hits.push(i);
                }
            }
        }
    }
    for &i in &hits {
        layers.filling.data[i] = 0.0;
        // Free air is thinner than aerated lung.
        layers.lung.data[i] *= 1.14;
        let (row, col) = (i / view.cols, i % view.cols);
        layers.mask(Structure::Pneumothorax).set(row, col, true);
        for gone in [Structure::LungOpacity, Structure::Consolidation, Structure::LungNodule] {
            layers.mask(gone).set(row, col, false);
        }
    }
    let sign = p.side.sign();
    let pleura: Vec<Knot> = (0..=60)
        .map(|k| {
            let y = p.apical_gap + (0.92 * end - p.apical_gap) * f64::from(k) / 60.0;
            let presence = 1.0 - smoothstep(0.7 * end, 0.92 * end, y);
            Knot::new(sign * f64::from(line.at(y as f32)), y, 0.55, 7.0 * presence)
        })
        .collect();
    let solid = &mut layers.solid;
    band(view, &pleura, |i, d, v| solid.data[i] += v * (1.0 - d * d));
}

/// Fluid up to a meniscus: level in the middle, climbing along the chest wall and a little along the
/// mediastinum. The lung mask ends at it.
fn fluid(layers: &mut Layers, view: View, thorax: &Thorax, e: &Effusion) {
    let half = thorax.side(e.side);
    let level = (half.sulcus * (1.0 - e.height)) as f32 + 0.35 * e.meniscus as f32;
    for row in 0..view.rows {
        let points = view.row(row);
        for col in 0..view.cols {
            let i = row * view.cols + col;
            if layers.lung.data[i] <= 0.0 {
                continue;
            }
            let (x, y) = points.at(col);
            if half.sign * (x - thorax.midline.at(y)) <= 0.0 {
                continue;
            }
            let share = half.share(x, y).clamp(0.0, 1.0);
            let climb = e.meniscus as f32 * (share.powi(4) + 0.25 * (1.0 - share).powi(4));
            let depth = y - (level - climb);
            if depth <= -4.0 {
                continue;
            }
            let t = ((depth + 4.0) / 16.0).min(1.0);
            let filled = &mut layers.filling.data[i];
            *filled = filled.max(0.97 * layers.lung.data[i] * t * (2.0 - t));
            if depth > 0.0 && layers.in_field(e.side, i) {
                layers.mask(e.side.lung()).set(row, col, false);
                layers.mask(Structure::PleuralEffusion).set(row, col, true);
                layers.mask(Structure::Pneumothorax).set(row, col, false);
            }
        }
    }
}
