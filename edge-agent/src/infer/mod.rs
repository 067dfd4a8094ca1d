//! The analysis of one image: decode → preprocess → engine → postprocess → result.
//!
//! `infer`, the daemon, the demo and the golden check all go this way and no other.

mod analysis;

use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use shared::anatomy::AnatomySpec;
use shared::bundle::{Bundle, Signature};
use shared::manifest::ClassSpec;
use shared::measure::{Measurements, MeasurementsSpec};
use shared::message::{LatencyMs, ModelRef, QualityNote};
use shared::postprocess::{ClassResult, LogitsError, mask_grid, segment};
use shared::preprocess::{Letterbox, PreprocessSpec, letterbox_reduced};
use shared::quality::{self, QualitySpec};

pub use analysis::{Analysis, Provenance};

use crate::decode::{DecodeError, DecodeLimits, Decoded, Detail, decode_bytes, decode_bytes_at};
use crate::engine::{Engine, EngineError, EngineOutput, Lowering, TractEngine};
use crate::meanwhile::meanwhile;

/// Owns the engine and everything of the manifest that an analysis needs. One worker thread owns it.
pub struct Analyzer {
    engine: Box<dyn Engine>,
    preprocess: PreprocessSpec,
    classes: Arc<[ClassSpec]>,
    mask_max_side: usize,
    anatomy: AnatomySpec,
    measurements: MeasurementsSpec,
    quality: QualitySpec,
    model: ModelRef,
    signature: Option<Signature>,
    options: AnalyzerOptions,
}

/// What is not the model's but the device's.
#[derive(Clone, Copy, Debug, Default)]
pub struct AnalyzerOptions {
    /// Bounds on the image.
    pub limits: DecodeLimits,
}

/// Why an image has no result.
#[derive(Debug, thiserror::Error)]
pub enum AnalyzeError {
    /// The image.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The network.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// Its output.
    #[error(transparent)]
    Logits(#[from] LogitsError),
}

impl AnalyzeError {
    /// A short stable name of the kind, for tables, logs and counters.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Decode(error) => error.code(),
            Self::Engine(_) => "engine_failed",
            Self::Logits(_) => "model_damaged",
        }
    }

    /// Whether the image is at fault, so that it will fail again with any model.
    pub fn is_about_image(&self) -> bool {
        matches!(self, Self::Decode(_))
    }
}

/// What was seen on a radiograph, as in [`Analysis`].
struct Seen {
    inferred_at: Timestamp,
    letterbox: Letterbox,
    results: Vec<ClassResult>,
    logits: EngineOutput,
    measurements: Measurements,
    quality: Vec<QualityNote>,
    latency: LatencyMs,
}

impl Analyzer {
    /// Around an engine that already holds the bundle's graph.
    pub fn open(bundle: &Bundle, engine: Box<dyn Engine>, options: AnalyzerOptions) -> Self {
        let manifest = bundle.manifest();
        Self {
            engine,
            preprocess: manifest.preprocess.clone(),
            classes: manifest.classes.clone().into(),
            mask_max_side: manifest.postprocess.mask_max_side,
            anatomy: manifest.anatomy.clone(),
            measurements: manifest.measurements.clone(),
            quality: manifest.quality.clone(),
            model: ModelRef {
                name: manifest.name.clone(),
                version: manifest.version.clone(),
                sha256: manifest.graph.sha256.clone(),
                quantization: manifest.graph.quantization,
            },
            signature: bundle.signature().cloned(),
            options,
        }
    }

    /// With tract, on `threads` threads.
    ///
    /// # Errors
    /// [`EngineError`] if the graph does not load or does not fit the manifest.
    pub fn with_tract(
        bundle: &Bundle,
        threads: usize,
        options: AnalyzerOptions,
    ) -> Result<Self, EngineError> {
        Ok(Self::open(bundle, Box::new(TractEngine::load(bundle, threads)?), options))
    }

    /// Analyses a file's content, decoded with as much detail as the network can make use of.
    ///
    /// # Errors
    /// [`AnalyzeError`].
    pub fn analyze(&mut self, bytes: &[u8]) -> Result<Analysis, AnalyzeError> {
        let clock = Instant::now();
        let detail = Detail::AtLeast(self.preprocess.sufficient_side());
        let decoded = decode_bytes_at(detail, bytes, &self.options.limits)?;
        self.analyze_decoded(decoded, milliseconds(clock))
    }

    /// Analyses an image that was decoded in `decode_ms` milliseconds.
    ///
    /// # Errors
    /// [`AnalyzeError`], but never [`AnalyzeError::Decode`].
    pub fn analyze_decoded(&mut self, decoded: Decoded, decode_ms: f64) -> Result<Analysis, AnalyzeError> {
        let (content, seen) = meanwhile(|| decoded.frame.sha256(), || self.look(&decoded, decode_ms));
        let Decoded { frame, image, acquired_at, .. } = decoded;
        let Seen { inferred_at, letterbox, results, logits, measurements, quality, latency } = seen?;
        Ok(Analysis {
            frame,
            content,
            image,
            acquired_at,
            inferred_at,
            letterbox,
            results,
            logits,
            classes: Arc::clone(&self.classes),
            model: self.model.clone(),
            measurements,
            quality,
            latency,
        })
    }

