//! Rasterising bands and ellipses, visiting only the pixels they touch.

use super::view::View;

/// A plane of the image, row-major.
#[derive(Clone, Debug)]
pub(super) struct Plane {
    pub(super) rows: usize,
    pub(super) cols: usize,
    pub(super) data: Vec<f32>,
}

impl Plane {
    /// All zero.
    pub(super) fn zeros(rows: usize, cols: usize) -> Self {
        Self { rows, cols, data: vec![0.0; rows * cols] }
    }
}

/// A point on a band's centre line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Knot {
    /// Position, mm.
    pub(super) x: f64,
    /// Position, mm.
    pub(super) y: f64,
    /// Half the band's width here, mm.
    pub(super) half_width: f64,
    /// What the visitor gets here, interpolated between knots.
    pub(super) value: f64,
}

impl Knot {
    /// A knot.
    pub(super) fn new(x: f64, y: f64, half_width: f64, value: f64) -> Self {
        Self { x, y, half_width, value }
    }
}

/// Bands thinner than this many pixels are drawn this wide with less value, so that thin wires neither alias
/// nor vanish.
const MIN_HALF_WIDTH: f64 = 0.75;

/// A smooth band through `knots` (Catmull–Rom, `steps` pieces between two knots).
pub(super) fn smooth(knots: &[Knot], steps: usize) -> Vec<Knot> {
    let Some(&last) = knots.last() else { return Vec::new() };
    let at = |i: isize| knots[i.clamp(0, knots.len() as isize - 1) as usize];
    let mut out = Vec::with_capacity(knots.len() * steps);
    for i in 0..knots.len() as isize - 1 {
        let (p0, p1, p2, p3) = (at(i - 1), at(i), at(i + 1), at(i + 2));
        for s in 0..steps {
            let t = s as f64 / steps as f64;
            let blend = |a: f64, b: f64, c: f64, d: f64| {
                0.5 * (2.0 * b
                    + (c - a) * t
                    + (2.0 * a - 5.0 * b + 4.0 * c - d) * t * t
                    + (3.0 * b - a - 3.0 * c + d) * t * t * t)
            };
            out.push(Knot {
                x: blend(p0.x, p1.x, p2.x, p3.x),
                y: blend(p0.y, p1.y, p2.y, p3.y),
                half_width: p1.half_width + (p2.half_width - p1.half_width) * t,
                value: p1.value + (p2.value - p1.value) * t,
            });
        }
    }
    out.push(last);
    out
}

/// Visits every pixel whose centre lies in the band once: `visit(index, d, value)` with d the distance from the
/// centre line over the half width, −1 to 1 (negative on the left of the direction of travel).
///
/// Pieces meet at the bisectors of their joints, which is exact where the band is narrower than its curvature.
pub(super) fn band(view: View, knots: &[Knot], mut visit: impl FnMut(usize, f32, f32)) {
    let points: Vec<[f64; 4]> = knots
        .iter()
        .map(|k| {
            let (x, y) = view.to_pixel(k.x, k.y);
            let half = (k.half_width / view.spacing).max(1e-6);
            let drawn = half.max(MIN_HALF_WIDTH);
            [x, y, drawn, k.value * half / drawn]
        })
        .collect();
    let directions: Vec<(f64, f64)> =
        points.windows(2).map(|w| unit(w[1][0] - w[0][0], w[1][1] - w[0][1])).collect();
    let tangent = |i: usize| {
        let before = directions[i.saturating_sub(1).min(directions.len() - 1)];
        let after = directions[i.min(directions.len() - 1)];
        unit(before.0 + after.0, before.1 + after.1)
    };
    for i in 0..directions.len() {
        let ([ax, ay, ah, av], [bx, by, bh, bv]) = (points[i], points[i + 1]);
        let (ux, uy) = directions[i];
        let length = ((bx - ax).powi(2) + (by - ay).powi(2)).sqrt();
        if length < 1e-9 {
            continue;
        }
        let (ta, tb) = (tangent(i), tangent(i + 1));
        let reach = ah.max(bh);
        let first_row = (ay.min(by) - reach).floor().max(0.0) as usize;
        let end_row = ((ay.max(by) + reach).ceil().max(0.0) as usize).min(view.rows);
        for row in first_row..end_row {
            let y = row as f64 + 0.5;
            // Where the centre line's strip of width ±reach crosses this row.
            let (mut from, mut to) = (ax.min(bx) - reach, ax.max(bx) + reach);
            if uy.abs() > 1e-3 {
                let centre = ax + (y - ay) * ux / uy;
                from = from.max(centre - reach / uy.abs());
                to = to.min(centre + reach / uy.abs());
            }
            let first = from.floor().max(0.0) as usize;
            let end = (to.ceil().max(0.0) as usize).min(view.cols);
            for col in first..end {
                let x = col as f64 + 0.5;
                let (px, py) = (x - ax, y - ay);
                if px * ta.0 + py * ta.1 < 0.0 || (x - bx) * tb.0 + (y - by) * tb.1 >= 0.0 {
                    continue;
                }
                let t = ((px * ux + py * uy) / length).clamp(0.0, 1.0);
                let half = ah + (bh - ah) * t;
                let d = (py * ux - px * uy) / half;
                if d.abs() < 1.0 {
                    visit(row * view.cols + col, d as f32, (av + (bv - av) * t) as f32);
                }
            }
        }
    }
}

