//! `manifest.toml`: everything about a model that is not in its graph.
//!
//! Classes, thresholds, preprocessing and postprocessing come from here and never from code.

use serde::{Deserialize, Serialize};

use crate::PIPELINE_VERSION;
use crate::anatomy::{AnatomySpec, AnatomySpecError};
use crate::mask::Rgb;
use crate::measure::{MeasurementsSpec, MeasurementsSpecError};
use crate::preprocess::{PreprocessSpec, PreprocessSpecError};
use crate::quality::{QualitySpec, QualitySpecError};
use crate::schema::{SchemaError, SchemaVersion};

/// The manifest schema that this program writes. Stricter than messages: an unknown key is an error whatever
/// the minor version, for passing over one could move a mask. 1.1 added `anatomy`, `measurements`, `quality`,
/// `golden.max_logit_error` and the classes' `temperature`, 1.2 the classes' `min_part_fraction`, 1.3 their `within`; an older
/// manifest has none of them and keeps its meaning.
pub const SCHEMA: SchemaVersion = SchemaVersion { major: 1, minor: 3 };

const WHAT: &str = "manifest";

/// A bundle's manifest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Version of this file's form.
    pub schema: SchemaVersion,
    /// Name of the model, as its folder's.
    pub name: String,
    /// Version of the model.
    pub version: String,
    /// One sentence on what it does.
    pub description: String,
    /// Day of the export.
    pub created: jiff::civil::Date,
    /// [`PIPELINE_VERSION`] under which thresholds and golden images were made.
    pub pipeline_version: u32,
    /// The ONNX file.
    pub graph: GraphSpec,
    /// Pixels to tensor.
    pub preprocess: PreprocessSpec,
    /// Logits to masks.
    pub postprocess: PostprocessSpec,
    /// How golden images are compared.
    pub golden: GoldenSpec,
    /// Which classes are lungs and heart.
    #[serde(default, skip_serializing_if = "AnatomySpec::is_empty")]
    pub anatomy: AnatomySpec,
    /// What is measured on them.
    #[serde(default, skip_serializing_if = "MeasurementsSpec::is_empty")]
    pub measurements: MeasurementsSpec,
    /// Limits of the remarks on the acquisition.
    #[serde(default, skip_serializing_if = "QualitySpec::is_default")]
    pub quality: QualitySpec,
    /// Classes in the order of the graph's output planes.
    pub classes: Vec<ClassSpec>,
    /// Where the weights come from.
    pub training: TrainingRecord,
    /// Measured quality.
    #[serde(default)]
    pub metrics: Vec<Metric>,
}

/// The ONNX file and its ends.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GraphSpec {
    /// File name inside the bundle.
    pub file: String,
    /// SHA-256 of the file, lower-case hex.
    pub sha256: String,
    /// Name of the input `[1, 1, S, S]`.
    pub input: String,
    /// Name of the output `[1, C, h, w]`.
    pub output: String,
    /// Arithmetic of the convolutions.
    pub quantization: Quantization,
}

/// Arithmetic of a graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Quantization {
    /// 32-bit floats.
    F32,
    /// QuantizeLinear / DequantizeLinear pairs: u8 activations, s8 weights per output channel.
    QdqInt8,
}

/// Postprocessing common to all classes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PostprocessSpec {
    /// Longer side of a published mask, at most, in pixels.
    pub mask_max_side: usize,
}

/// One output plane.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassSpec {
    /// Identifier, `[a-z0-9_]`, unique.
    pub label: String,
    /// Name for people.
    pub name: String,
    /// Code for machines.
    pub code: Code,
    /// Divides the logit before the sigmoid, so that scores are calibrated probabilities (temperature scaling,
    /// Guo et al., ICML 2017); above 0, 1 leaves them as the network gives them.
    #[serde(default = "no_temperature", skip_serializing_if = "is_no_temperature")]
    pub temperature: f32,
    /// Calibrated probability from which a pixel is foreground, above 0 and below 1.
    pub threshold: f32,
    /// Components below this share of the image go, 0 to below 1.
    pub min_area_fraction: f32,
    /// Components below this share of the class's largest one go, 0 (none do) to 1 (the largest alone stays): for what is of one
    /// piece, such as a lung.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub min_part_fraction: f32,
    /// Labels of classes that it lies within: what is outside the convex hull of their masks together goes, before components do.
    /// Where none of them is found all of it stays; empty: it may lie anywhere.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub within: Vec<String>,
    /// Colour in overlays.
    pub color: Rgb,
}

/// The temperature that changes nothing, which classes without one have.
pub const fn no_temperature() -> f32 {
    1.0
}

