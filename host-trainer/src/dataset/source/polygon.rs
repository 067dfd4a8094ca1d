//! Polygons to masks, by the two rules that the formats were made with. Which pixels of an outline belong to
//! it is a matter of convention, so each format's own is kept.

use shared::mask::Mask;

/// Fills polygons as Pillow's `ImageDraw.polygon(outline=1, fill=1)`, CheXlocalize's own drawing: vertices are
/// cut to whole pixels, and a row holds what lies between the outline's crossings just above or just below
/// its centre line, ends included. Self-crossing parts follow the even-odd rule.
///
/// Within the outline's own pixels this differs from Pillow where edges meet at a sharp tip.
pub(super) fn fill_pillow(mask: &mut [Vec<u8>], polygon: &[[f64; 2]]) {
    let vertices: Vec<[i64; 2]> = polygon.iter().map(|p| p.map(|v| v as i64)).collect();
    let edges: Vec<_> = vertices.iter().zip(vertices.iter().cycle().skip(1)).collect();
    let heights = || vertices.iter().map(|v| v[1]);
    let (Some(top), Some(bottom)) = (heights().min(), heights().max()) else { return };
    for (y, row) in (0_i64..).zip(mask.iter_mut()).filter(|(y, _)| (top..=bottom).contains(y)) {
        // Rows where an edge ends belong to what lies above and to what lies below.
        for above in [false, true] {
            let crosses = |a: i64, b: i64| {
                let (upper, lower) = (a.min(b), a.max(b));
                if above { upper < y && y <= lower } else { upper <= y && y < lower }
            };
            let mut crossings: Vec<f64> = edges
                .iter()
                .filter(|(a, b)| crosses(a[1], b[1]))
                .map(|(a, b)| a[0] as f64 + (y - a[1]) as f64 * (b[0] - a[0]) as f64 / (b[1] - a[1]) as f64)
                .collect();
            crossings.sort_by(f64::total_cmp);
            for pair in crossings.chunks_exact(2) {
                fill_span(row, (pair[0] + 0.5).floor() as i64, (pair[1] - 0.5).ceil() as i64);
            }
        }
        for (a, b) in edges.iter().filter(|(a, b)| a[1] == y && b[1] == y) {
            fill_span(row, a[0].min(b[0]), a[0].max(b[0]));
        }
    }
}

fn fill_span(row: &mut [u8], first: i64, last: i64) {
    let (first, last) = (first.max(0), last.min(row.len() as i64 - 1));
    if first <= last {
        row[first as usize..=last as usize].fill(1);
    }
}

/// Polygons of one class, filled as Pillow does.
pub(super) fn pillow_mask(rows: usize, cols: usize, polygons: &[Vec<[f64; 2]>]) -> Mask {
    let mut mask = vec![vec![0; cols]; rows];
    for polygon in polygons {
        fill_pillow(&mut mask, polygon);
    }
    Mask::from_data(rows, cols, mask.concat())
}

/// What drawing outlines into one mask may cost, in steps along outlines and filled pixels. A file of a few bytes
/// may ask for hours otherwise; an outline round every single pixel takes a third of it.
pub(super) struct Budget {
    left: u64,
    size: [usize; 2],
}

impl Budget {
    /// For a mask of so many rows and columns.
    pub(super) fn of(rows: usize, cols: usize) -> Self {
        let [r, c] = [rows as u64, cols as u64];
        Self { left: (1 << 22) + 64 * r * c + 4096 * (r + c), size: [rows, cols] }
    }

    fn spend(&mut self, work: u64) -> Result<(), String> {
        let [rows, cols] = self.size;
        self.left = self.left.checked_sub(work).ok_or_else(|| {
            format!(
                "the outlines are too long for an image of {rows} × {cols} pixels; check their coordinates"
            )
        })?;
        Ok(())
    }
}