/// Visits every pixel whose centre lies in the ellipse: `visit(index, ρ², x, y)` with ρ² the squared
/// normalised radius, 0 to 1, and the patient's point in mm. `tilt` turns the first axis clockwise, radians.
pub(super) fn ellipse(
    view: View,
    (cx, cy): (f64, f64),
    (a, b): (f64, f64),
    tilt: f64,
    mut visit: impl FnMut(usize, f32, f32, f32),
) {
    let (px, py) = view.to_pixel(cx, cy);
    let reach = a.max(b) / view.spacing + 1.0;
    let rows = clip(py, reach, view.rows);
    let cols = clip(px, reach, view.cols);
    let (sin, cos) = (tilt.sin() as f32, tilt.cos() as f32);
    let (cx, cy, a, b) = (cx as f32, cy as f32, a as f32, b as f32);
    for row in rows {
        let points = view.row(row);
        for col in cols.clone() {
            let (x, y) = points.at(col);
            let (dx, dy) = (x - cx, y - cy);
            let (u, v) = ((dx * cos + dy * sin) / a, (dy * cos - dx * sin) / b);
            let rho2 = u * u + v * v;
            if rho2 < 1.0 {
                visit(row * view.cols + col, rho2, x, y);
            }
        }
    }
}

fn clip(centre: f64, reach: f64, size: usize) -> std::ops::Range<usize> {
    let from = (centre - reach).floor().clamp(0.0, size as f64) as usize;
    from..(centre + reach).ceil().clamp(0.0, size as f64) as usize
}

fn unit(x: f64, y: f64) -> (f64, f64) {
    let length = x.hypot(y).max(1e-12);
    (x / length, y / length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::phantom::Acquisition;

    fn view() -> View {
        View::new(200, 200, &Acquisition { field_of_view: 200.0, ..Acquisition::default() }, 100.0)
    }

    #[test]
    fn a_bent_band_visits_each_of_its_pixels_once() {
        let knots = [(-60.0, 60.0), (-10.0, 80.0), (40.0, 150.0)].map(|(x, y)| Knot::new(x, y, 6.0, 1.0));
        let mut hits = vec![0; 200 * 200];
        band(view(), &smooth(&knots, 12), |i, _, _| hits[i] += 1);
        assert!(hits.iter().all(|&n| n <= 1));
        let length: f64 =
            smooth(&knots, 12).windows(2).map(|w| (w[1].x - w[0].x).hypot(w[1].y - w[0].y)).sum();
        let area = f64::from(hits.iter().sum::<i32>());
        assert!((area / (length * 12.0) - 1.0).abs() < 0.03, "{area} px for {length} mm");
    }

    #[test]
    fn thin_bands_keep_their_mass() {
        let knots = [Knot::new(-60.0, 50.3, 0.2, 1.0), Knot::new(60.0, 90.1, 0.2, 1.0)];
        let mut mass = 0.0;
        band(view(), &knots, |_, _, value| mass += f64::from(value));
        let expected = 120.0_f64.hypot(39.8) * 0.4;
        assert!((mass / expected - 1.0).abs() < 0.1, "{mass} of {expected}");
    }

    #[test]
    fn an_ellipse_has_its_area() {
        let mut area = 0;
        ellipse(view(), (10.0, 90.0), (40.0, 15.0), 0.6, |_, rho2, _, _| {
            assert!(rho2 < 1.0);
            area += 1;
        });
        assert!((f64::from(area) / (std::f64::consts::PI * 600.0) - 1.0).abs() < 0.02);
    }
}