fn is_zero(fraction: &f32) -> bool {
    *fraction == 0.0
}

fn is_no_temperature(temperature: &f32) -> bool {
    *temperature == no_temperature()
}

/// A coded concept as DICOM's code sequences hold it (PS3.3 section 8).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Code {
    /// Coding Scheme Designator: `SCT` for SNOMED CT, `99CHEXSEG` where none exists.
    pub scheme: String,
    /// Code Value.
    pub value: String,
    /// Code Meaning.
    pub meaning: String,
}

/// How a bundle's golden images are judged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GoldenSpec {
    /// Least share of equal pixels, above 0.5 and at most 1.
    pub min_agreement: f64,
    /// The most that mean or standard deviation of a plane of logits may be off, above 0; none: logits are not judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_logit_error: Option<f32>,
}

/// Where the weights come from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainingRecord {
    /// How it was trained, in a sentence or two.
    pub method: String,
    /// Name of the network.
    pub network: String,
    /// Seed of the run.
    pub seed: u64,
    /// Optimizer steps in all.
    pub steps: u64,
    /// Data that it learned from.
    pub sources: Vec<DataSource>,
}

/// One source of training or evaluation images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataSource {
    /// Its name.
    pub name: String,
    /// What it was used for.
    pub usage: String,
    /// Images used.
    pub images: u64,
    /// Terms of use.
    pub license: String,
    /// SHA-256 over the sorted list of the images' digests, lower-case hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

/// A measured figure with its 95% interval.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metric {
    /// Name, such as `iou` or `dice`.
    pub metric: String,
    /// Protocol (design: `dataset`, `chexlocalize`, `chexlocalize-full`).
    pub protocol: String,
    /// Class label, or a derived one such as `lungs`.
    pub class: String,
    /// Split that it was measured on.
    pub split: String,
    /// Source, or `all`.
    pub source: String,
    /// Arithmetic that was measured.
    pub quantization: Quantization,
    /// The figure.
    pub value: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Images.
    pub n: usize,
}

