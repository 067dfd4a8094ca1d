//! From log exposure to 16-bit grey: latitude compression, detail enhancement, window, curve; collimator,
//! marker and blackened corners.

use super::canvas::{Knot, Plane, band, smooth};
use super::detector::Coarse;
use super::findings::Side;
use super::view::View;
use super::{Acquisition, Marker, Tone};

/// Pixels that show nothing of the patient: outside the collimator or blackened.
pub(super) fn hidden(view: View, acquisition: &Acquisition) -> impl Fn(usize, usize) -> bool + use<> {
    let (rows, cols) = (view.rows as f64, view.cols as f64);
    let collimation = acquisition.collimation.clone();
    let redaction = acquisition.redaction;
    let (sin, cos) = collimation.as_ref().map_or(0.0, |c| c.rotation).to_radians().sin_cos();
    move |row, col| {
        let (u, v) = ((col as f64 + 0.5) / cols, (row as f64 + 0.5) / rows);
        let [[left_width, left_height], [right_width, right_height]] = redaction;
        if (u < left_width && v < left_height) || (u > 1.0 - right_width && v < right_height) {
            return true;
        }
        collimation.as_ref().is_some_and(|c| {
            let (dx, dy) = ((u - 0.5) * cols, (v - 0.5) * rows);
            let (u, v) = ((cos * dx + sin * dy) / cols + 0.5, (cos * dy - sin * dx) / rows + 0.5);
            let [left, top, right, bottom] = c.hidden;
            // A side that hides nothing is open beyond the frame too, however the collimator is turned.
            (left > 0.0 && u < left)
                || (top > 0.0 && v < top)
                || (right > 0.0 && u > 1.0 - right)
                || (bottom > 0.0 && v > 1.0 - bottom)
        })
    }
}

/// Grey values 0 to 65 535. `visible` are the pixels of the patient that set the window.
pub(super) fn develop(
    mut signal: Plane,
    body: &Plane,
    view: View,
    acquisition: &Acquisition,
    hidden: impl Fn(usize, usize) -> bool,
) -> Vec<u16> {
    let tone = &acquisition.tone;
    equalize(&mut signal, view, tone);
    let (low, high) = window(&signal, body, tone, &hidden);
    let curve = Curve::new(tone);
    let mut samples: Vec<u16> = signal.data.iter().map(|&p| curve.grey((p - low) / (high - low))).collect();
    let black = curve.grey(0.0);
    for row in 0..view.rows {
        for col in 0..view.cols {
            if hidden(row, col) {
                samples[row * view.cols + col] = black;
            }
        }
    }
    if let Some(marker) = &acquisition.marker {
        stamp(&mut samples, view, marker, black, curve.grey(1.0));
    }
    samples
}

fn equalize(signal: &mut Plane, view: View, tone: &Tone) {
    let share = tone.equalization as f32;
    if share > 0.0 {
        let coarse = Coarse::new(signal, 22.0 / view.spacing, |v| v);
        coarse.apply(signal, |v, base| *v -= share * base);
    }
    let gain = tone.detail as f32;
    if gain > 0.0 {
        let smooth = Coarse::new(signal, tone.detail_scale / view.spacing, |v| v);
        // Bounded, so that the skin line gets no glaring halo.
        smooth.apply(signal, |v, base| *v += gain * (*v - base).clamp(-0.35, 0.35));
    }
}

/// Window ends from percentiles of the visible patient.
fn window(signal: &Plane, body: &Plane, tone: &Tone, hidden: impl Fn(usize, usize) -> bool) -> (f32, f32) {
    let stride = (signal.rows.max(signal.cols) / 200).max(1);
    let mut values = Vec::new();
    for row in (stride / 2..signal.rows).step_by(stride) {
        for col in (stride / 2..signal.cols).step_by(stride) {
            let i = row * signal.cols + col;
            if body.data[i] > 40.0 && !hidden(row, col) {
                values.push(signal.data[i]);
            }
        }
    }
    if values.is_empty() {
        values.extend_from_slice(&signal.data);
    }
    values.sort_by(f32::total_cmp);
    let percentile = |p: f64| values[((values.len() - 1) as f64 * p / 100.0).round() as usize];
    let (low, high) = (percentile(tone.low_percentile), percentile(tone.high_percentile));
    let span = (high - low).max(0.05);
    (low - span * tone.headroom[0] as f32, low + span * (1.0 + tone.headroom[1] as f32))
}

/// The characteristic curve as a table.
struct Curve {
    table: Vec<u16>,
}

impl Curve {
    fn new(tone: &Tone) -> Self {
        let logistic = |v: f64| 1.0 / (1.0 + (-tone.sigmoid * (2.0 * v - 1.0)).exp());
        let (foot, head) = (logistic(0.0), logistic(1.0));
        let [black, white] = tone.levels;
        let table = (0..=4096)
            .map(|i| {
                let v = f64::from(i) / 4096.0;
                let s = if tone.sigmoid > 1e-6 { (logistic(v) - foot) / (head - foot) } else { v };
                ((black + (white - black) * s.powf(tone.gamma)) * 65535.0).round() as u16
            })
            .collect();
        Self { table }
    }

    fn grey(&self, v: f32) -> u16 {
        let at = v.clamp(0.0, 1.0) * 4096.0;
        let i = (at as usize).min(4095);
        let (a, b) = (f32::from(self.table[i]), f32::from(self.table[i + 1]));
        (a + (b - a) * (at - i as f32)).round() as u16
    }
}

/// Writes the marker's letter.
fn stamp(samples: &mut [u16], view: View, marker: &Marker, black: u16, white: u16) {
    let (rows, cols) = (view.rows as f64, view.cols as f64);
    let height = marker.height * rows;
    let x = if marker.side == Side::Right { marker.inset * cols } else { (1.0 - marker.inset) * cols };
    let (left, top) = (x - 0.35 * height, marker.down * rows);
    if marker.boxed {
        let clip = |v: f64, end: usize| (v.round().max(0.0) as usize).min(end);
        for row in clip(top - 0.3 * height, view.rows)..clip(top + 1.3 * height, view.rows) {
            let columns = clip(left - 0.35 * height, view.cols)..clip(left + 1.05 * height, view.cols);
            samples[row * view.cols..][columns].fill(black);
        }
    }
    // Strokes of the letters in a box of 0.7 × 1.
    let strokes: &[&[(f64, f64)]] = match marker.side {
        Side::Right => &[
            &[(0.08, 1.0), (0.08, 0.0)],
            &[(0.0, 0.06), (0.38, 0.06), (0.6, 0.16), (0.6, 0.38), (0.38, 0.5), (0.06, 0.5)],
            &[(0.32, 0.5), (0.68, 1.0)],
        ],
        Side::Left => &[&[(0.08, 0.0), (0.08, 1.0)], &[(0.0, 0.94), (0.62, 0.94)]],
    };
    let plain = Acquisition { field_of_view: rows.max(cols), ..Acquisition::default() };
    let frame = View::new(view.rows, view.cols, &plain, 0.0);
    for stroke in strokes {
        let knots: Vec<Knot> = stroke
            .iter()
            .map(|&(u, v)| {
                let (px, py) = (left + u * height - cols / 2.0, top + v * height - rows / 2.0);
                Knot::new(px, py, 0.075 * height, 1.0)
            })
            .collect();
        let line = if knots.len() > 2 { smooth(&knots, 4) } else { knots };
        band(frame, &line, |i, _, _| samples[i] = white);
    }
}
