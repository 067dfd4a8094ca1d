//! The experiment as one TOML file: classes, network, data, training stages, export.
//!
//! Unknown keys are errors, and [`Config::validate`] checks what types cannot say, so that a typing mistake
//! costs a second and not a night.

mod base;
mod error;
mod export;
mod learning;
mod stage;
mod study;
mod validate;
mod variants;
mod weak;

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::json;
use shared::manifest::{ClassSpec, Code, no_temperature};
use shared::mask::Rgb;
use shared::preprocess::PreprocessSpec;

pub use error::ConfigError;
pub use export::{ExportSpec, QuantizeSpec};
pub use learning::{ConsistencySpec, DistillationSpec, Method};
pub use stage::{Stage, StageSpec};
pub use study::{ArmSpec, Init, Overrides, StudySpec};
pub use weak::{ClassifierSpec, FindingConfig, Gate, IrnetSpec, PseudoSpec, Saliency};

use crate::dataset::augment::AugmentSpec;
use crate::dataset::{DataSpec, DatasetError, Index, PhantomSpec, import_all};
use crate::net::{DeepLabConfig, Graph, classifier, deeplab_v3_plus, edge_net};

/// A field that cannot work, and why.
pub(crate) type Fault = (&'static str, &'static str);

/// An experiment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Name of the model: the bundle's name.
    pub name: String,
    /// Seed of weights, order, augmentation and dropout.
    #[serde(default = "default_seed")]
    pub seed: u64,
    /// What the network segments, in the order of its output planes.
    pub classes: Vec<ClassConfig>,
    /// Unions of classes that are reported beside them.
    #[serde(default)]
    pub derived: Vec<DerivedClass>,
    /// The network. `classes` in here follows from the list above.
    #[serde(default)]
    pub network: DeepLabConfig,
    /// From pixels to the network's input.
    #[serde(default)]
    pub preprocess: PreprocessSpec,
    /// Data sets by name.
    #[serde(default)]
    pub data: BTreeMap<String, DataSpec>,
    /// Synthetic radiographs.
    #[serde(default)]
    pub phantom: PhantomSpec,
    /// Variation of training images.
    #[serde(default)]
    pub augment: AugmentSpec,
    /// The stage before real radiographs.
    #[serde(default)]
    pub pretrain: StageSpec,
    /// The stage on expert masks.
    #[serde(default)]
    pub train: StageSpec,
    /// Image-level labels, in the order of the classifier's outputs.
    #[serde(default)]
    pub findings: Vec<FindingConfig>,
    /// The classifier that learns them.
    #[serde(default)]
    pub classifier: ClassifierSpec,
    /// The refinement of its saliency maps.
    #[serde(default)]
    pub irnet: IrnetSpec,
    /// Learning from images without masks in the stage `train`; none: not done.
    #[serde(default)]
    pub consistency: Option<ConsistencySpec>,
    /// Learning from teachers, where the stage `train` is given some.
    #[serde(default)]
    pub distillation: DistillationSpec,
    /// The quirks of the paper's code: no min–max before Otsu, no gating, Dice loss alone, no augmentation.
    #[serde(default)]
    pub compat_paper: bool,
    /// A comparison of ways to train.
    #[serde(default)]
    pub study: Option<StudySpec>,
    /// What the bundle says and how it is quantized.
    #[serde(default)]
    pub export: ExportSpec,
}

/// One output plane.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassConfig {
    /// Machine name, snake case; a phantom structure of the same label, or those that
    /// `phantom.classes` names, give synthetic masks.
    pub label: String,
    /// Name for people.
    pub name: String,
    /// Code of a terminology, SNOMED CT where one exists.
    pub code: Code,
    /// Colour of overlays.
    pub color: Rgb,
    /// Components smaller than this share of the image are dropped, 0 to below 1.
    #[serde(default)]
    pub min_area_fraction: f32,
    /// Components smaller than this share of the class's largest one are dropped, 0 to 1.
    #[serde(default)]
    pub min_part_fraction: f32,
    /// Labels of classes that it lies within: what is outside the convex hull of their masks together is dropped.
    #[serde(default)]
    pub within: Vec<String>,
    /// No threshold below is fitted, 0 to 0.95: for what is found so seldom that the best IoU comes with false alarms
    /// everywhere.
    #[serde(default)]
    pub min_threshold: f32,
}

/// A union of classes, for reports only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DerivedClass {
    /// Its label.
    pub label: String,
    /// The classes it joins.
    pub of: Vec<String>,
}

