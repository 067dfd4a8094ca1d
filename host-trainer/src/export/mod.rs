//! From a trained model to a bundle that the edge agent runs.
//!
//! ```text
//! ModelFile ─► fold batch norm ─► ladder: calibration methods, equalization, bias correction, parts in f32, fine-tuning
//!           ─► best by validation IoU, with thresholds from the same images ─► time on the device's engine
//!           ─► figures on strong_test ─► ONNX + manifest + card + golden + digests
//! ```

mod card;
mod ensemble;
mod error;
mod folder;
mod golden;
mod ladder;
mod latency;
mod provenance;
#[cfg(test)]
mod reproducible;

use std::path::{Path, PathBuf};

use comfy_table::Table;
use shared::PIPELINE_VERSION;
use shared::bundle::sha256_hex;
use shared::manifest::{self, GoldenSpec, GraphSpec, Manifest, Metric, PostprocessSpec, Quantization};
use tch::Device;

pub use ensemble::ensemble;
pub use error::ExportError;
pub use ladder::{Climb, Ladder, QuantizeChoice, Rung};

use crate::config::{Config, Stage};
use crate::dataset::{Index, Record, Sample, Split};
use crate::evaluate::{Judge, Measure, Predictor, Report};
use crate::examine::{Agent, Examination};
use crate::net::{first_output_only, fold_batch_norm};
use crate::onnx::{self, INPUT, OUTPUT};
use crate::train::{ModelFile, Teacher, Teachers, validation_samples};

/// What to export and how.
#[derive(Debug)]
pub struct Request<'a> {
    /// The experiment.
    pub config: &'a Config,
    /// The trained model.
    pub model: &'a ModelFile,
    /// The data sets; none, or without a split: calibrate on phantoms, no figures.
    pub index: Option<&'a Index>,
    /// Arithmetic of the shipped graph.
    pub quantize: QuantizeChoice,
    /// Where to compute.
    pub device: Device,
    /// The device's program, which times the forms; none: they are not timed.
    pub agent: Option<&'a Agent>,
    /// The ensemble that taught the model, judged beside it; empty: none.
    pub teachers: &'a [Teacher],
    /// What the edge agent made of this very graph, for the card; none: the card says nothing of it.
    pub examination: Option<&'a Examination>,
    /// Folder of the bundle.
    pub out: &'a Path,
}

/// What came of it.
#[derive(Debug)]
pub struct Exported {
    /// Folder of the bundle.
    pub path: PathBuf,
    /// Size of the graph in bytes.
    pub graph_bytes: usize,
    /// The quantization methods with their validation IoU.
    pub ladder: Ladder,
    /// Figures on `strong_test`: the f32 network first, then the shipped one if it is another.
    pub reports: Vec<(Quantization, Report)>,
    /// Figures of the teachers together.
    pub teachers: Option<Report>,
}

impl Exported {
    /// The ladder for people.
    pub fn ladder_table(&self, labels: &[String]) -> Table {
        self.ladder.table(labels, true)
    }
}

