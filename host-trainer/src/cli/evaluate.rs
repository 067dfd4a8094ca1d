use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::{CliError, DeviceChoice, say};
use crate::config::Config;
use crate::dataset::{Index, Record, Split, data_root};
use crate::evaluate::{EvaluateError, Judge, MaskFolder, Predictor, Report};
use crate::net::TorchNet;
use crate::train::{ModelFile, validation_samples};

/// Arguments of `evaluate`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Judge a model file, run by libtorch in f32; thresholds are fitted on strong_val.
    Checkpoint {
        #[command(flatten)]
        common: Common,
        /// Model file (best.safetensors of a run).
        #[arg(long, value_name = "FILE")]
        model: PathBuf,
        /// One threshold for all classes instead of fitted ones.
        #[arg(long, value_name = "P", value_parser = probability)]
        threshold: Option<f32>,
        /// Also write the masks as <stem>.<class>.png into this folder.
        #[arg(long, value_name = "DIR")]
        masks_out: Option<PathBuf>,
        /// Where to compute: auto, cpu or cuda:N.
        #[arg(long, default_value = "auto")]
        device: DeviceChoice,
    },
    /// Judge masks that the edge agent wrote: `edge-agent infer --out DIR $(host-trainer list …)`.
    Masks {
        #[command(flatten)]
        common: Common,
        /// Folder of <stem>.<class>.png at source resolution.
        #[arg(long, value_name = "DIR")]
        masks: PathBuf,
    },
}

/// What both kinds share.
#[derive(Debug, clap::Args)]
struct Common {
    /// Configuration of the experiment.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    #[command(flatten)]
    selection: Selection,
    /// Also write the report as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Which images.
#[derive(Debug, clap::Args)]
pub(super) struct Selection {
    /// Split: strong_train, strong_val or strong_test.
    #[arg(long, default_value = "strong_test")]
    split: Split,
    /// Only images of this source.
    #[arg(long)]
    source: Option<String>,
}

/// A threshold. Its logit must be finite.
fn probability(text: &str) -> Result<f32, String> {
    match text.parse::<f32>() {
        Ok(p) if p > 0.0 && p < 1.0 => Ok(p),
        _ => Err("expected a number above 0 and below 1".into()),
    }
}

impl Selection {
    pub(super) fn records(&self, index: &Index) -> Vec<Record> {
        let wanted = |record: &Record| self.source.as_ref().is_none_or(|source| record.source == *source);
        index.of(self.split).into_iter().filter(wanted).collect()
    }
}

pub(super) fn run(args: &Args) -> Result<ExitCode, CliError> {
    match &args.what {
        What::Checkpoint { common, model, threshold, masks_out, device } => {
            checkpoint(common, model, *threshold, masks_out.as_deref(), *device)
        }
        What::Masks { common, masks } => {
            let (config, _, records) = common.open()?;
            let labels = config.labels();
            let folder = MaskFolder::new(masks, labels.clone(), &records)?;
            let report = Report::measure(
                &Judge::new(&config),
                &labels,
                common.selection.split,
                &records,
                config.seed,
                |record, _| folder.masks(record),
            )?;
            common.publish(&report)
        }
    }
}

fn checkpoint(
    common: &Common,
    path: &Path,
    threshold: Option<f32>,
    masks_out: Option<&Path>,
    device: DeviceChoice,
) -> Result<ExitCode, CliError> {
    let (config, index, records) = common.open()?;
    let labels = config.labels();
    let model = ModelFile::load(path).map_err(EvaluateError::from)?;
    if model.info.labels != labels {
        let (found, expected) = (model.info.labels.join(", "), labels.join(", "));
        return Err(EvaluateError::OtherClasses { path: path.to_owned(), found, expected }.into());
    }
    let net = TorchNet::from_params(&model.info.graph, &model.params, device.device()?)
        .map_err(EvaluateError::from)?;
    let mut predictor = Predictor::new(&config, net);
    match threshold {
        Some(threshold) => predictor.set_threshold(threshold),
        None => {
            let (samples, name) = validation_samples(&config, Some(&index))?;
            predictor.fit_thresholds(&samples)?;
            for class in predictor.classes() {
                say!("{}: foreground from {:.2} (fitted on {name})", class.label, class.threshold);
            }
        }
    }
    if let Some(dir) = masks_out {
        fs::create_dir_all(dir).map_err(|source| CliError::Write { path: dir.to_owned(), source })?;
    }
    let report = Report::measure(
        &Judge::new(&config),
        &labels,
        common.selection.split,
        &records,
        config.seed,
        |record, image| {
            let masks = predictor.masks(&image.frame, (image.frame.rows(), image.frame.cols()))?;
            if let Some(dir) = masks_out {
                for (label, mask) in labels.iter().zip(&masks) {
                    MaskFolder::write(dir, record, label, mask)?;
                }
            }
            Ok(masks)
        },
    )?;
    common.publish(&report)
}

impl Common {
    fn open(&self) -> Result<(Config, Index, Vec<Record>), CliError> {
        let config = Config::load(&self.config)?;
        let index = config.index(&data_root()?)?;
        let records = self.selection.records(&index);
        Ok((config, index, records))
    }

    fn publish(&self, report: &Report) -> Result<ExitCode, CliError> {
        say!("{} images of {} patients, split {}", report.images, report.patients, report.split);
        say!("{}", report.table());
        if let Some(path) = &self.json {
            let json = serde_json::to_string_pretty(report).expect("reports are plain data with text keys");
            fs::write(path, json).map_err(|source| CliError::Write { path: path.clone(), source })?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
