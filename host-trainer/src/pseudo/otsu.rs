//! From a saliency map to a mask: min–max, Otsu's threshold, outer contours filled.
//!
//! The steps are those of CheXseg (Gadgil et al. 2021) and CheXlocalize; the threshold is N. Otsu, "A threshold
//! selection method from gray-level histograms", IEEE Trans. SMC 9 (1979).

use shared::mask::Mask;

/// Bins of the histogram of a float map.
const BINS: usize = 256;

/// Scales a map to 0..1: (v − min) / (max − min).
///
/// `values` may have any shape and should be finite. A constant map, and one with a value that is not finite,
/// gives all zeros.
pub fn min_max(values: &[f32]) -> Vec<f32> {
    let Some((low, high)) = extremes(values) else { return vec![0.0; values.len()] };
    let range = high - low;
    if low == high || !range.is_finite() {
        return vec![0.0; values.len()];
    }
    values.iter().map(|v| (v - low) / range).collect()
}

/// Otsu's threshold; foreground is what lies above it (`>`).
///
/// The threshold is the centre of the bin, out of 256 equal ones from least to greatest value, after which a cut
/// gives the largest between-class variance w₁·w₂·(μ₁ − μ₂)²; the first of equals. All arithmetic is in f32 and in
/// the order of scikit-image 0.26's `threshold_otsu` on a float32 image, so both give the same bits.
///
/// None for an empty or constant map, for one with a value that is not finite, and where 256 bins cannot be told
/// apart in f32.
pub fn otsu(values: &[f32]) -> Option<f32> {
    let (low, high) = extremes(values)?;
    let range = high - low;
    if low == high || !range.is_finite() {
        return None;
    }
    let step = range / BINS as f32;
    let mut edges: Vec<f32> = (0..=BINS).map(|i| i as f32 * step + low).collect();
    edges[BINS] = high;
    if edges.windows(2).any(|pair| pair[0] >= pair[1]) {
        return None;
    }

    let mut counts = [0.0_f32; BINS];
    for &v in values {
        let mut bin = (((v - low) / range * BINS as f32) as usize).min(BINS - 1);
        // Rounding may put a value next to an edge on its wrong side.
        if v < edges[bin] {
            bin -= 1;
        } else if bin + 1 < BINS && v >= edges[bin + 1] {
            bin += 1;
        }
        counts[bin] += 1.0;
    }
    let centres: Vec<f32> = edges.windows(2).map(|pair| f32::midpoint(pair[0], pair[1])).collect();

    let below = running(counts.iter().copied().zip(centres.iter().copied()));
    let mut above = running(counts.iter().copied().zip(centres.iter().copied()).rev());
    above.reverse();
    let mut best: Option<(f32, f32)> = None;
    for i in 0..BINS - 1 {
        let ((w1, m1), (w2, m2)) = (below[i], above[i + 1]);
        let variance = w1 * w2 * ((m1 - m2) * (m1 - m2));
        if best.is_none_or(|(most, _)| variance > most) {
            best = Some((variance, centres[i]));
        }
    }
    best.map(|(_, threshold)| threshold)
}

/// The mask with holes filled, as `cv2.findContours(RETR_EXTERNAL)` and drawing each contour filled.
///
/// Foreground is 8-connected, so background is 4-connected; a hole is background that does not reach the border.
pub fn fill_outer_contours(mask: &Mask) -> Mask {
    let (rows, cols) = (mask.rows(), mask.cols());
    let mut outside = vec![false; rows * cols];
    let mut open = Vec::new();
    let mut visit = |open: &mut Vec<(usize, usize)>, row: usize, col: usize| {
        let i = row * cols + col;
        if !outside[i] && mask.data()[i] == 0 {
            outside[i] = true;
            open.push((row, col));
        }
    };
    if rows > 0 && cols > 0 {
        for col in 0..cols {
            visit(&mut open, 0, col);
            visit(&mut open, rows - 1, col);
        }
        for row in 0..rows {
            visit(&mut open, row, 0);
            visit(&mut open, row, cols - 1);
        }
    }
    while let Some((row, col)) = open.pop() {
        if row > 0 {
            visit(&mut open, row - 1, col);
        }
        if row + 1 < rows {
            visit(&mut open, row + 1, col);
        }
        if col > 0 {
            visit(&mut open, row, col - 1);
        }
        if col + 1 < cols {
            visit(&mut open, row, col + 1);
        }
    }
    Mask::from_data(rows, cols, outside.into_iter().map(|o| u8::from(!o)).collect())
}

