//! What a technician should know about an acquisition: from the rendered pixels and the masks, whatever
//! network made them.
//!
//! Every check is a rule of radiographic technique (Bontrager's *Textbook of Radiographic Positioning*,
//! chapter 2: apices and costophrenic angles in sight, no rotation, marker and side right, exposure that
//! shows the lung's vessels) put into a number with a limit in [`QualitySpec`]. Masks are examined on a grid
//! of at most 256 pixels a side and grey values after a percentile stretch, so neither resolution nor window
//! matters. The network's own confidence is not asked: it is as sure of a hand as of a chest.
//!
//! Where the picture is no frontal chest or is inverted, masks mean nothing and the checks that need them say
//! nothing. A note is a hint to look, never a reason to withhold a result.

mod clipped;
mod exposure;
mod frontal;
mod laterality;
mod lungs;
mod polarity;
mod rotation;
mod scene;
mod spec;
#[cfg(test)]
mod tests;

use std::fmt;

use lungs::Lungs;
use scene::Scene;
pub use spec::{QualitySpec, QualitySpecError};

use crate::anatomy::Structures;
use crate::message::QualityNote;
use crate::pixel::PixelFrame;
use crate::postprocess::ClassResult;

/// What can be remarked on an acquisition. The names on the wire ([`QualityCode::as_str`]) never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum QualityCode {
    /// No class reaches its threshold anywhere.
    NothingFound,
    /// A structure is missing, or lungs and heart do not lie as in a frontal chest radiograph.
    NotFrontalChest,
    /// A lung is cut off at the image's upper border.
    ClippedApex,
    /// A lung reaches the image's lower border.
    ClippedBase,
    /// The patient stands tilted in the image or is turned about the long axis.
    Rotated,
    /// The lungs are burnt out: black, without detail.
    Overexposed,
    /// The mediastinum or all of the image is white or without contrast.
    Underexposed,
    /// Air is bright and bone is dark.
    InvertedPolarity,
    /// The heart lies on the image's left, as if the image were mirrored.
    LateralitySuspicious,
}

impl QualityCode {
    /// Every code.
    pub const ALL: [Self; 9] = [
        Self::NothingFound,
        Self::NotFrontalChest,
        Self::ClippedApex,
        Self::ClippedBase,
        Self::Rotated,
        Self::Overexposed,
        Self::Underexposed,
        Self::InvertedPolarity,
        Self::LateralitySuspicious,
    ];

    /// On the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NothingFound => "nothing_found",
            Self::NotFrontalChest => "not_frontal_chest",
            Self::ClippedApex => "clipped_apex",
            Self::ClippedBase => "clipped_base",
            Self::Rotated => "rotated",
            Self::Overexposed => "overexposed",
            Self::Underexposed => "underexposed",
            Self::InvertedPolarity => "inverted_polarity",
            Self::LateralitySuspicious => "laterality_suspicious",
        }
    }

    /// For the technician: what is seen, and what to do about it.
    pub fn message(self) -> &'static str {
        match self {
            Self::NothingFound => {
                "no class reaches its threshold anywhere: perhaps not a frontal chest radiograph; \
                 check that the right image was sent"
            }
            Self::NotFrontalChest => {
                "lungs and heart are not found as in an upright frontal chest radiograph; \
                 check that the right image was sent, and its orientation"
            }
            Self::ClippedApex => {
                "a lung apex is cut off at the upper border; if so, retake with the upper border of the field \
                 above the shoulders"
            }
            Self::ClippedBase => {
                "a lung base reaches the lower border; if a costophrenic angle is cut off, retake with the \
                 field lower or larger"
            }
            Self::Rotated => {
                "the lungs are asymmetric or tilted; if the patient was turned, retake with both shoulders at \
                 the same distance from the detector and the spine upright in the image"
            }
            Self::Overexposed => {
                "the lungs are black without detail; check the window, or retake with less exposure"
            }
            Self::Underexposed => {
                "the image is white or without contrast; check the window, or retake with more exposure"
            }
            Self::InvertedPolarity => {
                "air looks bright and bone dark; check Photometric Interpretation and the unit's inversion, \
                 and send the image again"
            }
            Self::LateralitySuspicious => {
                "the heart lies towards the image's left; check the side marker and whether the image was \
                 mirrored"
            }
        }
    }
}

impl fmt::Display for QualityCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<QualityCode> for QualityNote {
    fn from(code: QualityCode) -> Self {
        Self { code: code.as_str().into(), message: code.message().into() }
    }
}

/// Everything that is remarkable about a radiograph. `structures` are those of `results` that the manifest's
/// `[anatomy]` names; without any, only the pixels are examined.
pub fn examine(
    frame: &PixelFrame,
    results: &[ClassResult],
    structures: &Structures<'_>,
    spec: &QualitySpec,
) -> Vec<QualityCode> {
    let scene = Scene::new(frame);
    let mut codes = Vec::new();
    let mut add = |is: bool, code| {
        if is {
            codes.push(code);
        }
    };
    let nothing = results.iter().all(|result| result.mask.is_empty());
    add(nothing, QualityCode::NothingFound);
    let found = frontal::are_found(structures);
    let named = structures.left_lung.is_some() && structures.right_lung.is_some();
    let lungs =
        Lungs::of(structures, &scene).filter(|lungs| found && frontal::lungs_are_plausible(lungs, spec));
    let whole = lungs.as_ref().filter(|lungs| frontal::heart_is_plausible(lungs, spec));
    let chest = found && (!named || whole.is_some());
    add(!nothing && !chest, QualityCode::NotFrontalChest);
    let inverted = polarity::is_inverted(&scene, whole, spec);
    add(inverted, QualityCode::InvertedPolarity);
    if let Some(lungs) = whole.filter(|_| !inverted) {
        add(clipped::apex(lungs, spec), QualityCode::ClippedApex);
        add(clipped::base(lungs, spec), QualityCode::ClippedBase);
        add(rotation::is_rotated(lungs, spec), QualityCode::Rotated);
        add(exposure::is_over(lungs, &scene, spec), QualityCode::Overexposed);
    }
    // A patient turned far enough has the heart on either side. A heart drawn in shreds, as networks do in
    // mirrored images, is no chest's but still has a side.
    let judged = lungs.as_ref().filter(|lungs| !inverted && !rotation::is_rotated(lungs, spec));
    let suspicious = judged.is_some_and(|lungs| laterality::is_suspicious(lungs, &scene, spec));
    add(suspicious, QualityCode::LateralitySuspicious);
    add(exposure::is_under(whole.filter(|_| !inverted), &scene, spec), QualityCode::Underexposed);
    codes
}
