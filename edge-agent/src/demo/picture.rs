//! From a result to something to look at.

use std::path::PathBuf;

use shared::manifest::ClassSpec;
use shared::mask::{Layer, Mask, Rgb, draw_overlay};
use shared::measure::draw_measurements;
use shared::message::{Finding, ResultEnvelope};

use super::DemoError;
use super::unit::Dropped;
use crate::decode::{DecodeLimits, decode_file};

/// Longer side of a picture on the page.
const SIDE: usize = 1024;

/// Draws results.
pub(super) struct Studio {
    pub(super) out: PathBuf,
    pub(super) classes: Vec<ClassSpec>,
}

/// A result, drawn and measured.
pub(super) struct Drawn {
    /// File names within the output folder.
    pub(super) input: String,
    pub(super) overlay: String,
    pub(super) rows: Vec<Row>,
    pub(super) envelope: ResultEnvelope,
}

/// One class of a result.
pub(super) struct Row {
    pub(super) name: String,
    pub(super) color: Rgb,
    pub(super) finding: Finding,
    /// Overlap with the exact mask, where there is one.
    pub(super) iou: Option<f64>,
}

impl Studio {
    /// Decodes the masks that came over the wire and draws them over the radiograph that was sent.
    pub(super) fn draw(
        &self,
        number: usize,
        sent: &Dropped,
        envelope: ResultEnvelope,
    ) -> Result<Drawn, DemoError> {
        let masks: Vec<Mask> = envelope
            .findings
            .iter()
            .map(|f| f.mask.decode().expect("`ResultEnvelope::parse` checked every mask"))
            .collect();
        let rows: Vec<Row> =
            envelope.findings.iter().zip(&masks).map(|(f, mask)| self.row(f, mask, sent)).collect();
        let (input, overlay) = (format!("{number:04}.input.png"), format!("{number:04}.overlay.png"));
        let frame = decode_file(&sent.path, &DecodeLimits::default())
            .map_err(|e| self.failed(&input, std::io::Error::other(e)))?
            .frame;
        let layers: Vec<Layer<'_>> =
            rows.iter().zip(&masks).map(|(row, mask)| Layer { mask, color: row.color }).collect();
        let mut drawn = draw_overlay(&frame, &layers, SIDE);
        draw_measurements(&mut drawn, &envelope.measurements, (frame.rows(), frame.cols()));
        for (name, picture) in [(&input, draw_overlay(&frame, &[], SIDE)), (&overlay, drawn)] {
            let path = self.out.join(name);
            picture.save(&path).map_err(|e| self.failed(name, std::io::Error::other(e)))?;
        }
        Ok(Drawn { input, overlay, rows, envelope })
    }

    fn row(&self, finding: &Finding, mask: &Mask, sent: &Dropped) -> Row {
        let class = self.classes.iter().find(|class| class.label == finding.label);
        let truth = sent.truth.get(finding.label.as_str());
        Row {
            name: class.map_or_else(|| finding.label.clone(), |class| class.name.clone()),
            color: class.map_or(Rgb([255, 255, 255]), |class| class.color),
            finding: finding.clone(),
            iou: truth.map(|truth| truth.resize_nearest(mask.rows(), mask.cols()).iou(mask)),
        }
    }

    fn failed(&self, name: &str, source: std::io::Error) -> DemoError {
        DemoError::Out { path: self.out.join(name), source }
    }
}