/// The pseudo-mask of a saliency map `[rows × cols]`: [`min_max`], [`otsu`], `>`, [`fill_outer_contours`].
///
/// A map without a threshold (constant, or not finite) gives an empty mask.
///
/// With `compat_paper` the map is cut to 8 bit as it is, without min–max, as the paper's code does; Otsu's threshold
/// then is a grey level. A map in 0..1 becomes 0 but where it is exactly 1, so most such maps give an empty mask, or
/// a mask of their peak alone. Values beyond 0..=255 saturate here; in C their cast is undefined.
///
/// # Panics
/// If `map` does not hold `rows × cols` values.
pub fn pseudo_mask(map: &[f32], rows: usize, cols: usize, compat_paper: bool) -> Mask {
    assert_eq!(map.len(), rows * cols, "a map of {rows} × {cols} needs as many values");
    let cut = if compat_paper {
        let grey: Vec<u8> = map.iter().map(|&v| v as u8).collect();
        otsu_grey(&grey).map(|level| grey.iter().map(|&v| u8::from(v > level)).collect())
    } else {
        let scaled = min_max(map);
        otsu(&scaled).map(|threshold| scaled.iter().map(|&v| u8::from(v > threshold)).collect())
    };
    cut.map_or_else(
        || Mask::empty(rows, cols),
        |data| fill_outer_contours(&Mask::from_data(rows, cols, data)),
    )
}

/// Otsu's threshold of 8-bit values: a bin for every level, and the last level that is background.
fn otsu_grey(values: &[u8]) -> Option<u8> {
    let mut counts = [0_u64; 256];
    values.iter().for_each(|&v| counts[usize::from(v)] += 1);
    let total: u64 = counts.iter().sum();
    let weighted: u64 = counts.iter().zip(0..).map(|(n, level)| n * level).sum();
    let (mut below, mut weighted_below) = (0, 0);
    let mut best: Option<(f64, u8)> = None;
    for (level, n) in (0..=u8::MAX).zip(counts) {
        below += n;
        weighted_below += n * u64::from(level);
        let above = total - below;
        if below == 0 || above == 0 {
            continue;
        }
        let gap = weighted_below as f64 / below as f64 - (weighted - weighted_below) as f64 / above as f64;
        let variance = below as f64 * above as f64 * gap * gap;
        if best.is_none_or(|(most, _)| variance > most) {
            best = Some((variance, level));
        }
    }
    best.map(|(_, level)| level)
}

/// Least and greatest value; none without values or with one that is not finite.
fn extremes(values: &[f32]) -> Option<(f32, f32)> {
    let (&first, rest) = values.split_first()?;
    if values.iter().any(|v| !v.is_finite()) {
        return None;
    }
    Some(rest.iter().fold((first, first), |(low, high), &v| (low.min(v), high.max(v))))
}

