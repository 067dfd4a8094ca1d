//! One-dimensional functions of the geometry, tabulated so that a pixel costs one interpolation.

/// A function over an interval, sampled evenly and interpolated linearly; constant outside.
#[derive(Clone, Debug)]
pub(super) struct Table {
    start: f32,
    per_unit: f32,
    values: Vec<f32>,
}

impl Table {
    /// Samples `f` over `from..=to` in steps of at most `step`.
    pub(super) fn new(from: f64, to: f64, step: f64, f: impl Fn(f64) -> f64) -> Self {
        let n = ((to - from) / step).ceil().max(1.0) as usize;
        let values = (0..=n).map(|i| f(from + (to - from) * i as f64 / n as f64) as f32).collect();
        Self { start: from as f32, per_unit: (n as f64 / (to - from)) as f32, values }
    }

    /// The value at `x`.
    pub(super) fn at(&self, x: f32) -> f32 {
        let last = self.values.len() - 1;
        let position = ((x - self.start) * self.per_unit).clamp(0.0, last as f32);
        let i = (position as usize).min(last - 1);
        let t = position - i as f32;
        self.values[i] + (self.values[i + 1] - self.values[i]) * t
    }
}

/// Monotone piecewise cubic through `knots` (x rising), Fritsch–Carlson slopes: it never overshoots a knot.
/// Constant outside.
pub(super) fn monotone(knots: &[(f64, f64)], x: f64) -> f64 {
    let last = knots.len() - 1;
    if x <= knots[0].0 {
        return knots[0].1;
    }
    if x >= knots[last].0 {
        return knots[last].1;
    }
    let i = knots.windows(2).position(|w| x < w[1].0).unwrap_or(last - 1);
    let secant = |k: usize| (knots[k + 1].1 - knots[k].1) / (knots[k + 1].0 - knots[k].0);
    let slope = |k: usize| {
        if k == 0 || k == last {
            return if k == 0 { secant(0) } else { secant(last - 1) };
        }
        let (a, b) = (secant(k - 1), secant(k));
        if a * b <= 0.0 { 0.0 } else { 2.0 * a * b / (a + b) }
    };
    hermite(knots[i], knots[i + 1], slope(i), slope(i + 1), x)
}

/// Periodic version of [`monotone`] with Catmull–Rom slopes, for outlines given as radius over angle.
pub(super) fn periodic(knots: &[(f64, f64)], period: f64, x: f64) -> f64 {
    let n = knots.len() as isize;
    let at = |k: isize| {
        let (a, r) = knots[k.rem_euclid(n) as usize];
        (a + period * k.div_euclid(n) as f64, r)
    };
    let x = knots[0].0 + (x - knots[0].0).rem_euclid(period);
    let i = (0..n).rev().find(|&k| at(k).0 <= x).unwrap_or(0);
    let slope = |k: isize| (at(k + 1).1 - at(k - 1).1) / (at(k + 1).0 - at(k - 1).0);
    hermite(at(i), at(i + 1), slope(i), slope(i + 1), x)
}

fn hermite(a: (f64, f64), b: (f64, f64), slope_a: f64, slope_b: f64, x: f64) -> f64 {
    let h = b.0 - a.0;
    let t = (x - a.0) / h;
    let (t2, t3) = (t * t, t * t * t);
    (2.0 * t3 - 3.0 * t2 + 1.0) * a.1
        + (t3 - 2.0 * t2 + t) * h * slope_a
        + (3.0 * t2 - 2.0 * t3) * b.1
        + (t3 - t2) * h * slope_b
}

/// 0 below `from`, 1 above `to`, a smooth cubic between.
pub(super) fn smoothstep(from: f64, to: f64, x: f64) -> f64 {
    let t = ((x - from) / (to - from)).clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}

/// A bell of height 1 at 0 and 0.37 at ±1.
pub(super) fn bell(x: f64) -> f64 {
    (-x * x).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_reproduces_a_straight_line_and_is_constant_outside() {
        let table = Table::new(-10.0, 10.0, 0.7, |x| 3.0 * x + 1.0);
        for x in [-10.0_f32, -3.3, 0.0, 7.21, 10.0] {
            assert!((table.at(x) - (3.0 * x + 1.0)).abs() < 1e-4, "at {x}");
        }
        assert_eq!(table.at(-99.0), table.at(-10.0));
        assert_eq!(table.at(99.0), table.at(10.0));
    }

    #[test]
    fn curves_pass_their_knots_and_the_monotone_one_never_overshoots() {
        let knots = [(0.0, 0.0), (1.0, 0.1), (2.0, 5.0), (4.0, 5.0)];
        for (x, y) in knots {
            assert!((monotone(&knots, x) - y).abs() < 1e-12);
        }
        assert!((0..=400).all(|i| (0.0..=5.0 + 1e-9).contains(&monotone(&knots, f64::from(i) / 100.0))));
        let ring = [(0.1, 1.0), (1.0, 2.0), (3.0, 1.5)];
        for (x, y) in ring {
            assert!((periodic(&ring, 6.0, x) - y).abs() < 1e-12);
            assert!((periodic(&ring, 6.0, x - 12.0) - y).abs() < 1e-9);
        }
    }
}
