use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use shared::anatomy::AnatomySpec;
use shared::measure::{CardiothoracicSpec, MeasurementsSpec};
use shared::quality::QualitySpec;

/// What a bundle says and how its graph is made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ExportSpec {
    /// Version of the model, semantic.
    pub version: String,
    /// Longest side of the grid that published masks live on, pixels, 16 to 8192.
    pub mask_max_side: usize,
    /// Phantoms stored as golden images.
    pub golden: usize,
    /// Smallest share of pixels in which an engine must agree with the golden masks, above 0.5 and at most 1.
    pub min_agreement: f64,
    /// One sentence on what the model does.
    pub description: String,
    /// Terms of use of each data set, by its name under `[data]`.
    pub licenses: BTreeMap<String, String>,
    /// What the model is for and what it is not for, for the model card (Markdown).
    pub intended_use: String,
    /// What is known to go wrong, for the model card (Markdown).
    pub limits: String,
    /// Which classes are lungs and heart; measurements and most quality checks need it.
    #[serde(skip_serializing_if = "AnatomySpec::is_empty")]
    pub anatomy: AnatomySpec,
    /// How the cardiothoracic ratio is judged; not measured if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cardiothoracic_ratio: Option<CardiothoracicSpec>,
    /// Limits of the remarks on the acquisition.
    #[serde(skip_serializing_if = "QualitySpec::is_default")]
    pub quality: QualitySpec,
}

impl ExportSpec {
    /// What the bundle measures.
    pub fn measurements(&self) -> MeasurementsSpec {
        MeasurementsSpec { cardiothoracic_ratio: self.cardiothoracic_ratio.clone() }
    }
}

impl Default for ExportSpec {
    fn default() -> Self {
        Self {
            version: "0.1.0".into(),
            mask_max_side: 1024,
            golden: 3,
            min_agreement: 0.995,
            description: String::new(),
            licenses: BTreeMap::new(),
            intended_use: String::new(),
            limits: String::new(),
            anatomy: AnatomySpec::default(),
            cardiothoracic_ratio: None,
            quality: QualitySpec::default(),
        }
    }
}
