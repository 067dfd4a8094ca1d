use std::ops::Range;

use crate::graph::Window;

/// Outputs along rows or columns whose windows lose the same taps outside of the image.
#[derive(Debug)]
pub(super) struct Axis {
    pub(super) spans: Vec<(Range<usize>, usize)>,
    /// Of every kind, the taps that are left.
    pub(super) kinds: Vec<Range<usize>>,
}

impl Axis {
    /// All taps everywhere: margins hold what is outside.
    pub(super) fn whole(outputs: usize, taps: usize) -> Self {
        Self { spans: vec![(0..outputs, 0)], kinds: std::iter::once(0..taps).collect() }
    }

    /// Taps outside of the image are left out.
    pub(super) fn cut(window: &Window, side: usize, input: usize, outputs: usize, begin: usize) -> Self {
        let mut axis = Self { spans: Vec::new(), kinds: Vec::new() };
        let dilation = window.dilations[side];
        for output in 0..outputs {
            let start = output * window.strides[side];
            let first = begin.saturating_sub(start).div_ceil(dilation).min(window.kernel[side]);
            let end =
                (input + begin).saturating_sub(start).div_ceil(dilation).clamp(first, window.kernel[side]);
            let kind = axis.kinds.iter().position(|kind| *kind == (first..end)).unwrap_or_else(|| {
                axis.kinds.push(first..end);
                axis.kinds.len() - 1
            });
            match axis.spans.last_mut() {
                Some((span, last)) if *last == kind => span.end = output + 1,
                _ => axis.spans.push((output..output + 1, kind)),
            }
        }
        axis
    }

    /// The kind of an output's window.
    pub(super) fn kind_at(&self, output: usize) -> usize {
        self.spans.iter().find(|(span, _)| span.contains(&output)).map_or(0, |(_, kind)| *kind)
    }
}