    /// The digest of a file's content as [`Analysis::content`] is, but of every pixel.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn full_content(&self, bytes: &[u8]) -> Result<[u8; 32], DecodeError> {
        Ok(decode_bytes(bytes, &self.options.limits)?.frame.sha256())
    }

    fn look(&mut self, decoded: &Decoded, decode_ms: f64) -> Result<Seen, AnalyzeError> {
        let Decoded { frame, step, image, .. } = decoded;
        let size = (image.rows, image.cols);
        let clock = Instant::now();
        let boxed = letterbox_reduced(frame, size, *step, &self.preprocess);
        let input = boxed.normalize(&self.preprocess);
        let preprocess = milliseconds(clock);

        let inferred_at = Timestamp::now();
        let clock = Instant::now();
        let logits = self.engine.run(&input)?;
        let infer = milliseconds(clock);

        let clock = Instant::now();
        let grid = mask_grid(size.0, size.1, self.mask_max_side);
        let results = segment(&logits.logits()?, &boxed.letterbox, &self.classes, grid)?;
        let structures = self.anatomy.among(&self.classes, &results);
        let measurements = self.measurements.measure(&structures, size);
        let codes = quality::examine(frame, &results, &structures, &self.quality);
        let quality = codes.into_iter().map(QualityNote::from).collect();
        let latency = LatencyMs { decode: decode_ms, preprocess, infer, postprocess: milliseconds(clock) };
        let letterbox = boxed.letterbox;
        Ok(Seen { inferred_at, letterbox, results, logits, measurements, quality, latency })
    }

    /// The classes, in the manifest's order.
    pub fn classes(&self) -> &[ClassSpec] {
        &self.classes
    }

    /// What is known of the model's maker; none if nobody asked.
    pub fn signature(&self) -> Option<&Signature> {
        self.signature.as_ref()
    }

    /// The model as results name it.
    pub fn model(&self) -> &ModelRef {
        &self.model
    }

    /// The engine's name and settings, for people.
    pub fn engine(&self) -> String {
        self.engine.describe()
    }

    /// What became of the graph's nodes, if the engine lowers graphs.
    pub fn lowering(&self) -> Option<&Lowering> {
        self.engine.lowering()
    }
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use shared::mask::Mask;
    use shared::measure::CardiothoracicSpec;
    use shared::message::{Message, ResultEnvelope};
    use shared::pixel::PixelFrame;
    use uuid::Uuid;

    use super::*;
    use crate::decode::fixtures::PHANTOM;
    use crate::specimen::dicom_file;
    use crate::testing::{disc, write_bundle};

    fn analyzer() -> Analyzer {
        let dir = tempfile::tempdir().unwrap();
        Analyzer::with_tract(&write_bundle(dir.path()).unwrap(), 1, AnalyzerOptions::default()).unwrap()
    }

    fn provenance() -> Provenance {
        Provenance { boot_id: Uuid::from_u128(7), seq: 3, clock_synced: false }
    }

    #[test]
    fn the_envelope_is_valid_and_says_where_the_disc_is() {
        let file = dicom_file(&disc(), &"1.2.840.5".parse().unwrap());
        let analysis = analyzer().analyze(&file).unwrap();
        let envelope = analysis.to_envelope(provenance());
        let parsed = ResultEnvelope::parse(&envelope.to_json()).unwrap();
        assert_eq!(parsed.image.sop_instance_uid.as_str(), "1.2.840.5");
        assert_eq!((parsed.seq, parsed.boot_id, parsed.replayed), (3, Uuid::from_u128(7), false));
        let bright = &parsed.findings[0];
        // A disc of radius 30 about (70.5, 40.5).
        let area = std::f64::consts::PI * 900.0;
        assert!((bright.area_px as f64 - area).abs() < 0.05 * area, "{}", bright.area_px);
        let [x, y, width, height] = bright.bbox.unwrap();
        for (found, expected) in [(x, 41.0), (y, 11.0), (width, 60.0), (height, 60.0)] {
            assert!((found - expected).abs() <= 2.0, "{:?}", bright.bbox);
        }
        assert!(bright.score > 0.97 && parsed.quality.is_empty());
    }

    #[test]
    fn the_same_file_gives_the_same_id_and_masks() {
        let mut analyzer = analyzer();
        let file = dicom_file(&disc(), &"1.2.840.5".parse().unwrap());
        let first = analyzer.analyze(&file).unwrap().to_envelope(provenance());
        let again = analyzer.analyze(&file).unwrap().to_envelope(provenance());
        assert_eq!(first.result_id, again.result_id);
        assert_eq!(first.findings, again.findings);
    }

    #[test]
    fn masks_at_source_have_the_images_size_even_above_the_published_grid() {
        let small = disc();
        let (rows, cols) = (96 * 8, 128 * 8);
        let samples = (0..rows * cols).map(|i| small.samples()[i / cols / 8 * 128 + i % cols / 8]).collect();
        let frame = PixelFrame::new(rows, cols, samples).unwrap();
        let analysis = analyzer().analyze(&dicom_file(&frame, &"1.2".parse().unwrap())).unwrap();
        assert_eq!((analysis.results[0].mask.rows(), analysis.results[0].mask.cols()), (384, 512));
        let masks = analysis.masks_at_source().unwrap();
        assert_eq!((masks[0].rows(), masks[0].cols()), (rows, cols));
        assert!(masks[0].iou(&analysis.results[0].mask.resize_nearest(rows, cols)) > 0.98);
        let overlay = analysis.overlay(256);
        assert_eq!(overlay.dimensions(), (256, 192));
    }

    #[test]
    fn the_cardiothoracic_ratio_and_notes_are_those_of_the_named_classes() {
        let mut analyzer = analyzer();
        let label = |label: &str| Some(label.to_owned());
        // The disc for a heart, its surroundings for both lungs.
        analyzer.anatomy =
            AnatomySpec { left_lung: label("dark"), right_lung: label("dark"), heart: label("bright") };
        analyzer.measurements.cardiothoracic_ratio = Some(CardiothoracicSpec::default());
        let file = dicom_file(&disc(), &"1.2.840.5".parse().unwrap());
        let analysis = analyzer.analyze(&file).unwrap();
        let parsed = ResultEnvelope::parse(&analysis.to_envelope(provenance()).to_json()).unwrap();
        let ratio = parsed.measurements.cardiothoracic_ratio.unwrap();
        assert!((ratio.ratio - 60.0 / 128.0).abs() < 0.02 && !ratio.enlarged, "{ratio}");
        assert_eq!(parsed.quality[0].code, "not_frontal_chest");
        let overlay = analysis.overlay(128);
        let plain = Analysis { measurements: Measurements::default(), ..analysis }.overlay(128);
        let [x1, y, x2, _] = ratio.heart.line;
        let middle = (((x1 + x2) / 2.0) as u32, y as u32);
        assert_ne!(overlay.get_pixel(middle.0, middle.1), plain.get_pixel(middle.0, middle.1));
    }

    #[test]
    fn a_reduced_picture_gives_the_masks_of_the_whole_image() {
        let mut analyzer = analyzer();
        analyzer.anatomy.heart = Some("bright".to_owned());
        analyzer.anatomy.left_lung = Some("dark".to_owned());
        analyzer.anatomy.right_lung = Some("dark".to_owned());
        analyzer.measurements.cardiothoracic_ratio = Some(CardiothoracicSpec::default());
        let file = PHANTOM.file("1.2.840.5");
        let reduced = analyzer.analyze(&file).unwrap();
        assert_eq!((reduced.frame.rows(), reduced.frame.cols()), (216, 256));
        assert!(reduced.is_reduced());
        let decoded = decode_bytes(&file, &DecodeLimits::default()).unwrap();
        let full = analyzer.analyze_decoded(decoded, 0.0).unwrap();
        assert!(!full.is_reduced());
        assert_eq!(analyzer.full_content(&file).unwrap(), full.content);
        assert_eq!((&reduced.image, reduced.letterbox), (&full.image, full.letterbox));
        let agree = |a: &Mask, b: &Mask| {
            assert_eq!((a.rows(), a.cols()), (431, 512));
            let same = a.data().iter().zip(b.data()).filter(|(a, b)| a == b).count();
            same as f64 / a.data().len() as f64
        };
        let masks = |analysis: &Analysis| analysis.masks_at_source().unwrap();
        for (class, (a, b)) in masks(&reduced).iter().zip(&masks(&full)).enumerate() {
            assert!(!b.is_empty() && agree(a, b) >= 0.999, "{class}: {}", agree(a, b));
            let (a, b) = (&reduced.results[class].mask, &full.results[class].mask);
            assert!(agree(a, b) >= 0.999, "{class}: {}", agree(a, b));
        }
        let ratio = |analysis: &Analysis| analysis.measurements.cardiothoracic_ratio.clone().unwrap().ratio;
        assert!((ratio(&reduced) - ratio(&full)).abs() < 0.005);
    }

    #[test]
    fn a_bad_image_is_told_from_a_bad_model() {
        let error = analyzer().analyze(b"Dear colleague").unwrap_err();
        assert!(error.is_about_image());
        assert_eq!(error.code(), "not_an_image");
    }
}
