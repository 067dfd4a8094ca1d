//! COCO compressed run-length encoding.
//!
//! Runs alternate background and foreground in column-major order, starting with background (perhaps of
//! length 0). Each run, from the fourth on as the difference to the run two before, is written in groups of
//! five bits, low group first, bit 6 = more follow, sign-extended, offset by 48 into printable ASCII: the
//! `counts` string of pycocotools (`rleToString` in cocoapi's `maskApi.c`).

use serde::{Deserialize, Serialize};

use super::{BBox, Mask, grid::each_run};

/// Most pixels of a mask: four times the largest published grid. Some ten characters can claim any number of
/// pixels, so a hostile code would otherwise decide how much memory decoding takes.
const MAX_PIXELS: usize = 1 << 28;

/// Columns that are turned into rows at a time.
const BLOCK: usize = 32;

/// A compressed mask as COCO JSON holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rle {
    /// `[rows, columns]`.
    pub size: [usize; 2],
    /// Compressed runs, ASCII 48 to 111.
    pub counts: String,
}

/// Why a run-length code is not a mask.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum RleError {
    /// A byte outside the alphabet.
    #[error("byte {byte:#04x} at {position} of the RLE counts is outside '0'..='o'")]
    Alphabet {
        /// The byte.
        byte: u8,
        /// Its place.
        position: usize,
    },
    /// The last group says that more follow.
    #[error("RLE counts end inside a run")]
    Truncated,
    /// A run that is negative or beyond all sense.
    #[error("run {index} of the RLE counts is out of range")]
    Run {
        /// Its index.
        index: usize,
    },
    /// A mask beyond all sense; nothing was allocated for it.
    #[error("RLE mask of {rows} × {cols} pixels exceeds the limit of {MAX_PIXELS} in all")]
    TooLarge {
        /// Rows.
        rows: usize,
        /// Columns.
        cols: usize,
    },
    /// Runs do not fill the mask.
    #[error("RLE runs cover {covered} pixels, but {rows} × {cols} is {}", .rows.saturating_mul(*.cols))]
    Size {
        /// Sum of the runs, up to where they exceeded the size.
        covered: usize,
        /// Rows.
        rows: usize,
        /// Columns.
        cols: usize,
    },
}

impl Rle {
    /// Encodes a mask.
    pub fn encode(mask: &Mask) -> Self {
        Self { size: [mask.rows(), mask.cols()], counts: compress(&runs(mask)) }
    }

    /// From uncompressed runs, background first. Whether they fill `size` is found when the code is decoded.
    pub fn from_runs(size: [usize; 2], runs: &[usize]) -> Self {
        // Longer than any mask, and short enough to subtract.
        let runs: Vec<usize> = runs.iter().map(|&run| run.min(MAX_PIXELS + 1)).collect();
        Self { size, counts: compress(&runs) }
    }

    /// Decodes to a mask. The runs must fill `size` exactly; work and memory are bounded by `size` and the
    /// length of `counts`.
    pub fn decode(&self) -> Result<Mask, RleError> {
        let [rows, cols] = self.size;
        let runs = self.runs()?;
        let mut data = vec![0_u8; rows * cols];
        let (mut row, mut col) = (0, 0);
        for (i, run) in runs.into_iter().enumerate() {
            let mut left = run;
            while left > 0 {
                let step = left.min(rows - row);
                if i % 2 == 1 {
                    for r in row..row + step {
                        data[r * cols + col] = 1;
                    }
                }
                left -= step;
                row += step;
                if row == rows {
                    (row, col) = (0, col + 1);
                }
            }
        }
        Ok(Mask::from_data(rows, cols, data))
    }

    /// Foreground pixels, without decoding.
    pub fn area(&self) -> Result<usize, RleError> {
        Ok(self.runs()?.iter().skip(1).step_by(2).sum())
    }

    /// The uncompressed runs, checked to fill `size`.
    pub fn runs(&self) -> Result<Vec<usize>, RleError> {
        let [rows, cols] = self.size;
        let wrong = |covered| RleError::Size { covered, rows, cols };
        let total = rows.checked_mul(cols).filter(|&n| n <= MAX_PIXELS);
        let total = total.ok_or(RleError::TooLarge { rows, cols })?;
        let mut covered = 0_usize;
        let runs = decompress(&self.counts)?;
        for &run in &runs {
            covered = covered.saturating_add(run);
            if covered > total {
                return Err(wrong(covered));
            }
        }
        if covered == total { Ok(runs) } else { Err(wrong(covered)) }
    }
}