/// Number and mean of all values up to each bin, from (count, centre) of the bins.
fn running(bins: impl Iterator<Item = (f32, f32)>) -> Vec<(f32, f32)> {
    let (mut weight, mut sum) = (0.0, 0.0);
    bins.map(|(count, centre)| {
        weight += count;
        sum += count * centre;
        (weight, sum / weight)
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct OtsuCase {
        name: String,
        rows: usize,
        cols: usize,
        values: Vec<f32>,
        threshold_raw: f32,
        threshold_scaled: f32,
        mask: Vec<String>,
        compat_mask: Option<Vec<String>>,
    }

    #[derive(Deserialize)]
    struct ContourCase {
        mask: Vec<String>,
        filled: Vec<String>,
    }

    fn parse<S: AsRef<str>>(rows: &[S]) -> Mask {
        Mask::from_fn(rows.len(), rows[0].as_ref().len(), |r, c| rows[r].as_ref().as_bytes()[c] == b'#')
    }

    #[test]
    fn thresholds_and_masks_are_those_of_scikit_image_and_opencv() {
        let cases: Vec<OtsuCase> =
            serde_json::from_str(include_str!("../../tests/fixtures/otsu.json")).unwrap();
        assert_eq!(cases.len(), 10);
        for case in cases {
            let name = &case.name;
            assert_eq!(otsu(&case.values), Some(case.threshold_raw), "{name}");
            assert_eq!(otsu(&min_max(&case.values)), Some(case.threshold_scaled), "{name}");
            let mask = pseudo_mask(&case.values, case.rows, case.cols, false);
            assert_eq!(mask, parse(&case.mask), "{name}");
            if let Some(expected) = case.compat_mask {
                assert_eq!(pseudo_mask(&case.values, case.rows, case.cols, true), parse(&expected), "{name}");
            }
        }
    }

    #[test]
    fn holes_are_filled_as_opencv_does() {
        let cases: Vec<ContourCase> =
            serde_json::from_str(include_str!("../../tests/fixtures/contours.json")).unwrap();
        for case in &cases {
            assert_eq!(fill_outer_contours(&parse(&case.mask)), parse(&case.filled));
        }
        assert!(cases.iter().any(|case| case.mask != case.filled));
    }

    #[test]
    fn a_diagonal_closes_a_ring_and_what_lies_in_a_hole_stays() {
        let mask = parse(&["..##..", ".#..#.", "#.##.#", ".#..#.", "..##.."]);
        assert_eq!(fill_outer_contours(&mask), parse(&["..##..", ".####.", "######", ".####.", "..##.."]));
        let open = parse(&["#.#", "#.#", "###"]);
        assert_eq!(fill_outer_contours(&open), open);
    }

    #[test]
    fn without_a_spread_there_is_no_threshold_and_no_mask() {
        for values in [vec![], vec![0.4; 6], vec![0.0, f32::NAN], vec![f32::INFINITY, 0.0], vec![-3e38, 3e38]]
        {
            assert_eq!(otsu(&values), None, "{values:?}");
            assert_eq!(min_max(&values), vec![0.0; values.len()], "{values:?}");
            for compat_paper in [false, true] {
                let constant = pseudo_mask(&vec![0.4; values.len()], 1, values.len(), compat_paper);
                assert!(constant.is_empty());
            }
        }
        assert_eq!(otsu(&[1.0, 1.0 + f32::EPSILON]), None, "too narrow for 256 bins");
        assert_eq!(fill_outer_contours(&Mask::empty(0, 5)), Mask::empty(0, 5));
    }

    #[test]
    fn the_papers_code_loses_a_map_in_0_to_1() {
        let map: Vec<f32> = (0..64).map(|i| i as f32 / 200.0 + if i < 40 { 0.0 } else { 0.5 }).collect();
        assert!(pseudo_mask(&map, 8, 8, true).is_empty());
        assert_eq!(pseudo_mask(&map, 8, 8, false).area(), 24);
        let scaled = min_max(&map);
        assert_eq!(pseudo_mask(&scaled, 8, 8, true).area(), 1, "the peak is exactly 1");
    }

    proptest! {
        #[test]
        fn a_threshold_parts_the_map(values in prop::collection::vec(-5f32..5.0, 2..80)) {
            let threshold = otsu(&values);
            prop_assume!(threshold.is_some());
            let threshold = threshold.unwrap();
            prop_assert!(values.iter().any(|&v| v > threshold));
            prop_assert!(values.iter().any(|&v| v <= threshold));
            let scaled = min_max(&values);
            prop_assert!(scaled.iter().all(|v| (0.0..=1.0).contains(v)));
            prop_assert!(scaled.contains(&0.0) && scaled.contains(&1.0));
        }

        #[test]
        fn filling_adds_only_and_is_done_once(cells in prop::collection::vec(any::<bool>(), 9 * 7)) {
            let mask = Mask::from_fn(9, 7, |r, c| cells[r * 7 + c]);
            let filled = fill_outer_contours(&mask);
            prop_assert_eq!(filled.intersection(&mask), mask.area());
            prop_assert_eq!(fill_outer_contours(&filled), filled);
        }
    }
}