/// Exports a model. A bundle that is in the folder already is replaced when the new one is whole.
pub fn export(request: &Request<'_>) -> Result<Exported, ExportError> {
    let Request { config, model, index, quantize, device, agent, teachers, examination, out } = *request;
    model.info.require(config, &Stage::SEGMENTERS)?;
    // The device reads logits only.
    let (graph, params) = first_output_only(&model.info.graph, &model.params);
    let (graph, params) = fold_batch_norm(&graph, &params)?;
    let (validation, validation_name) = validation_samples(config, index)?;
    let info = onnx_info(config, model);
    let climb = Climb {
        config,
        model,
        graph: &graph,
        params: &params,
        validation: &validation,
        index,
        info: &info,
        device,
    };
    let mut ladder = climb.ladder(quantize)?;
    ladder.validation_name = validation_name;
    match agent {
        Some(agent) => latency::time(agent, ladder.rungs_mut())?,
        None => tracing::info!("no edge-agent is at hand: the forms are not timed"),
    }
    let shipped = ladder.chosen();

    if let Some(examination) = examination {
        let graph = sha256_hex(&shipped.bytes);
        if examination.model != graph {
            return Err(ExportError::OtherExamination { examined: examination.model.clone(), graph });
        }
    }
    // Without test images the card says that nothing was measured.
    let mut reports = Vec::new();
    let test = index.map_or_else(Vec::new, |index| index.of(Split::StrongTest));
    if !test.is_empty() {
        reports.push((
            Quantization::F32,
            test_report(config, &test, &ladder.reference().predictor(config, device)?)?,
        ));
        if shipped.quantization() != Quantization::F32 {
            reports.push((
                shipped.quantization(),
                test_report(config, &test, &shipped.predictor(config, device)?)?,
            ));
        }
    }

    let taught_by = match teachers {
        [] => None,
        _ if test.is_empty() => None,
        _ => Some(test_report(config, &test, &teachers_together(config, teachers, &validation, device)?)?),
    };
    let manifest = Manifest {
        schema: manifest::SCHEMA,
        name: config.name.clone(),
        version: config.export.version.clone(),
        description: config.export.description.clone(),
        created: provenance::today(),
        pipeline_version: PIPELINE_VERSION,
        graph: GraphSpec {
            file: folder::GRAPH_FILE.into(),
            sha256: sha256_hex(&shipped.bytes),
            input: INPUT.into(),
            output: OUTPUT.into(),
            quantization: shipped.quantization(),
        },
        preprocess: config.preprocess.clone(),
        postprocess: PostprocessSpec { mask_max_side: config.export.mask_max_side },
        golden: GoldenSpec {
            min_agreement: config.export.min_agreement,
            max_logit_error: Some(config.export.max_logit_error),
        },
        anatomy: config.export.anatomy.clone(),
        measurements: config.export.measurements(),
        quality: config.export.quality.clone(),
        classes: shipped.classes().to_vec(),
        training: provenance::training_record(config, model, index)?,
        metrics: reports.iter().flat_map(|(quantization, report)| metrics(*quantization, report)).collect(),
    };
    let golden = golden::cases(config, &shipped.predictor(config, device)?)?;
    let network = &model.info.graph;
    let evidence = card::Evidence { network, ladder: &ladder, teachers: taught_by.as_ref(), examination };
    let card = card::render(config, &manifest, &evidence);
    folder::write(
        out,
        &folder::Contents { graph: &shipped.bytes, manifest: &manifest, card: &card, golden: &golden },
    )?;
    let graph_bytes = shipped.bytes.len();
    Ok(Exported { path: out.to_owned(), graph_bytes, ladder, reports, teachers: taught_by })
}

/// Teachers as one model: the mean of their probabilities, with thresholds of its own.
fn teachers_together(
    config: &Config,
    teachers: &[Teacher],
    validation: &[Sample],
    device: Device,
) -> Result<Predictor<'static>, ExportError> {
    let nets = Teachers::new(config, teachers, device)?;
    let mut predictor = Predictor::with_forward(config, device, move |image| {
        let p = nets.answer(image, 1.0)?.f_clamp(1e-6, 1.0 - 1e-6)?;
        Ok(p.f_log()?.f_sub(&p.f_neg()?.f_log1p()?)?)
    });
    predictor.fit_thresholds(validation)?;
    Ok(predictor)
}

fn test_report(
    config: &Config,
    records: &[Record],
    predictor: &Predictor<'_>,
) -> Result<Report, ExportError> {
    let report = Report::measure(
        &Judge::new(config),
        &config.labels(),
        Split::StrongTest,
        records,
        config.seed,
        |_, image| predictor.masks(&image.frame, (image.frame.rows(), image.frame.cols())),
    )?;
    Ok(report)
}

fn metrics(quantization: Quantization, report: &Report) -> impl Iterator<Item = Metric> {
    let split = report.split.to_string();
    report.rows.iter().filter(|row| row.measure == Measure::Iou).map(move |row| {
        // Manifests demand an interval. Of too few patients for one nothing is known but that an IoU
        // lies between 0 and 1.
        let (low, high) = row.interval.bounds.map_or((0.0, 1.0), |bounds| (bounds.low, bounds.high));
        Metric {
            metric: row.measure.name().into(),
            protocol: row.protocol.name().into(),
            class: row.class.clone(),
            split: split.clone(),
            source: row.source.clone(),
            quantization,
            value: rounded(row.interval.value),
            low: rounded(low),
            high: rounded(high),
            n: row.n,
        }
    })
}

/// Four decimals: more would pretend to a precision that the sample does not have.
fn rounded(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}

fn onnx_info(config: &Config, model: &ModelFile) -> onnx::ModelInfo {
    onnx::ModelInfo {
        doc: config.export.description.clone(),
        metadata: vec![
            ("name".into(), config.name.clone()),
            ("version".into(), config.export.version.clone()),
            ("network".into(), model.info.graph.name.clone()),
            ("classes".into(), config.labels().join(",")),
        ],
    }
}

#[cfg(test)]
pub(super) mod tests {
    use shared::bundle::Bundle;

    use super::*;
    use crate::config::{Stage, tiny};
    use crate::net::he_init;
    use crate::train::ModelInfo;

