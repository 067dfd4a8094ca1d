use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::figures::{STDOUT, show};
use super::{CliError, DeviceChoice, say};
use crate::config::{Config, Stage};
use crate::dataset::{Index, Record, Split, data_root};
use crate::evaluate::chexlocalize::{SalientPoints, Segmentations, hit_rates, score};
use crate::evaluate::{
    EvaluateError, ImageCounts, Judge, MaskFolder, Predictor, Protocol, Report, StoredCounts, count_images,
    write_counts,
};
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
    /// Judge masks: a folder that the edge agent wrote, or JSON of CheXlocalize's form.
    ///
    /// With --config and --masks: pictures of `edge-agent infer --out DIR $(host-trainer list …)` against the
    /// experts' masks of the configuration. With --ground-truth: JSON (image id → pathology → COCO run-length
    /// code) as CheXlocalize's eval.py scores it, either --predictions by --protocol or --points for the hit
    /// rate.
    Masks(MasksArgs),
    /// Compare two models over the same patients by a paired bootstrap of their pixel counts.
    Compare(super::compare::Args),
}

/// Arguments of `evaluate masks`: one of two forms.
#[derive(Debug, clap::Args)]
struct MasksArgs {
    /// Configuration of the experiment.
    #[arg(long, value_name = "FILE", required_unless_present = "ground_truth", requires = "masks")]
    config: Option<PathBuf>,
    /// Folder of <stem>.<class>.png at source resolution.
    #[arg(long, value_name = "DIR", required_unless_present = "ground_truth", requires = "config")]
    masks: Option<PathBuf>,
    #[command(flatten)]
    selection: Selection,
    /// Also write the pixel counts, for comparisons.
    #[arg(long, value_name = "FILE")]
    counts: Option<PathBuf>,
    /// Experts' masks as JSON of CheXlocalize's form.
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = ["config", "masks", "split", "source", "counts"],
        requires = "answer"
    )]
    ground_truth: Option<PathBuf>,
    /// Predicted masks as JSON of the same form.
    #[arg(long, value_name = "FILE", group = "answer", requires_all = ["ground_truth", "protocol"])]
    predictions: Option<PathBuf>,
    /// Most salient points as JSON: image id → pathology → [[x, y], …] or {"map": rows}.
    #[arg(long, value_name = "FILE", group = "answer", requires = "ground_truth")]
    points: Option<PathBuf>,
    /// How masks become figures: chexlocalize (images where both are present), chexlocalize-full (misses and
    /// false alarms count) or dataset (pixels of all images).
    #[arg(long, requires = "predictions")]
    protocol: Option<Protocol>,
    /// Seed of the bootstrap over the JSON files' images; eval.py has 0.
    #[arg(long, default_value_t = 0, requires = "ground_truth")]
    seed: u32,
    /// Print the figures as JSON instead of a table; with a file, write them there as well as the table.
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = STDOUT)]
    json: Option<PathBuf>,
}

/// What both kinds share.
#[derive(Debug, clap::Args)]
struct Common {
    /// Configuration of the experiment.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    #[command(flatten)]
    selection: Selection,
    /// Print the report as JSON instead of a table; with a file, write it there as well as the table.
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = STDOUT)]
    json: Option<PathBuf>,
    /// Also write the pixel counts, for comparisons.
    #[arg(long, value_name = "FILE")]
    counts: Option<PathBuf>,
}

/// Which images.
#[derive(Clone, Debug, clap::Args)]
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
        What::Compare(args) => super::compare::run(args),
        What::Checkpoint { common, model, threshold, masks_out, device } => {
            checkpoint(common, model, *threshold, masks_out.as_deref(), *device)
        }
        What::Masks(args) => match (&args.config, &args.masks, &args.ground_truth) {
            (_, _, Some(truth)) => score_json(args, truth),
            (Some(config), Some(masks), None) => {
                let common = Common {
                    config: config.clone(),
                    selection: args.selection.clone(),
                    json: args.json.clone(),
                    counts: args.counts.clone(),
                };
                mask_folder(&common, masks)
            }
            _ => unreachable!("clap demands --config and --masks, or --ground-truth"),
        },
    }
}

fn mask_folder(common: &Common, masks: &Path) -> Result<ExitCode, CliError> {
    let (config, _, records) = common.open()?;
    let labels = config.labels();
    let folder = MaskFolder::new(masks, labels.clone(), &records)?;
    let judge = Judge::new(&config);
    let counts =
        count_images(&judge, &labels, common.selection.split, &records, |record, _| folder.masks(record))?;
    common.publish(&judge, counts, config.seed)
}