/// Why a manifest was refused.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// Not TOML, or not of the manifest's form.
    #[error("manifest is not valid: {0}")]
    Toml(#[from] toml::de::Error),
    /// Wrong or missing version.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// Made for another arithmetic.
    #[error(
        "the bundle was made with pipeline version {found}, this program runs {PIPELINE_VERSION}: export it anew"
    )]
    Pipeline {
        /// The bundle's.
        found: u32,
    },
    /// Preprocessing out of range.
    #[error(transparent)]
    Preprocess(#[from] PreprocessSpecError),
    /// Structures that are no classes.
    #[error(transparent)]
    Anatomy(#[from] AnatomySpecError),
    /// Measurements out of range.
    #[error(transparent)]
    Measurements(#[from] MeasurementsSpecError),
    /// A limit of quality out of range.
    #[error(transparent)]
    Quality(#[from] QualitySpecError),
    /// Another field out of range.
    #[error("{field} = {value}: must be {must}")]
    Field {
        /// Path of the field.
        field: String,
        /// Its value.
        value: String,
        /// What it must be.
        must: &'static str,
    },
    /// Not representable as TOML.
    #[error("failed to write manifest: {0}")]
    Write(#[from] toml::ser::Error),
}

impl Manifest {
    /// Parses and validates. The version is looked at first, so that a newer file gives a clear error and not
    /// one about the first field that changed.
    pub fn parse(text: &str) -> Result<Self, ManifestError> {
        #[derive(Deserialize)]
        struct Probe {
            schema: Option<SchemaVersion>,
        }
        let probe: Probe = toml::from_str(text)?;
        probe.schema.ok_or(SchemaError::Missing { what: WHAT })?.check(WHAT, SCHEMA)?;
        let manifest: Self = toml::from_str(text)?;
        manifest.validate()?;
        Ok(manifest)
    }

    /// As TOML.
    pub fn to_toml(&self) -> Result<String, ManifestError> {
        self.validate()?;
        Ok(toml::to_string_pretty(self)?)
    }

    /// Checks every range that the types do not.
    pub fn validate(&self) -> Result<(), ManifestError> {
        if self.pipeline_version != PIPELINE_VERSION {
            return Err(ManifestError::Pipeline { found: self.pipeline_version });
        }
        self.preprocess.validate()?;
        let check = |ok: bool, field: String, value: &dyn ToString, must| {
            if ok { Ok(()) } else { Err(ManifestError::Field { field, value: value.to_string(), must }) }
        };
        let plain =
            |name: &str| !name.is_empty() && !name.contains(['/', '\\', '\0']) && !name.starts_with('.');
        check(plain(&self.name), "name".into(), &self.name, "a plain folder name")?;
        check(plain(&self.graph.file), "graph.file".into(), &self.graph.file, "a plain file name")?;
        check(
            is_sha256(&self.graph.sha256),
            "graph.sha256".into(),
            &self.graph.sha256,
            "64 lower-case hex digits",
        )?;
        let side = self.postprocess.mask_max_side;
        check((16..=8192).contains(&side), "postprocess.mask_max_side".into(), &side, "from 16 to 8192")?;
        let agreement = self.golden.min_agreement;
        check(
            agreement > 0.5 && agreement <= 1.0,
            "golden.min_agreement".into(),
            &agreement,
            "above 0.5 and at most 1",
        )?;
        if let Some(error) = self.golden.max_logit_error {
            let ok = error > 0.0 && error.is_finite();
            check(ok, "golden.max_logit_error".into(), &error, "a finite number above 0")?;
        }
        check(!self.classes.is_empty(), "classes".into(), &"[]", "at least one class")?;
        for (i, class) in self.classes.iter().enumerate() {
            let field = |name: &str| format!("classes[{i}].{name}");
            let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
            let unique = self.classes[..i].iter().all(|c| c.label != class.label);
            let label_ok = !class.label.is_empty() && class.label.chars().all(legal) && unique;
            check(label_ok, field("label"), &class.label, "unique, of a-z, 0-9 and _")?;
            let temperature_ok = class.temperature > 0.0 && class.temperature.is_finite();
            check(temperature_ok, field("temperature"), &class.temperature, "a finite number above 0")?;
            let threshold_ok = class.threshold > 0.0 && class.threshold < 1.0;
            check(threshold_ok, field("threshold"), &class.threshold, "above 0 and below 1")?;
            let area_ok = (0.0..1.0).contains(&class.min_area_fraction);
            check(area_ok, field("min_area_fraction"), &class.min_area_fraction, "from 0 to below 1")?;
            let part_ok = (0.0..=1.0).contains(&class.min_part_fraction);
            check(part_ok, field("min_part_fraction"), &class.min_part_fraction, "from 0 to 1")?;
            let free = |label: &String| self.classes.iter().any(|c| c.label == *label && c.within.is_empty());
            if let Some(label) = class.within.iter().find(|label| !free(label)) {
                let must = "the label of a class that may lie anywhere itself";
                return Err(ManifestError::Field { field: field("within"), value: label.clone(), must });
            }
        }
        let labels: Vec<&str> = self.classes.iter().map(|class| class.label.as_str()).collect();
        self.anatomy.validate(&labels)?;
        self.measurements.validate(&self.anatomy)?;
        self.quality.validate()?;
        Ok(())
    }
}

pub(crate) fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::measure::CardiothoracicSpec;

    pub(crate) fn class(label: &str) -> ClassSpec {
        ClassSpec {
            label: label.into(),
            name: label.into(),
            code: Code { scheme: "SCT".into(), value: "80891009".into(), meaning: "Heart structure".into() },
            temperature: no_temperature(),
            threshold: 0.5,
            min_area_fraction: 0.001,
            min_part_fraction: 0.0,
            within: Vec::new(),
            color: Rgb([255, 0, 0]),
        }
    }

    pub(crate) fn manifest() -> Manifest {
        Manifest {
            schema: SCHEMA,
            name: "test".into(),
            version: "0.1.0".into(),
            description: "For tests.".into(),
            created: jiff::civil::date(2026, 11, 23),
            pipeline_version: PIPELINE_VERSION,
            graph: GraphSpec {
                file: "model.onnx".into(),
                sha256: "0".repeat(64),
                input: "image".into(),
                output: "logits".into(),
                quantization: Quantization::QdqInt8,
            },
            preprocess: PreprocessSpec::default(),
            postprocess: PostprocessSpec { mask_max_side: 1024 },
            golden: GoldenSpec { min_agreement: 0.995, max_logit_error: Some(0.25) },
            anatomy: AnatomySpec::default(),
            measurements: MeasurementsSpec::default(),
            quality: QualitySpec::default(),
            classes: vec![class("left_lung"), class("heart")],
            training: TrainingRecord {
                method: "none".into(),
                network: "none".into(),
                seed: 17,
                steps: 0,
                sources: vec![],
            },
            metrics: vec![Metric {
                metric: "iou".into(),
                protocol: "dataset".into(),
                class: "heart".into(),
                split: "strong_test".into(),
                source: "all".into(),
                quantization: Quantization::QdqInt8,
                value: 0.9,
                low: 0.8,
                high: 0.95,
                n: 56,
            }],
        }
    }

    #[test]
    fn toml_round_trip() {
        let text = manifest().to_toml().unwrap();
        assert_eq!(Manifest::parse(&text).unwrap(), manifest());
    }

    #[test]
    fn what_a_1_0_manifest_lacks_is_not_written_unless_it_says_something() {
        let mut manifest = manifest();
        let text = manifest.to_toml().unwrap();
        for key in ["anatomy", "measurements", "quality", "temperature", "min_part_fraction", "within"] {
            assert!(!text.contains(key), "{key}: {text}");
        }
        manifest.classes[0].temperature = 1.7;
        manifest.classes[0].min_part_fraction = 0.1;
        manifest.classes[0].within = vec!["heart".into()];
        manifest.classes.push(class("right_lung"));
        let label = |label: &str| Some(label.to_owned());
        manifest.anatomy = AnatomySpec {
            left_lung: label("left_lung"),
            right_lung: label("right_lung"),
            heart: label("heart"),
        };
        manifest.measurements.cardiothoracic_ratio = Some(CardiothoracicSpec::default());
        manifest.quality.tilted_from = 12.5;
        let text = manifest.to_toml().unwrap();
        assert_eq!(Manifest::parse(&text).unwrap(), manifest);
        let short = text.replace("tilted_from = 12.5", "tilted_from = 12.5\nblurred_from = 1.0");
        assert!(Manifest::parse(&short).unwrap_err().to_string().contains("blurred_from"));
    }

    #[test]
    fn unknown_keys_are_errors() {
        let text = manifest().to_toml().unwrap().replace("mask_max_side", "mask_maximum_side");
        assert!(Manifest::parse(&text).unwrap_err().to_string().contains("mask_maximum_side"));
        let text = format!("surprise = 1\n{}", manifest().to_toml().unwrap());
        assert!(Manifest::parse(&text).unwrap_err().to_string().contains("surprise"));
    }

    #[test]
    fn newer_major_is_told_apart_before_anything_else() {
        let error = Manifest::parse("schema = \"2.0\"\nbrand_new = true").unwrap_err().to_string();
        assert!(error.contains("schema 2.0") && error.contains("update"), "{error}");
        let error = Manifest::parse("name = \"x\"").unwrap_err().to_string();
        assert!(error.contains("no `schema`"), "{error}");
    }

    #[test]
    fn fields_out_of_range_are_named() {
        let bad = |f: fn(&mut Manifest)| {
            let mut m = manifest();
            f(&mut m);
            m.validate().unwrap_err().to_string()
        };
        assert!(bad(|m| m.pipeline_version = 99).contains("pipeline version 99"));
        assert!(bad(|m| m.name = "../up".into()).contains("name"));
        assert!(bad(|m| m.graph.file = "/etc/passwd".into()).contains("graph.file"));
        assert!(bad(|m| m.graph.sha256 = "XYZ".into()).contains("graph.sha256"));
        assert!(bad(|m| m.classes.clear()).contains("at least one"));
        assert!(bad(|m| m.classes[1].label = "left_lung".into()).contains("classes[1].label"));
        assert!(bad(|m| m.classes[0].threshold = f32::NAN).contains("classes[0].threshold"));
        assert!(bad(|m| m.classes[0].min_area_fraction = 1.0).contains("min_area_fraction"));
        assert!(bad(|m| m.classes[0].min_part_fraction = 1.1).contains("min_part_fraction"));
        assert!(bad(|m| m.classes[0].within = vec!["cor".into()]).contains("classes[0].within = cor"));
        assert!(bad(|m| m.classes[0].within = vec!["left_lung".into()]).contains("may lie anywhere"));
        assert!(bad(|m| m.classes[1].temperature = 0.0).contains("classes[1].temperature"));
        assert!(bad(|m| m.classes[1].temperature = f32::INFINITY).contains("temperature"));
        assert!(bad(|m| m.anatomy.heart = Some("cor".into())).contains("anatomy.heart"));
        assert!(
            bad(|m| m.measurements.cardiothoracic_ratio = Some(CardiothoracicSpec::default()))
                .contains("cardiothoracic_ratio")
        );
        assert!(bad(|m| m.quality.tilted_from = -1.0).contains("quality.tilted_from"));
        assert!(bad(|m| m.golden.min_agreement = 0.1).contains("min_agreement"));
        assert!(bad(|m| m.golden.max_logit_error = Some(0.0)).contains("max_logit_error"));
        assert!(bad(|m| m.postprocess.mask_max_side = 0).contains("mask_max_side"));
        assert!(bad(|m| m.preprocess.std = -1.0).contains("std"));
    }
}