    pub(super) fn config() -> Config {
        tiny("[phantom]\nsize = 128\n[export]\ngolden = 1\n")
    }

    pub(super) fn model(config: &Config) -> ModelFile {
        let info = ModelInfo {
            graph: config.graph(),
            labels: config.labels(),
            preprocess: config.preprocess.clone(),
            stage: Stage::Pretrain,
            step: 1,
            total_steps: 1,
            seed: 1,
            teachers: 0,
            pseudo_masks: false,
            share: None,
            record: None,
            validation: vec![None, None],
        };
        ModelFile { params: he_init(&info.graph, 1), info }
    }

    #[test]
    fn an_int8_bundle_opens_and_is_replaced_whole() {
        let (config, dir) = (config(), tempfile::tempdir().unwrap());
        // With a trailing slash, as shells complete folders.
        let (model, out) = (model(&config), dir.path().join("tiny/"));
        let export_as = |quantize| {
            let device = Device::Cpu;
            let (config, model) = (&config, &model);
            let (index, agent, teachers, examination, out) = (None, None, &[][..], None, out.as_path());
            export(&Request { config, model, index, quantize, device, agent, teachers, examination, out })
                .unwrap()
        };
        let exported = export_as(QuantizeChoice::Int8);
        assert!(exported.reports.is_empty());
        let table = exported.ladder_table(&config.labels()).to_string();
        assert_eq!(table.matches("shipped").count(), 1, "{table}");
        let bundle = Bundle::open(&out).unwrap();
        assert_eq!(bundle.manifest().graph.quantization, Quantization::QdqInt8);
        assert_eq!(bundle.golden().unwrap().len(), 1);
        let card = std::fs::read_to_string(out.join("MODEL_CARD.md")).unwrap();
        assert!(card.contains("left_lung | SCT 44029006") && card.contains("Not measured"), "{card}");

        export_as(QuantizeChoice::None);
        let bundle = Bundle::open(&out).unwrap();
        assert_eq!(bundle.manifest().graph.quantization, Quantization::F32);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left beside the bundle");
    }

    #[test]
    fn data_without_test_images_is_not_measured_and_a_stopped_export_is_made_good() {
        let (config, dir) = (config(), tempfile::tempdir().unwrap());
        let (model, out, index) = (model(&config), dir.path().join("tiny"), Index::default());
        let export = || {
            let (quantize, device) = (QuantizeChoice::None, Device::Cpu);
            export(&Request {
                config: &config,
                model: &model,
                index: Some(&index),
                quantize,
                device,
                agent: None,
                teachers: &[],
                examination: None,
                out: &out,
            })
        };
        assert!(export().unwrap().reports.is_empty());
        let card = std::fs::read_to_string(out.join("MODEL_CARD.md")).unwrap();
        assert!(card.contains("Not measured"), "{card}");

        let entries = || std::fs::read_dir(dir.path()).unwrap().count();
        let old = dir.path().join("tiny.old");
        // Stopped between the two renames.
        folder::set_aside(&out).unwrap();
        assert!(!out.exists() && old.exists());
        folder::restore(&out).unwrap();
        assert!(Bundle::open(&out).is_ok() && !old.exists());
        folder::set_aside(&out).unwrap();
        export().unwrap();
        assert!(Bundle::open(&out).is_ok());
        assert_eq!(entries(), 1, "nothing is left beside the bundle");

        // Somebody else's folder under the name is left alone.
        std::fs::create_dir(&old).unwrap();
        std::fs::write(old.join("precious"), b"").unwrap();
        let error = export().unwrap_err();
        assert!(matches!(&error, ExportError::NotABundle { path } if *path == old), "{error}");
        assert!(old.join("precious").exists() && Bundle::open(&out).is_ok());
    }

    #[test]
    fn foreign_models_and_folders_are_refused() {
        let (config, dir) = (config(), tempfile::tempdir().unwrap());
        let request = |model: &ModelFile, out: &Path| {
            let (quantize, device) = (QuantizeChoice::None, Device::Cpu);
            let (config, index, agent, teachers, examination) = (&config, None, None, &[][..], None);
            export(&Request { config, model, index, quantize, device, agent, teachers, examination, out })
                .unwrap_err()
        };
        let mut other = model(&config);
        other.info.labels.reverse();
        let error = request(&other, &dir.path().join("new"));
        assert!(
            matches!(&error, ExportError::OtherModel(misfit) if misfit.what == "list of labels"),
            "{error}"
        );
        std::fs::write(dir.path().join("precious"), b"").unwrap();
        let error = request(&model(&config), dir.path());
        assert!(matches!(error, ExportError::NotABundle { .. }), "{error}");
        assert!(dir.path().join("precious").exists());
    }
}