/// CheXlocalize's files: no configuration, no split.
fn score_json(args: &MasksArgs, truth: &Path) -> Result<ExitCode, CliError> {
    let truth = Segmentations::read(truth).map_err(EvaluateError::from)?;
    if let Some(points) = &args.points {
        let points = SalientPoints::read(points).map_err(EvaluateError::from)?;
        let rates = hit_rates(&truth, &points, args.seed).map_err(EvaluateError::from)?;
        return show(args.json.as_deref(), &rates, || {
            say!("{} images, 95% intervals from 1000 resamples of images", rates.images);
            say!("{}", rates.table());
            rates.notes().iter().for_each(|note| say!("{note}"));
        });
    }
    let (Some(predictions), Some(protocol)) = (&args.predictions, args.protocol) else {
        unreachable!("clap demands --points, or --predictions with --protocol")
    };
    let predictions = Segmentations::read(predictions).map_err(EvaluateError::from)?;
    let scores = score(&truth, &predictions, protocol, args.seed).map_err(EvaluateError::from)?;
    show(args.json.as_deref(), &scores, || {
        say!("{} images, protocol {protocol}, 95% intervals from 1000 resamples of images", scores.images);
        say!("{}", scores.table());
        scores.notes().iter().for_each(|note| say!("{note}"));
    })
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
    let model = ModelFile::load_for(path, &config, &Stage::SEGMENTERS)?;
    let net = TorchNet::from_params(&model.info.graph, &model.params, device.device()?)
        .map_err(EvaluateError::from)?;
    let mut predictor = Predictor::new(&config, net);
    match threshold {
        Some(threshold) => predictor.set_threshold(threshold),
        None => {
            let (samples, name) = validation_samples(&config, Some(&index))?;
            predictor.fit_thresholds(&samples)?;
            let aloud = common.json.as_deref() != Some(Path::new(STDOUT));
            for class in predictor.classes().iter().filter(|_| aloud) {
                say!("{}: foreground from {:.2} (fitted on {name})", class.label, class.threshold);
            }
        }
    }
    if let Some(dir) = masks_out {
        fs::create_dir_all(dir).map_err(|source| CliError::Write { path: dir.to_owned(), source })?;
    }
    let judge = Judge::new(&config);
    let counts = count_images(&judge, &labels, common.selection.split, &records, |record, image| {
        let masks = predictor.masks(&image.frame, (image.frame.rows(), image.frame.cols()))?;
        if let Some(dir) = masks_out {
            for (label, mask) in labels.iter().zip(&masks) {
                MaskFolder::write(dir, record, label, mask)?;
            }
        }
        Ok(masks)
    })?;
    common.publish(&judge, counts, config.seed)
}

impl Common {
    fn open(&self) -> Result<(Config, Index, Vec<Record>), CliError> {
        let config = Config::load(&self.config)?;
        let index = config.index(&data_root()?)?;
        let records = self.selection.records(&index);
        Ok((config, index, records))
    }

    fn publish(&self, judge: &Judge, counts: Vec<ImageCounts>, seed: u64) -> Result<ExitCode, CliError> {
        let report = Report::new(judge, self.selection.split, &counts, seed);
        if let Some(path) = &self.counts {
            write_counts(path, &StoredCounts::new(judge, self.selection.split, counts))?;
        }
        show(self.json.as_deref(), &report, || {
            say!("{} images of {} patients, split {}", report.images, report.patients, report.split);
            say!("{}", report.table());
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use crate::cli::Cli;

    fn parse(words: &str) -> Result<Cli, String> {
        let words = ["host-trainer", "evaluate"].into_iter().chain(words.split_whitespace());
        Cli::try_parse_from(words).map_err(|error| error.to_string())
    }

    fn fixture(name: &str) -> String {
        format!("{}/tests/fixtures/chexlocalize_{name}.json", env!("CARGO_MANIFEST_DIR"))
    }

    #[test]
    fn masks_come_as_a_folder_or_as_json_but_not_as_both() {
        for words in [
            "masks --config a.toml --masks out --split strong_val --counts c.json --json r.json",
            "masks --ground-truth gt.json --predictions p.json --protocol chexlocalize --json",
            "masks --ground-truth gt.json --points p.json --seed 3",
            "checkpoint --config a.toml --model m.safetensors --json --threshold 0.5",
        ] {
            parse(words).unwrap();
        }
        for (words, named) in [
            ("masks", "--config"),
            ("masks --config a.toml", "--masks"),
            ("masks --ground-truth gt.json", "--predictions"),
            ("masks --ground-truth gt.json --predictions p.json", "--protocol"),
            (
                "masks --ground-truth gt.json --points p.json --predictions p.json --protocol dataset",
                "--points",
            ),
            ("masks --ground-truth gt.json --points p.json --config a.toml --masks out", "--config"),
            ("masks --ground-truth gt.json --points p.json --split strong_val", "--split"),
            ("masks --ground-truth gt.json --predictions p.json --protocol miou", "chexlocalize-full"),
            ("masks --config a.toml --masks out --protocol dataset", "--predictions"),
            ("masks --config a.toml --masks out --seed 1", "--ground-truth"),
        ] {
            let error = parse(words).unwrap_err();
            assert!(error.contains(named), "{words}: {error}");
        }
    }

    #[test]
    fn json_of_chexlocalize_is_scored_into_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let (truth, out) = (fixture("truth"), dir.path().join("scores.json"));
        for (answer, key) in [
            (format!("--predictions {} --protocol chexlocalize", fixture("predictions")), "iou"),
            (format!("--points {}", fixture("points")), "hit_rate"),
        ] {
            let words = format!("masks --ground-truth {truth} {answer} --json {}", out.display());
            parse(&words).unwrap().run().unwrap();
            let scores: serde_json::Value = serde_json::from_slice(&std::fs::read(&out).unwrap()).unwrap();
            assert!(scores["rows"][0][key]["value"].is_f64(), "{scores}");
        }
        let words = format!("masks --ground-truth {truth} --points {truth}");
        let error = parse(&words).unwrap().run().unwrap_err().describe();
        assert!(error.contains("chexlocalize_truth.json, image "), "{error}");
    }
}