fn runs(mask: &Mask) -> Vec<usize> {
    let (mut runs, mut end) = (Vec::new(), 0);
    each_stroke(mask, |from, to| {
        match runs.last_mut() {
            // It goes on from the foot of one column to the head of the next.
            Some(last) if from == end => *last += to - from,
            _ => runs.extend([from - end, to - from]),
        }
        end = to;
    });
    let total = mask.rows() * mask.cols();
    if end < total || runs.is_empty() {
        runs.push(total - end);
    }
    runs
}

/// Foreground of each column, from a position to before another, both column-major.
fn each_stroke(mask: &Mask, mut stroke: impl FnMut(usize, usize)) {
    let Some(BBox { x, y, width, height }) = mask.bbox() else { return };
    // Columns are turned into rows, as many at a time as stay in the processor's cache.
    let mut turned = vec![0; BLOCK * height];
    for left in (x..x + width).step_by(BLOCK) {
        let block = BLOCK.min(x + width - left);
        let lines = mask.data().chunks_exact(mask.cols()).skip(y).take(height);
        for (r, line) in lines.enumerate() {
            for (c, value) in line[left..left + block].iter().enumerate() {
                turned[c * height + r] = *value;
            }
        }
        for (c, column) in turned.chunks_exact(height).take(block).enumerate() {
            let top = (left + c) * mask.rows() + y;
            each_run(column, |from, to| stroke(top + from, top + to));
        }
    }
}

fn compress(runs: &[usize]) -> String {
    let mut out = String::with_capacity(runs.len() * 2);
    for (i, &run) in runs.iter().enumerate() {
        let mut x = run as i64 - if i > 2 { runs[i - 2] as i64 } else { 0 };
        loop {
            let mut group = (x & 0x1f) as u8;
            x >>= 5;
            let more = if group & 0x10 != 0 { x != -1 } else { x != 0 };
            if more {
                group |= 0x20;
            }
            out.push(char::from(group + 48));
            if !more {
                break;
            }
        }
    }
    out
}