/// Fills one polygon `[x0, y0, x1, y1, …]` as pycocotools' `frPyObjects` does.
///
/// The outline is walked on a grid five times as fine. Wherever it steps over the middle of a pixel column,
/// the column changes between outside and inside from that height down.
pub(super) fn fill_coco(mask: &mut Mask, polygon: &[f64], budget: &mut Budget) -> Result<(), String> {
    const FINE: f64 = 5.0;
    let (rows, cols) = (mask.rows(), mask.cols());
    let fine = |v: f64| (v * FINE + 0.5) as i64;
    let vertices: Vec<(i64, i64)> = polygon.chunks_exact(2).map(|p| (fine(p[0]), fine(p[1]))).collect();
    let edges = || vertices.iter().zip(vertices.iter().cycle().skip(1));
    let steps = |(a, b): (&(i64, i64), &(i64, i64))| a.0.abs_diff(b.0).max(a.1.abs_diff(b.1)) + 1;
    budget.spend(edges().map(steps).sum())?;
    // Only what the outline touches is kept, not the whole image.
    let mut changes: Vec<(usize, usize)> = Vec::new();
    let mut last = None;
    for (x, y) in edges().flat_map(|(&from, &to)| walk(from, to)) {
        let (x0, y0) = last.replace((x, y)).unwrap_or((x, y));
        let column = (x0.min(x) as f64 + 0.5) / FINE - 0.5;
        if x0 == x || column.fract() != 0.0 || column < 0.0 || column >= cols as f64 {
            continue;
        }
        let height = ((y0.min(y) as f64 + 0.5) / FINE - 0.5).clamp(0.0, rows as f64).ceil();
        changes.push((column as usize, height as usize));
    }
    changes.sort_unstable();
    for pair in changes.chunks(2) {
        // A column that is not left again carries over into the next one, as in the run lengths.
        let (first, end) = (pair[0], pair.get(1).copied().unwrap_or((cols.saturating_sub(1), rows)));
        for c in first.0..=end.0 {
            let from = if c == first.0 { first.1 } else { 0 };
            let to = if c == end.0 { end.1 } else { rows };
            budget.spend(to.saturating_sub(from) as u64)?;
            (from..to).for_each(|r| mask.set(r, c, true));
        }
    }
    Ok(())
}

/// The grid points from `from` to `to`, both included: one for each step along the longer axis.
fn walk(from: (i64, i64), to: (i64, i64)) -> impl Iterator<Item = (i64, i64)> {
    let (dx, dy) = ((to.0 - from.0).abs(), (to.1 - from.1).abs());
    let (flat, steps) = (dx >= dy, dx.max(dy));
    // Rounding is done from the lower end, whichever way the outline runs.
    let turned = if flat { from.0 > to.0 } else { from.1 > to.1 };
    let (low, high) = if turned { (to, from) } else { (from, to) };
    let rise = if flat { high.1 - low.1 } else { high.0 - low.0 };
    let slope = rise as f64 / steps.max(1) as f64;
    (0..=steps).map(move |step| {
        let t = if turned { steps - step } else { step };
        let across = |start: i64| (start as f64 + slope * t as f64 + 0.5) as i64;
        if flat { (low.0 + t, across(low.1)) } else { (across(low.0), low.1 + t) }
    })
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use shared::mask::Rle;

    use super::*;

    /// Written by `tests/python/polygons.py` with Pillow 12.0 and pycocotools 2.0.
    #[derive(Deserialize)]
    struct Case {
        name: String,
        size: [usize; 2],
        polygon: Vec<[f64; 2]>,
        pillow: Rle,
        coco: Rle,
    }

    fn cases() -> Vec<Case> {
        serde_json::from_str::<Fixture>(include_str!("../../../golden/polygons.json")).unwrap().cases
    }

    #[derive(Deserialize)]
    struct Fixture {
        cases: Vec<Case>,
    }

    fn coco_mask(rows: usize, cols: usize, polygon: &[f64]) -> Mask {
        let mut mask = Mask::empty(rows, cols);
        fill_coco(&mut mask, polygon, &mut Budget::of(rows, cols)).unwrap();
        mask
    }

    #[test]
    fn an_outline_that_never_ends_is_refused() {
        let zigzag = [-2e4, 0.0, 2e4, 3.0].repeat(50);
        let mut mask = Mask::empty(5, 6);
        let error = fill_coco(&mut mask, &zigzag, &mut Budget::of(5, 6)).unwrap_err();
        assert!(error.contains("too long for an image of 5 × 6"), "{error}");
    }

    #[test]
    fn coco_polygons_equal_those_of_pycocotools() {
        for case in cases() {
            let [rows, cols] = case.size;
            let mask = coco_mask(rows, cols, &case.polygon.concat());
            assert_eq!(mask, case.coco.decode().unwrap(), "{}", case.name);
        }
    }

    #[test]
    fn chexlocalize_polygons_are_those_of_pillow_but_for_sharp_tips() {
        let (mut differing, mut area) = (0, 0);
        for case in cases() {
            let [rows, cols] = case.size;
            let mask = pillow_mask(rows, cols, std::slice::from_ref(&case.polygon));
            let expected = case.pillow.decode().unwrap();
            let here = mask.union(&expected) - mask.intersection(&expected);
            assert!(here <= 4, "{}: {here} pixels differ", case.name);
            differing += here;
            area += expected.area();
        }
        assert!(differing * 5000 < area, "{differing} of {area} pixels");
    }

    #[test]
    fn points_and_lines_do_not_panic() {
        for polygon in [vec![], vec![[1.0, 1.0]], vec![[0.0, 0.0], [9.0, 9.0]], vec![[-1e4, 3.0], [1e4, 4.0]]]
        {
            assert_eq!(pillow_mask(5, 6, std::slice::from_ref(&polygon)).rows(), 5);
            assert_eq!(coco_mask(5, 6, &polygon.concat()).cols(), 6);
        }
    }
}
