//! The experiment as one TOML file: classes, network, data, training stages, export.
//!
//! Unknown keys are errors, and [`Config::validate`] checks what types cannot say, so that a typing mistake
//! costs a second and not a night.

mod error;
mod export;
mod learning;
mod stage;
mod study;
mod variants;
mod weak;

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::json;
use shared::manifest::{ClassSpec, Code};
use shared::mask::Rgb;
use shared::preprocess::PreprocessSpec;

pub use error::ConfigError;
pub use export::ExportSpec;
pub use learning::{ConsistencySpec, DistillationSpec, Method};
pub use stage::{Stage, StageSpec};
pub use study::{ArmSpec, Init, StudySpec};
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
    /// Machine name, snake case; a phantom structure of the same label gives synthetic masks.
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
            threshold,
            min_area_fraction: self.min_area_fraction,
            color: self.color,
        }
    }
}

fn default_seed() -> u64 {
    17
}

impl Config {
    /// Reads and validates a configuration file.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        let config: Self = toml::from_str(&text)
            .map_err(|source| ConfigError::Parse { path: path.to_owned(), source: Box::new(source) })?;
        config.validate()?;
        Ok(config)
    }

    /// Checks what types cannot say.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let bad = |field: &str, reason: String| Err(ConfigError::Field { field: field.to_owned(), reason });
        if !is_slug(&self.name) {
            return bad(
                "name",
                format!("\"{}\" must be of a-z, 0-9 and -, for it names a folder", self.name),
            );
        }
        if self.classes.is_empty() {
            return bad("classes", "name at least one".into());
        }
        let labels = self.labels();
        for (i, class) in self.classes.iter().enumerate() {
            if !is_label(&class.label) {
                return bad("classes.label", format!("\"{}\" must be of a-z, 0-9 and _", class.label));
            }
            if labels[..i].contains(&class.label) {
                return bad("classes.label", format!("\"{}\" stands twice", class.label));
            }
            if !(0.0..1.0).contains(&class.min_area_fraction) {
                let reason = format!("{} must lie from 0 to below 1", class.min_area_fraction);
                return bad("classes.min_area_fraction", reason);
            }
        }
        for (i, derived) in self.derived.iter().enumerate() {
            let taken = labels.contains(&derived.label)
                || self.derived[..i].iter().any(|earlier| earlier.label == derived.label);
            if taken || !is_label(&derived.label) {
                return bad(
                    "derived.label",
                    format!("\"{}\" is taken or not of a-z, 0-9 and _", derived.label),
                );
            }
            if derived.of.is_empty() {
                return bad("derived.of", format!("\"{}\" joins no class", derived.label));
            }
            if let Some(unknown) = derived.of.iter().find(|label| !labels.contains(label)) {
                return bad("derived.of", format!("\"{unknown}\" is none of the classes"));
            }
        }
        for (name, spec) in &self.data {
            let mapped = spec.classes().into_iter().flat_map(BTreeMap::keys);
            if let Some(unknown) = mapped.into_iter().find(|label| !labels.contains(label)) {
                return bad(&format!("data.{name}.classes"), format!("\"{unknown}\" is none of the classes"));
            }
            if let Some((field, reason)) = spec.fault() {
                return bad(&format!("data.{name}.{field}"), reason);
            }
        }
        self.preprocess.validate().or_else(|error| bad("preprocess", error.to_string()))?;
        if self.network.input_channels != 1 {
            return bad("network.input_channels", "radiographs have one channel".into());
        }
        let size = self.preprocess.input_size;
        if let Err(error) = self.graph().shapes(size, size) {
            return bad("network", error.to_string());
        }
        if let Some((field, reason)) = self.augment.fault() {
            return bad(&format!("augment.{field}"), reason.into());
        }
        let PhantomSpec { size, min_aspect, .. } = self.phantom;
        if !(64..=4096).contains(&size) || !(0.1..=1.0).contains(&min_aspect) {
            return bad("phantom", "size must lie in 64..=4096 and min_aspect in 0.1..=1".into());
        }
        if (size as f32 * min_aspect).round() < 64.0 {
            return bad("phantom", "size times min_aspect must reach 64".into());
        }
        let ExportSpec { mask_max_side, min_agreement, .. } = self.export;
        if !(16..=8192).contains(&mask_max_side) {
            return bad("export.mask_max_side", format!("{mask_max_side} must lie in 16..=8192"));
        }
        if !(min_agreement > 0.5 && min_agreement <= 1.0) {
            return bad("export.min_agreement", format!("{min_agreement} must be above 0.5 and at most 1"));
        }
        // An index brings data sets of its own names.
        let known = |name: &String| {
            self.data.contains_key(name) || self.data.values().any(|spec| matches!(spec, DataSpec::Index(_)))
        };
        if let Some(unknown) = self.export.licenses.keys().find(|name| !known(name)) {
            return bad("export.licenses", format!("\"{unknown}\" is none of the data sets"));
        }
        let findings = self.finding_labels();
        for (i, finding) in self.findings.iter().enumerate() {
            if !is_label(&finding.label) || findings[..i].contains(&finding.label) {
                let reason = format!("\"{}\" is taken or not of a-z, 0-9 and _", finding.label);
                return bad("findings.label", reason);
            }
            if let Some(class) = finding.class.as_ref().filter(|class| !labels.contains(class)) {
                return bad("findings.class", format!("\"{class}\" is none of the classes"));
            }
        }
        if let Some((field, reason)) = self.consistency.as_ref().and_then(ConsistencySpec::fault) {
            return bad(&format!("consistency.{field}"), reason.into());
        }
        if let Some((field, reason)) = self.distillation.fault() {
            return bad(&format!("distillation.{field}"), reason.into());
        }
        self.classifier.validate()?;
        self.irnet.validate()?;
        if let Some(study) = &self.study {
            study.validate(!self.findings.is_empty())?;
        }
        self.pretrain.validate(Stage::Pretrain)?;
        self.train.validate(Stage::Train)
    }

    /// Labels of the classifier's outputs.
    pub fn finding_labels(&self) -> Vec<String> {
        self.findings.iter().map(|finding| finding.label.clone()).collect()
    }

    /// The graph that a stage trains.
    pub fn graph_of(&self, stage: Stage) -> Graph {
        match stage {
            Stage::Pretrain | Stage::Train => self.graph(),
            Stage::Classifier => classifier(&self.classifier.network, self.findings.len()),
            Stage::Edges => edge_net(&self.classifier.network),
        }
    }

    /// Labels of the output planes.
    pub fn labels(&self) -> Vec<String> {
        self.classes.iter().map(|class| class.label.clone()).collect()
    }

    /// The network's graph.
    pub fn graph(&self) -> Graph {
        deeplab_v3_plus(&DeepLabConfig { classes: self.classes.len(), ..self.network.clone() })
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
                "phantom": if self.train.phantom_share > 0.0 { Some(&self.phantom) } else { None },
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

fn is_slug(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

fn is_label(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
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
mod tests {
    use super::*;

    const MINIMAL: &str = r##"
        name = "tiny"
        [[classes]]
        label = "heart"
        name = "Heart"
        code = { scheme = "SCT", value = "80891009", meaning = "Heart" }
        color = "#ff0000"
    "##;

    const FOLDER: &str =
        "[data.a]\nformat = \"folder\"\npath = \"a\"\nimage = \"{f}\"\npatient = \"{f}\"\nsplit = \"weak\"\n";

    fn parse(extra: &str) -> Result<Config, String> {
        let config: Config = toml::from_str(&format!("{MINIMAL}{extra}")).map_err(|e| e.to_string())?;
        config.validate().map_err(|e| e.to_string())?;
        Ok(config)
    }

    #[test]
    fn defaults_fill_in() {
        let config = parse("").unwrap();
        assert_eq!((config.seed, config.preprocess.input_size), (17, 320));
        assert_eq!(config.labels(), ["heart"]);
    }

    #[test]
    fn mistakes_are_named() {
        for (extra, part) in [
            ("[train]\nstepz = 3\n", "stepz"),
            ("[train]\nphantom_share = 2.0\n", "phantom_share"),
            ("[[derived]]\nlabel = \"lungs\"\nof = [\"left_lung\"]\n", "left_lung"),
            ("[preprocess]\ninput_size = 320\n", "filter"),
            ("[network]\ninput_channels = 3\n", "one channel"),
            ("[[derived]]\nlabel = \"none\"\nof = []\n", "joins no class"),
            ("[augment]\nblur = inf\n", "augment.blur"),
            ("[augment]\nscale = [1.2, 0.8]\n", "augment.scale"),
            ("[augment]\nnoise_probability = 1.5\n", "augment.noise_probability"),
            ("[phantom]\nmin_aspect = nan\n", "min_aspect"),
            ("[phantom]\nsize = 100\nmin_aspect = 0.5\n", "must reach 64"),
            ("[export]\nmask_max_side = 9000\n", "mask_max_side"),
            ("[data.a]\npath = \"a\"\n", "missing field `format`"),
            ("[data.a]\nformat = \"zip\"\n", "unknown variant `zip`"),
            (&format!("{FOLDER}pathh = \"b\"\n"), "pathh"),
            (&format!("{FOLDER}[data.a.classes]\nlung = [\"l\"]\n"), "\"lung\" is none of the classes"),
            (&format!("{FOLDER}[data.a.classes]\nheart = [\"h\"]\n"), "data.a.mask: classes need it"),
            (&format!("{FOLDER}mask = \"m\"\n[data.a.classes]\nheart = []\n"), "data.a.classes.heart"),
            (
                &format!("{FOLDER}[data.a.findings]\nx = {{ column = \"x\", present = [\"0\"] }}\n"),
                "data.a.findings.x: \"0\" stands in two lists",
            ),
            ("[export]\nmin_agreement = 0.2\n", "min_agreement"),
        ] {
            let error = parse(extra).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn digest_follows_what_shapes_the_weights_only() {
        let digest = |extra: &str| parse(extra).unwrap().digest(Stage::Train);
        let reference = digest("");
        assert_eq!(reference, digest("[train]\nlog_every = 3\n"));
        assert_ne!(reference, digest("[train]\nlearning_rate = 0.5\n"));
        assert_eq!(reference, digest("[pretrain]\nlearning_rate = 0.5\n"));
        assert_ne!(reference, digest("[augment]\nnoise = 0.5\n"));
    }

    #[test]
    fn shipped_experiments_are_valid_and_their_data_imports() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments");
        let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        for path in files.filter(|path| path.extension().is_some_and(|e| e == "toml")) {
            let config = Config::load(&path).unwrap();
            match crate::dataset::data_root() {
                Ok(root) if config.data.values().all(|spec| root.join(spec.path()).is_dir()) => {
                    assert!(!config.index(&root).unwrap().records.is_empty());
                }
                Ok(root) => println!("{} lacks the data of {}", root.display(), path.display()),
                Err(error) => println!("skipped the data of {}: {error}", path.display()),
            }
        }
    }
}
