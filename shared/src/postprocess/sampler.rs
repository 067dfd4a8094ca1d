use crate::mask::Mask;
use crate::preprocess::Letterbox;

/// Bilinear interpolation of a plane at the pixel centres of a grid over the source image.
pub(super) struct Sampler {
    plane_cols: usize,
    rows: Vec<Tap>,
    cols: Vec<Tap>,
    spans: Vec<Span>,
}

/// Two neighbours on one axis and the weight of the second.
#[derive(Clone, Copy)]
struct Tap {
    first: usize,
    second: usize,
    weight: f32,
}

/// Columns of the grid, `begin` to before `end`, between the same two columns of the plane.
struct Span {
    first: usize,
    second: usize,
    begin: usize,
    end: usize,
}

impl Sampler {
    pub(super) fn new(letterbox: &Letterbox, plane: (usize, usize), grid: (usize, usize)) -> Self {
        let size = letterbox.input_size as f64;
        let row = |i: usize| {
            let y = (i as f64 + 0.5) * letterbox.source_rows as f64 / grid.0 as f64;
            Tap::at(letterbox.to_model(0.0, y).1 * plane.0 as f64 / size, plane.0)
        };
        let col = |i: usize| {
            let x = (i as f64 + 0.5) * letterbox.source_cols as f64 / grid.1 as f64;
            Tap::at(letterbox.to_model(x, 0.0).0 * plane.1 as f64 / size, plane.1)
        };
        let cols: Vec<Tap> = (0..grid.1).map(col).collect();
        let mut spans: Vec<Span> = Vec::new();
        for (i, &Tap { first, second, .. }) in cols.iter().enumerate() {
            match spans.last_mut() {
                Some(span) if (span.first, span.second) == (first, second) => span.end = i + 1,
                _ => spans.push(Span { first, second, begin: i, end: i + 1 }),
            }
        }
        Self { plane_cols: plane.1, rows: (0..grid.0).map(row).collect(), spans, cols }
    }

    fn line<'p>(&self, plane: &'p [f32], row: usize) -> &'p [f32] {
        &plane[row * self.plane_cols..][..self.plane_cols]
    }

    /// Where the interpolated plane reaches a level. An interpolated value lies between those around it, up to rounding: only
    /// where some reach the level and others do not it is computed.
    pub(super) fn threshold(&self, plane: &[f32], level: f32) -> Mask {
        let mut mask = Mask::empty(self.rows.len(), self.cols.len());
        let reaches: Vec<Option<(usize, usize)>> =
            plane.chunks_exact(self.plane_cols).map(|line| reach(line, level)).collect();
        let mut blended = vec![0.0_f32; self.plane_cols];
        for (i, row) in self.rows.iter().enumerate() {
            let spans = match (reaches[row.first], reaches[row.second]) {
                (None, None) => continue,
                (Some(one), None) | (None, Some(one)) => self.spans_of(one),
                (Some(a), Some(b)) => self.spans_of((a.0.min(b.0), a.1.max(b.1))),
            };
            let (Some(left), Some(right)) = (spans.first(), spans.last()) else { continue };
            let (upper, lower) = (self.line(plane, row.first), self.line(plane, row.second));
            for col in left.first..=right.second {
                blended[col] = upper[col] + (lower[col] - upper[col]) * row.weight;
            }
            let line = mask.row_mut(i);
            for span in spans {
                let (a, b) = (blended[span.first], blended[span.second]);
                match (a >= level, b >= level) {
                    (false, false) => {}
                    (true, true) => line[span.begin..span.end].fill(1),
                    _ => {
                        let cols = &self.cols[span.begin..span.end];
                        for (out, col) in line[span.begin..span.end].iter_mut().zip(cols) {
                            *out = u8::from(a + (b - a) * col.weight >= level);
                        }
                    }
                }
            }
        }
        mask
    }

    /// Those next to the plane's columns from one to another.
    fn spans_of(&self, (left, right): (usize, usize)) -> &[Span] {
        let begin = self.spans.partition_point(|span| span.second < left);
        let end = self.spans.partition_point(|span| span.first <= right);
        &self.spans[begin..end.max(begin)]
    }

    /// The greatest value among the plane's samples that the image touches; padding is left out.
    pub(super) fn greatest(&self, plane: &[f32]) -> f32 {
        let span = |taps: &[Tap]| (taps.first().map_or(0, |t| t.first), taps.last().map_or(0, |t| t.second));
        let ((top, bottom), (left, right)) = (span(&self.rows), span(&self.cols));
        (top..=bottom)
            .flat_map(|row| &self.line(plane, row)[left..=right])
            .copied()
            .fold(f32::NEG_INFINITY, f32::max)
    }
}

/// The first and the last value of a line that reach a level.
fn reach(line: &[f32], level: f32) -> Option<(usize, usize)> {
    let first = line.iter().position(|v| *v >= level)?;
    let last = line.iter().rposition(|v| *v >= level).unwrap_or(first);
    Some((first, last))
}

impl Tap {
    /// At a continuous coordinate with sample centres at half-integers; clamped at the ends.
    fn at(position: f64, samples: usize) -> Self {
        let last = samples - 1;
        let position = (position - 0.5).clamp(0.0, last as f64);
        let first = position.floor() as usize;
        Self { first, second: (first + 1).min(last), weight: (position - first as f64) as f32 }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Differences of the last bit are allowed, but not on the level itself.
        #[test]
        fn a_mask_is_where_each_interpolated_value_reaches_the_level(
            rows in 1_usize..40, cols in 1_usize..40, high in 1_usize..12, wide in 1_usize..12,
            values in proptest::collection::vec(-3_i8..3, 144), level in -2_i8..3,
        ) {
            let boxed = Letterbox::new(rows, cols, 16);
            let plane: Vec<f32> = values[..high * wide].iter().map(|&v| f32::from(v)).collect();
            let level = f32::from(level);
            let sampler = Sampler::new(&boxed, (high, wide), (rows, cols));
            let mask = sampler.threshold(&plane, level);
            for (r, row) in sampler.rows.iter().enumerate() {
                for (c, col) in sampler.cols.iter().enumerate() {
                    let blend = |a: f32, b: f32, weight: f32| a + (b - a) * weight;
                    let down = |col: usize| blend(plane[row.first * wide + col], plane[row.second * wide + col], row.weight);
                    let value = blend(down(col.first), down(col.second), col.weight);
                    let rounded = value != level && (value - level).abs() < 1e-5;
                    prop_assert!(rounded || mask.get(r, c) == (value >= level), "({r}, {c}): {value}");
                }
            }
        }
    }
}
