use crate::pixel::{PixelFrame, percentile_stretch, percentiles};
use crate::preprocess::{ResizeFilter, resize_u16};

/// Longer side of the grid that is examined: positions are known to half a per cent, and averaging takes
/// noise, text and wires out of the statistics.
const SIDE: usize = 256;
/// Percentiles of the grey values that become 0 and 1: beyond lie markers and burnt-in text.
const STRETCH: (f32, f32) = (0.5, 99.5);

/// A radiograph as it is examined: small, its grey values stretched to 0..=1.
pub(super) struct Scene {
    pub(super) rows: usize,
    pub(super) cols: usize,
    /// Row-major.
    pub(super) grey: Vec<f32>,
    /// Grey values between the stretch's ends as a share of the display's range.
    pub(super) contrast: f64,
}

impl Scene {
    pub(super) fn new(frame: &PixelFrame) -> Self {
        let (rows, cols) = crate::postprocess::mask_grid(frame.rows(), frame.cols(), SIDE);
        let samples =
            resize_u16(frame.samples(), (frame.rows(), frame.cols()), (rows, cols), ResizeFilter::Box);
        let (low, high) = percentiles(&samples, STRETCH.0, STRETCH.1);
        let grey = percentile_stretch(&samples, STRETCH.0, STRETCH.1);
        Self { rows, cols, grey, contrast: (high - low) as f64 / f64::from(u16::MAX) }
    }

    /// Grey values in a rectangle of shares of the image's sides, 0..=1, at least a pixel.
    pub(super) fn window(&self, x: (f64, f64), y: (f64, f64)) -> impl Iterator<Item = f32> {
        let columns = span(x, self.cols);
        span(y, self.rows).flat_map(move |row| &self.grey[row * self.cols..][columns.clone()]).copied()
    }
}

fn span((from, to): (f64, f64), side: usize) -> std::ops::Range<usize> {
    let at = |share: f64| ((share.clamp(0.0, 1.0) * side as f64) as usize).min(side);
    let from = at(from).min(side - 1);
    from..at(to).max(from + 1)
}

/// The mean, 0 of nothing.
pub(super) fn mean(values: impl Iterator<Item = f32>) -> f64 {
    let (sum, n) = values.fold((0.0, 0_usize), |(sum, n), v| (sum + f64::from(v), n + 1));
    if n == 0 { 0.0 } else { sum / n as f64 }
}

/// The middle value, the upper one of two; none of nothing.
pub(super) fn median(mut values: Vec<f32>) -> Option<f64> {
    if values.is_empty() {
        return None;
    }
    let middle = values.len() / 2;
    let (_, median, _) = values.select_nth_unstable_by(middle, f32::total_cmp);
    Some(f64::from(*median))
}
