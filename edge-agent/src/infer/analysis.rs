use std::sync::Arc;

use jiff::Timestamp;
use shared::PIPELINE_VERSION;
use shared::manifest::ClassSpec;
use shared::mask::{Layer, Mask, Rle, draw_overlay};
use shared::measure::{Measurements, draw_measurements};
use shared::message::{Finding, LatencyMs, ModelRef, QualityNote, ResultEnvelope, SCHEMA, SourceImage};
use shared::pixel::PixelFrame;
use shared::postprocess::{ClassResult, LogitsError, segment};
use shared::preprocess::Letterbox;
use uuid::Uuid;

use crate::engine::EngineOutput;

/// One analysed image.
#[derive(Clone, Debug)]
pub struct Analysis {
    /// The radiograph, perhaps a reduced picture of it.
    pub frame: PixelFrame,
    /// The digest of these pixels.
    pub content: [u8; 32],
    /// Its identity.
    pub image: SourceImage,
    /// When the unit made it.
    pub acquired_at: Option<Timestamp>,
    /// When the network ran.
    pub inferred_at: Timestamp,
    /// Between source pixels and the network's grid.
    pub letterbox: Letterbox,
    /// One for each class, in the manifest's order, on the published grid (longer side at most the manifest's
    /// `mask_max_side`).
    pub results: Vec<ClassResult>,
    /// What the network put out.
    pub logits: EngineOutput,
    /// The classes, in the manifest's order.
    pub classes: Arc<[ClassSpec]>,
    /// The model.
    pub model: ModelRef,
    /// What was measured on the structures.
    pub measurements: Measurements,
    /// What a technician should know.
    pub quality: Vec<QualityNote>,
    /// Where the time went.
    pub latency: LatencyMs,
}

/// What a result says about the agent rather than the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Provenance {
    /// This start of the agent.
    pub boot_id: Uuid,
    /// Counts results of this boot, from 1.
    pub seq: u64,
    /// Whether the device's clock is known to be synchronised.
    pub clock_synced: bool,
}

impl Analysis {
    /// The identity of the result.
    pub fn result_id(&self) -> Uuid {
        self.image.result_id(&self.model.sha256, PIPELINE_VERSION)
    }

    /// Whether the radiograph has more pixels than were decoded.
    pub fn is_reduced(&self) -> bool {
        (self.frame.rows(), self.frame.cols()) != (self.image.rows, self.image.cols)
    }

    /// Makes it the result of other pixels than those that came under the same SOP Instance UID before. `content` is the
    /// digest of all of them that could be decoded.
    pub fn revise(&mut self, content: &[u8; 32]) {
        self.image.revision = Some(content.iter().map(|byte| format!("{byte:02x}")).collect());
        self.quality.push(QualityNote::reused_sop_instance_uid());
    }

    /// As it goes over the wire, not yet sent.
    pub fn to_envelope(&self, provenance: Provenance) -> ResultEnvelope {
        let findings =
            self.classes.iter().zip(&self.results).map(|(class, result)| self.finding(class, result));
        ResultEnvelope {
            schema: SCHEMA,
            result_id: self.result_id(),
            boot_id: provenance.boot_id,
            seq: provenance.seq,
            acquired_at: self.acquired_at,
            inferred_at: self.inferred_at,
            clock_synced: provenance.clock_synced,
            image: self.image.clone(),
            transform: self.letterbox,
            model: self.model.clone(),
            pipeline_version: PIPELINE_VERSION,
            findings: findings.collect(),
            measurements: self.measurements.clone(),
            quality: self.quality.clone(),
            replayed: false,
            latency_ms: self.latency,
        }
    }

    /// The mask of every class at source resolution, in the manifest's order. They are drawn anew from the
    /// logits: finer than an enlarged published mask.
    ///
    /// # Errors
    /// None in practice: the same logits gave [`Analysis::results`].
    pub fn masks_at_source(&self) -> Result<Vec<Mask>, LogitsError> {
        let grid = (self.image.rows, self.image.cols);
        let results = segment(&self.logits.logits()?, &self.letterbox, &self.classes, grid)?;
        Ok(results.into_iter().map(|r| r.mask).collect())
    }

    /// The radiograph with every found class in its colour and the measured widths as lines, longer side at most `max_side` pixels.
    pub fn overlay(&self, max_side: usize) -> image::RgbImage {
        let layers: Vec<Layer<'_>> = self
            .classes
            .iter()
            .zip(&self.results)
            .map(|(class, result)| Layer { mask: &result.mask, color: class.color })
            .collect();
        let mut picture = draw_overlay(&self.frame, &layers, max_side);
        draw_measurements(&mut picture, &self.measurements, (self.image.rows, self.image.cols));
        picture
    }

    fn finding(&self, class: &ClassSpec, result: &ClassResult) -> Finding {
        let mask = &result.mask;
        let (rows, cols) = (self.image.rows as f64, self.image.cols as f64);
        let (down, across) = (rows / mask.rows() as f64, cols / mask.cols() as f64);
        let area_fraction = mask.area() as f64 / (mask.rows() * mask.cols()) as f64;
        let scale = |b: shared::mask::BBox| {
            [b.x as f64 * across, b.y as f64 * down, b.width as f64 * across, b.height as f64 * down]
        };
        Finding {
            code: class.code.clone(),
            label: class.label.clone(),
            score: result.score,
            threshold: class.threshold,
            area_px: (area_fraction * rows * cols).round() as u64,
            area_fraction,
            bbox: mask.bbox().map(scale),
            mask: Rle::encode(mask),
        }
    }
}
