use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use shared::anatomy::Structures;
use shared::manifest::Manifest;
use shared::measure::{CardiothoracicRatio, CardiothoracicSpec};

use super::shown::Shown;
use super::{Corruption, ExamineError};
use crate::evaluate::{ImageCounts, Judge, Measure, Protocol, statistic};

/// What the agent and the bundle made of many images.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Examination {
    /// SHA-256 of the graph, lower-case hex.
    pub model: String,
    /// Classes of the figures, derived ones last.
    pub labels: Vec<String>,
    /// IoU by class on clean images at dataset level; none where no expert drew the class.
    pub clean: Vec<Option<f64>>,
    /// The same on `strong_val`, where thresholds were fitted: all there is for some classes.
    pub validation: Vec<Option<f64>>,
    /// Under corruptions.
    pub stress: Vec<StressRow>,
    /// Remarks on acquisitions, by set of images.
    pub remarks: Vec<RemarksRow>,
    /// The cardiothoracic ratio against the one of the experts' masks.
    pub ratio: Option<RatioFigures>,
}

/// One corruption at one strength.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StressRow {
    /// The corruption.
    pub corruption: Corruption,
    /// Its strength.
    pub strength: String,
    /// IoU by class.
    pub iou: Vec<Option<f64>>,
}

/// How often the agent remarked on a set of images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RemarksRow {
    /// The set.
    pub set: String,
    /// Images in it.
    pub images: usize,
    /// Images that the agent could not analyse.
    pub refused: usize,
    /// Images with any remark.
    pub remarked: usize,
    /// Images by remark.
    pub codes: BTreeMap<String, usize>,
}

/// Measured ratios against those of the experts' masks.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RatioFigures {
    /// Images where both could be measured.
    pub images: usize,
    /// Images whose experts' masks give a ratio and the agent's do not.
    pub missing: usize,
    /// Mean absolute difference.
    pub mean_error: f64,
    /// The greatest.
    pub worst: f64,
    /// Share of the images where both agree on whether the heart is enlarged.
    pub agreement: f64,
}

/// IoU by class at dataset level.
pub(super) fn iou(
    judge: &Judge,
    labels: &[String],
    shown: &[Shown],
) -> Result<Vec<Option<f64>>, ExamineError> {
    let counts: Vec<ImageCounts> =
        shown.iter().map(|shown| shown.counts(judge, labels)).collect::<Result<_, _>>()?;
    let of = |class| statistic(counts.iter(), class, Protocol::Dataset, Measure::Iou);
    let drawn = |class: usize| {
        counts.iter().any(|image| image.classes[class].is_some_and(|counts| counts.source.truth > 0))
    };
    Ok((0..judge.labels().len()).map(|class| drawn(class).then(|| of(class)).flatten()).collect())
}

impl Examination {
    /// Reads examination.json.
    pub fn load(path: &Path) -> Result<Self, ExamineError> {
        let bytes =
            std::fs::read(path).map_err(|source| ExamineError::Io { path: path.to_owned(), source })?;
        serde_json::from_slice(&bytes)
            .map_err(|source| ExamineError::Format { path: path.to_owned(), source })
    }
}

impl RemarksRow {
    pub(super) fn of(set: String, shown: &[Shown]) -> Self {
        let mut codes = BTreeMap::new();
        for code in shown.iter().flat_map(Shown::remarks) {
            *codes.entry(code.to_owned()).or_insert(0) += 1;
        }
        Self {
            set,
            images: shown.len(),
            refused: shown.iter().filter(|shown| shown.result.is_none()).count(),
            remarked: shown.iter().filter(|shown| shown.remarks().next().is_some()).count(),
            codes,
        }
    }
}

impl RatioFigures {
    /// None if the bundle does not measure the ratio, or no image has the experts' masks for it.
    pub(super) fn of(manifest: &Manifest, labels: &[String], shown: &[Shown]) -> Option<Self> {
        let spec = manifest.measurements.cardiothoracic_ratio.as_ref()?;
        let (mut errors, mut missing, mut agreeing) = (Vec::new(), 0, 0);
        for shown in shown {
            let Some(truth) = expert_ratio(manifest, spec, labels, shown) else { continue };
            let Some(found) = shown.ratio() else {
                missing += 1;
                continue;
            };
            errors.push((found - truth).abs());
            agreeing += usize::from((found >= spec.enlarged_from) == (truth >= spec.enlarged_from));
        }
        let images = errors.len();
        (images > 0).then(|| Self {
            images,
            missing,
            mean_error: errors.iter().sum::<f64>() / images as f64,
            worst: errors.iter().copied().fold(0.0, f64::max),
            agreement: agreeing as f64 / images as f64,
        })
    }
}

fn expert_ratio(
    manifest: &Manifest,
    spec: &CardiothoracicSpec,
    labels: &[String],
    shown: &Shown,
) -> Option<f64> {
    let mask = |label: &Option<String>| {
        let place = labels.iter().position(|own| Some(own) == label.as_ref())?;
        shown.image.masks[place].as_ref()
    };
    let anatomy = &manifest.anatomy;
    let structures = Structures {
        left_lung: mask(&anatomy.left_lung),
        right_lung: mask(&anatomy.right_lung),
        heart: mask(&anatomy.heart),
    };
    let frame = &shown.image.frame;
    Some(CardiothoracicRatio::measure(spec, &structures, (frame.rows(), frame.cols()))?.ratio)
}
