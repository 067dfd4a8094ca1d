//! Fits a result into a packet.

use shared::mask::{BBox, Mask, Rle, rle::RleError};
use shared::message::{Finding, Message, QualityNote, ResultEnvelope};

/// Code of the quality note that says so.
pub const COARSENED: &str = "mask_coarsened";

/// Below this the masks say nothing any more.
const LEAST_SIDE: usize = 16;

/// Why a result does not fit.
#[derive(Debug, thiserror::Error)]
pub enum FitError {
    /// Even the coarsest masks are too many bytes.
    #[error("even with masks of {LEAST_SIDE} pixels the result takes {bytes} bytes, more than {limit}")]
    TooLarge {
        /// Bytes at the coarsest grid.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// A mask of the envelope is damaged.
    #[error("a mask of the result cannot be read: {0}")]
    Mask(#[from] RleError),
}

/// The envelope as JSON of at most `limit` bytes: while it is larger, the grid of its masks is halved, with
/// area and box recomputed and a quality note that says so.
///
/// # Errors
/// [`FitError`].
pub fn fit(mut envelope: ResultEnvelope, limit: usize) -> Result<Vec<u8>, FitError> {
    loop {
        let json = envelope.to_json();
        if json.len() <= limit {
            return Ok(json);
        }
        let side = longest_side(&envelope).div_ceil(2);
        if side < LEAST_SIDE {
            return Err(FitError::TooLarge { bytes: json.len(), limit });
        }
        coarsen(&mut envelope)?;
        envelope.quality.retain(|note| note.code != COARSENED);
        envelope.quality.push(QualityNote {
            code: COARSENED.into(),
            message: format!("masks were reduced to {side} pixels a side to fit the broker's packet limit"),
        });
    }
}

fn longest_side(envelope: &ResultEnvelope) -> usize {
    envelope.findings.iter().flat_map(|f| f.mask.size).max().unwrap_or(0)
}

fn coarsen(envelope: &mut ResultEnvelope) -> Result<(), RleError> {
    let (rows, cols) = (envelope.image.rows as f64, envelope.image.cols as f64);
    for finding in &mut envelope.findings {
        let [height, width] = finding.mask.size;
        let mask = finding.mask.decode()?.resize_nearest(height.div_ceil(2), width.div_ceil(2));
        measure(finding, &mask, rows, cols);
    }
    Ok(())
}

/// Takes over a mask and everything that follows from it.
fn measure(finding: &mut Finding, mask: &Mask, rows: f64, cols: f64) {
    let (down, across) = (rows / mask.rows() as f64, cols / mask.cols() as f64);
    let scale =
        |b: BBox| [b.x as f64 * across, b.y as f64 * down, b.width as f64 * across, b.height as f64 * down];
    finding.area_fraction = mask.area() as f64 / (mask.rows() * mask.cols()).max(1) as f64;
    finding.area_px = (finding.area_fraction * rows * cols).round() as u64;
    finding.bbox = mask.bbox().map(scale);
    finding.mask = Rle::encode(mask);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publisher::tests::envelope;

    #[test]
    fn what_fits_is_left_alone() {
        let envelope = envelope(1);
        let json = envelope.to_json();
        assert_eq!(fit(envelope, json.len()).unwrap(), json);
    }

    #[test]
    fn too_large_is_coarsened_said_and_still_valid() {
        let original = envelope(1);
        let limit = original.to_json().len() * 6 / 10;
        let json = fit(original.clone(), limit).unwrap();
        assert!(json.len() <= limit);
        let coarse = ResultEnvelope::parse(&json).unwrap();
        assert_eq!(coarse.result_id, original.result_id);
        assert_eq!(coarse.quality.iter().filter(|note| note.code == COARSENED).count(), 1);
        let (fine, coarse) = (&original.findings[0], &coarse.findings[0]);
        assert!(coarse.mask.size[0] < fine.mask.size[0]);
        assert!((coarse.area_fraction - fine.area_fraction).abs() < 0.02);
        let fine_mask = fine.mask.decode().unwrap();
        let again = coarse.mask.decode().unwrap().resize_nearest(fine_mask.rows(), fine_mask.cols());
        assert!(again.iou(&fine_mask) > 0.8, "{}", again.iou(&fine_mask));
    }

    #[test]
    fn what_can_never_fit_is_an_error() {
        assert!(matches!(fit(envelope(1), 100), Err(FitError::TooLarge { limit: 100, .. })));
    }
}
