//! Plots of a study. Each is none where there is nothing to draw.

mod budget;
mod curves;
mod fitted;
mod gains;

pub(super) use budget::iou_vs_budget;
pub(super) use curves::curves;
pub(super) use fitted::{reliability, thresholds};
pub(super) use gains::gains;

use plotters::coord::Shift;
use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint, Ranged};
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;

/// Cuts an area into `n` panels, at most `columns` in a row.
fn panels<'a>(
    area: &DrawingArea<SVGBackend<'a>, Shift>,
    n: usize,
    columns: usize,
) -> Vec<DrawingArea<SVGBackend<'a>, Shift>> {
    area.split_evenly((n.div_ceil(columns), columns.min(n)))
}

/// An axis of things that have no size: the `i`th lies at `i`, with a tick of its own, and there is room on both sides.
struct Places {
    n: usize,
    inner: RangedCoordf64,
}

impl Places {
    fn new(n: usize, room: f64) -> Self {
        Self { n, inner: (-room..n.max(1) as f64 - 1.0 + room).into() }
    }
}

impl Ranged for Places {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        self.inner.map(value, limit)
    }

    fn key_points<Hint: KeyPointHint>(&self, _hint: Hint) -> Vec<f64> {
        (0..self.n).map(|i| i as f64).collect()
    }

    fn range(&self) -> std::ops::Range<f64> {
        self.inner.range()
    }
}
