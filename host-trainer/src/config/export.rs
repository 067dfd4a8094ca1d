use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use shared::anatomy::AnatomySpec;
use shared::measure::{CardiothoracicSpec, MeasurementsSpec};
use shared::quality::QualitySpec;

use super::Fault;

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
    /// The most that mean or standard deviation of a golden image's logits may be off, above 0.
    pub max_logit_error: f32,
    /// One sentence on what the model does.
    pub description: String,
    /// How the graph becomes 8-bit.
    pub quantize: QuantizeSpec,
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
            max_logit_error: 0.25,
            description: String::new(),
            quantize: QuantizeSpec::default(),
            licenses: BTreeMap::new(),
            intended_use: String::new(),
            limits: String::new(),
            anatomy: AnatomySpec::default(),
            cardiothoracic_ratio: None,
            quality: QualitySpec::default(),
        }
    }
}

/// What an export does where 8 bits cost more than they should. Points are hundredths of mean IoU, here as shares.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct QuantizeSpec {
    /// The most parts of the network that may stay f32; 0: none.
    pub keep_f32: usize,
    /// What mean IoU they must gain for it, 0 to 1.
    pub keep_pays: f64,
    /// Loss of mean IoU against f32 above which the network is fine-tuned under fake quantization, 0 to 1.
    pub finetune_above: f64,
    /// Steps of that.
    pub finetune_steps: u64,
    /// Its highest learning rate.
    pub finetune_learning_rate: f64,
}

impl Default for QuantizeSpec {
    fn default() -> Self {
        Self {
            keep_f32: 4,
            keep_pays: 0.001,
            finetune_above: 0.005,
            finetune_steps: 200,
            finetune_learning_rate: 1e-4,
        }
    }
}

impl QuantizeSpec {
    /// The first field that cannot work, and why.
    pub(super) fn fault(&self) -> Option<Fault> {
        let share = |v: f64| (0.0..=1.0).contains(&v);
        [
            ("keep_pays", share(self.keep_pays), "must lie in 0..=1"),
            ("finetune_above", share(self.finetune_above), "must lie in 0..=1"),
            ("finetune_steps", self.finetune_steps > 0, "must be above 0"),
            (
                "finetune_learning_rate",
                self.finetune_learning_rate.is_finite() && self.finetune_learning_rate > 0.0,
                "must be above 0",
            ),
        ]
        .into_iter()
        .find_map(|(field, holds, reason)| (!holds).then_some((field, reason)))
    }
}