fn decompress(counts: &str) -> Result<Vec<usize>, RleError> {
    let mut runs: Vec<usize> = Vec::new();
    let (mut x, mut shift) = (0_i64, 0_u32);
    for (position, byte) in counts.bytes().enumerate() {
        if !(48..=111).contains(&byte) {
            return Err(RleError::Alphabet { byte, position });
        }
        let group = i64::from(byte - 48);
        // Twelve groups hold 60 bits: more than any image has pixels.
        if shift > 55 {
            return Err(RleError::Run { index: runs.len() });
        }
        x |= (group & 0x1f) << shift;
        shift += 5;
        if group & 0x20 != 0 {
            continue;
        }
        if group & 0x10 != 0 {
            x |= -1 << shift;
        }
        if runs.len() > 2 {
            x = x.saturating_add(runs[runs.len() - 2] as i64);
        }
        runs.push(usize::try_from(x).map_err(|_| RleError::Run { index: runs.len() })?);
        (x, shift) = (0, 0);
    }
    if shift == 0 { Ok(runs) } else { Err(RleError::Truncated) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn masks() -> impl Strategy<Value = Mask> {
        (1_usize..40, 1_usize..40, any::<u64>(), 0.0..1.0_f64).prop_map(|(rows, cols, seed, density)| {
            // A cheap hash, so that shrinking keeps the mask's look.
            Mask::from_fn(rows, cols, |r, c| {
                let h = (seed ^ (r as u64 * 0x9E37_79B9) ^ (c as u64 * 0x85EB_CA6B))
                    .wrapping_mul(0xC2B2_AE3D_27D4_EB4F);
                ((h >> 40) as f64 / (1_u64 << 24) as f64) < density
            })
        })
    }

    proptest! {
        #[test]
        fn decode_inverts_encode(mask in masks()) {
            let rle = Rle::encode(&mask);
            prop_assert_eq!(rle.area().unwrap(), mask.area());
            prop_assert!(rle.runs().unwrap().iter().skip(1).all(|run| *run > 0), "each run is one of another value");
            prop_assert_eq!(&Rle::from_runs(rle.size, &rle.runs().unwrap()), &rle);
            prop_assert_eq!(rle.decode().unwrap(), mask);
        }

        #[test]
        fn any_text_gives_a_mask_or_an_error(rows in 0_usize..50, cols in 0_usize..50, counts in "[0-o]{0,60}|.{0,20}") {
            let rle = Rle { size: [rows, cols], counts };
            if let Ok(mask) = rle.decode() {
                prop_assert_eq!((mask.rows(), mask.cols()), (rows, cols));
            }
        }

        #[test]
        fn runs_are_column_major(rows in 1_usize..20, cols in 1_usize..20, r in 0_usize..20, c in 0_usize..20) {
            let (r, c) = (r % rows, c % cols);
            let rle = Rle::encode(&Mask::from_fn(rows, cols, |y, x| (y, x) == (r, c)));
            prop_assert_eq!(rle.runs().unwrap()[..2].to_vec(), vec![c * rows + r, 1]);
        }
    }

    /// Strings computed with pycocotools 2.0.8 `mask.encode(np.asfortranarray(m))['counts']`; the script is
    /// `tests/python/pycocotools_rle.py`, which the end-to-end tests run anew.
    #[test]
    fn strings_equal_those_of_pycocotools() {
        let golden: Vec<GoldenCase> =
            serde_json::from_str(include_str!("../../golden/pycocotools_rle.json")).unwrap();
        assert!(golden.len() >= 10);
        for case in golden {
            let mask =
                Mask::from_data(case.size[0], case.size[1], case.mask.bytes().map(|b| b - b'0').collect());
            let rle = Rle { size: case.size, counts: case.counts };
            assert_eq!(Rle::encode(&mask), rle, "{}", case.name);
            assert_eq!(rle.decode().unwrap(), mask, "{}", case.name);
        }
    }

    #[derive(Deserialize)]
    struct GoldenCase {
        name: String,
        size: [usize; 2],
        mask: String,
        counts: String,
    }

    #[test]
    fn empty_full_and_single_line_masks_survive() {
        for mask in [
            Mask::empty(7, 5),
            Mask::from_fn(7, 5, |_, _| true),
            Mask::from_fn(1, 9, |_, c| c % 2 == 0),
            Mask::from_fn(9, 1, |r, _| r > 4),
            Mask::from_fn(1, 1, |_, _| true),
        ] {
            assert_eq!(Rle::encode(&mask).decode().unwrap(), mask);
        }
    }

    #[test]
    fn broken_codes_are_named() {
        let decode = |size, counts: &str| Rle { size, counts: counts.into() }.decode().unwrap_err();
        assert_eq!(decode([2, 2], "4 "), RleError::Alphabet { byte: b' ', position: 1 });
        assert_eq!(decode([2, 2], "T"), RleError::Truncated);
        assert_eq!(decode([2, 2], "3"), RleError::Size { covered: 3, rows: 2, cols: 2 });
        assert_eq!(decode([2, 2], "5"), RleError::Size { covered: 5, rows: 2, cols: 2 });
        assert_eq!(decode([2, 2], "O"), RleError::Run { index: 0 });
        assert_eq!(decode([2, 2], "oooooooooooooooooooo"), RleError::Run { index: 0 });
        assert_eq!(decode([usize::MAX, 2], "4"), RleError::TooLarge { rows: usize::MAX, cols: 2 });
        let long = Rle::from_runs([2, 2], &[1, usize::MAX, 0, 0, 3]).decode();
        assert!(matches!(long, Err(RleError::Size { .. })), "{long:?}");
        assert_eq!(decode([1 << 20, 1 << 20], "4"), RleError::TooLarge { rows: 1 << 20, cols: 1 << 20 });
        // Every run is 2^59 longer than the one before the last: their growth must not overflow.
        let growing = "ooooooooooo?".repeat(64);
        assert!(matches!(decode([2, 2], &growing), RleError::Size { .. }));
    }
}