impl ClassConfig {
    /// The class as a bundle's manifest names it, foreground from a probability of `threshold`.
    pub fn spec(&self, threshold: f32) -> ClassSpec {
        ClassSpec {
            label: self.label.clone(),
            name: self.name.clone(),
            code: self.code.clone(),
            temperature: no_temperature(),
            threshold,
            min_area_fraction: self.min_area_fraction,
            min_part_fraction: self.min_part_fraction,
            within: self.within.clone(),
            color: self.color,
        }
    }
}

fn default_seed() -> u64 {
    17
}

impl Config {
    /// Reads and validates a configuration file, with the one that it names as its `base`, if it does.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let config = base::read(path)?;
        config.validate()?;
        Ok(config)
    }

    /// Labels of the classifier's outputs.
    pub fn finding_labels(&self) -> Vec<String> {
        self.findings.iter().map(|finding| finding.label.clone()).collect()
    }

    /// What the outputs of a stage's network are.
    pub fn labels_of(&self, stage: Stage) -> Vec<String> {
        match stage {
            Stage::Pretrain | Stage::Train => self.labels(),
            Stage::Classifier => self.finding_labels(),
            Stage::Edges => Vec::new(),
        }
    }

    /// The graph that a stage trains: of an ensemble one member.
    pub fn graph_of(&self, stage: Stage) -> Graph {
        match stage {
            Stage::Pretrain | Stage::Train => self.segmenter(1),
            Stage::Classifier => classifier(&self.classifier.network, self.findings.len()),
            Stage::Edges => edge_net(&self.classifier.network),
        }
    }

    /// Labels of the output planes.
    pub fn labels(&self) -> Vec<String> {
        self.classes.iter().map(|class| class.label.clone()).collect()
    }

    /// The network's graph, with all members of an ensemble.
    pub fn graph(&self) -> Graph {
        self.segmenter(self.network.members)
    }

    fn segmenter(&self, members: usize) -> Graph {
        deeplab_v3_plus(&DeepLabConfig { classes: self.classes.len(), members, ..self.network.clone() })
    }

    /// The settings of a stage.
    pub fn stage(&self, stage: Stage) -> &StageSpec {
        match stage {
            Stage::Pretrain => &self.pretrain,
            Stage::Train => &self.train,
            Stage::Classifier => &self.classifier.training,
            Stage::Edges => &self.irnet.training,
        }
    }

    /// All data sets' records: no image twice, no patient in two splits, all files there.
    pub fn index(&self, root: &Path) -> Result<Index, DatasetError> {
        import_all(&self.data, root)?.into_index()
    }

    /// A digest of everything that shapes the weights of a stage (not its length of logging or the export):
    /// a checkpoint goes on only under the digest that it was written under.
    pub fn digest(&self, stage: Stage) -> String {
        let own = match stage {
            Stage::Pretrain => json!({ "phantom": self.phantom, "labels": self.labels() }),
            Stage::Train => json!({
                "phantom": if self.train.phantom_share + self.train.drawn_devices > 0.0 { Some(&self.phantom) } else { None },
                "labels": self.labels(),
                "consistency": self.consistency,
            }),
            Stage::Classifier => json!({
                "findings": self.finding_labels(),
                "balance_sources": self.classifier.balance_sources,
                "holdout": self.classifier.holdout,
            }),
            Stage::Edges => {
                json!({ "irnet": self.irnet.shaping() })
            }
        };
        let shaping = json!({
            "stage": stage,
            "seed": self.seed,
            "network": self.graph_of(stage),
            "preprocess": self.preprocess,
            "data": self.data,
            "augment": self.augment,
            "training": self.stage(stage).shaping(),
            "own": own,
        });
        digest_of(&shaping)
    }
}

/// SHA-256 of a value, in hexadecimal.
pub(crate) fn digest_of(value: &serde_json::Value) -> String {
    shared::bundle::sha256_hex(value.to_string().as_bytes())
}

/// The smallest experiment that everything can be tried on: two classes, a quarter-wide net at 64 px.
#[cfg(test)]
#[cfg(feature = "torch")]
pub(crate) fn tiny(extra: &str) -> Config {
    let text = r##"
        name = "tiny"
        [[classes]]
        label = "left_lung"
        name = "Left lung"
        code = { scheme = "SCT", value = "44029006", meaning = "Left lung structure" }
        color = "#4aa3ff"
        [[classes]]
        label = "heart"
        name = "Heart"
        code = { scheme = "SCT", value = "80891009", meaning = "Heart structure" }
        color = "#ff5c5c"
        [network]
        width = "quarter"
        [preprocess]
        input_size = 64
        filter = "bilinear"
        low_percentile = 0.5
        high_percentile = 99.5
        mean = 0.5
        std = 0.25
    "##;
    let config: Config = toml::from_str(&format!("{text}{extra}")).expect("the text above and sound extras");
    config.validate().expect("the text above and sound extras");
    config
}

#[cfg(test)]
mod tests;
