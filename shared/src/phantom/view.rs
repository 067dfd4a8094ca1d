//! The projection: patient millimetres to pixels and back.

use super::Acquisition;

/// Maps the detector plane (mm; x to the image's right from the midline, y down from the lung apices) to
/// pixels (centres at +0.5) by scale, rotation and shift.
#[derive(Clone, Copy, Debug)]
pub(super) struct View {
    pub(super) rows: usize,
    pub(super) cols: usize,
    /// Side of a pixel, mm.
    pub(super) spacing: f64,
    sin: f64,
    cos: f64,
    /// The patient's point at the centre of the frame, before the shift.
    centre_y: f64,
    offset: [f64; 2],
}

impl View {
    /// A view whose centre lies `centre_y` mm below the apices.
    pub(super) fn new(rows: usize, cols: usize, acquisition: &Acquisition, centre_y: f64) -> Self {
        let (sin, cos) = acquisition.rotation.to_radians().sin_cos();
        let spacing = acquisition.field_of_view / rows.max(cols) as f64;
        Self { rows, cols, spacing, sin, cos, centre_y, offset: acquisition.offset }
    }

    /// Pixel position of a point of the patient.
    pub(super) fn to_pixel(self, x: f64, y: f64) -> (f64, f64) {
        let y = y - self.centre_y;
        let (u, v) =
            (self.cos * x - self.sin * y + self.offset[0], self.sin * x + self.cos * y + self.offset[1]);
        (u / self.spacing + self.cols as f64 / 2.0, v / self.spacing + self.rows as f64 / 2.0)
    }

    /// The patient's point under a pixel position.
    pub(super) fn to_patient(self, px: f64, py: f64) -> (f64, f64) {
        let u = (px - self.cols as f64 / 2.0) * self.spacing - self.offset[0];
        let v = (py - self.rows as f64 / 2.0) * self.spacing - self.offset[1];
        (self.cos * u + self.sin * v, self.cos * v - self.sin * u + self.centre_y)
    }

    /// The patient's points under the centres of a row of pixels: the first, and the step to the next.
    pub(super) fn row(self, row: usize) -> RowPoints {
        let (x, y) = self.to_patient(0.5, row as f64 + 0.5);
        RowPoints {
            x: x as f32,
            y: y as f32,
            dx: (self.cos * self.spacing) as f32,
            dy: (-self.sin * self.spacing) as f32,
        }
    }
}

/// See [`View::row`].
#[derive(Clone, Copy, Debug)]
pub(super) struct RowPoints {
    x: f32,
    y: f32,
    dx: f32,
    dy: f32,
}

impl RowPoints {
    /// The point under the centre of a column.
    pub(super) fn at(self, col: usize) -> (f32, f32) {
        (self.x + self.dx * col as f32, self.y + self.dy * col as f32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixels_and_millimetres_convert_back_and_forth() {
        let acquisition = Acquisition { rotation: 12.0, offset: [8.0, -5.0], ..Acquisition::default() };
        let view = View::new(300, 200, &acquisition, 130.0);
        for (x, y) in [(0.0, 0.0), (-80.0, 200.0), (33.3, -10.0)] {
            let (px, py) = view.to_pixel(x, y);
            let (bx, by) = view.to_patient(px, py);
            assert!((bx - x).abs() < 1e-9 && (by - y).abs() < 1e-9);
        }
        let (x, y) = view.row(17).at(40);
        let (px, py) = view.to_pixel(f64::from(x), f64::from(y));
        assert!((px - 40.5).abs() < 1e-3 && (py - 17.5).abs() < 1e-3);
    }
}
