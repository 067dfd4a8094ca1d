//! The steps from image-level labels to pseudo-masks, each a command of its own.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::compute::Compute;
use super::{CliError, STOPPED, say};
use crate::config::{Config, Gate, PseudoSpec, Saliency, Stage, digest_of};
use crate::dataset::{Index, Split, data_root, file_digest};
use crate::pipeline::{classify, data_digest, learn_edges, look, make_pseudo_masks};
use crate::train::{Outcome, Roles, RunDir};

/// What all of them take.
#[derive(Debug, clap::Args)]
struct Common {
    /// The experiment.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    #[command(flatten)]
    compute: Compute,
}

/// Arguments of `classifier`.
#[derive(Debug, clap::Args)]
pub(super) struct ClassifierArgs {
    #[command(flatten)]
    common: Common,
    /// Folder of the training; one that was cut is taken up where it was left.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// Arguments of `saliency`.
#[derive(Debug, clap::Args)]
pub(super) struct SaliencyArgs {
    #[command(flatten)]
    common: Common,
    /// Folder of the classifier's training.
    #[arg(long, value_name = "DIR")]
    classifier: PathBuf,
    /// How attention is read off.
    #[arg(long, value_enum, default_value = "grad-cam")]
    method: Saliency,
    /// File of the maps (safetensors).
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// Arguments of `edges`.
#[derive(Debug, clap::Args)]
pub(super) struct EdgesArgs {
    #[command(flatten)]
    common: Common,
    /// Folder of the classifier's training.
    #[arg(long, value_name = "DIR")]
    classifier: PathBuf,
    /// The maps.
    #[arg(long, value_name = "FILE")]
    saliency: PathBuf,
    /// Which images teach.
    #[arg(long, value_enum, default_value = "empty")]
    gate: Gate,
    /// Folder of the training; one that was cut is taken up where it was left.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// Arguments of `pseudo-masks`.
#[derive(Debug, clap::Args)]
pub(super) struct PseudoArgs {
    #[command(flatten)]
    common: Common,
    /// The maps.
    #[arg(long, value_name = "FILE")]
    saliency: PathBuf,
    /// Folder of IRNet's edges; without them, maps are cut at Otsu's threshold.
    #[arg(long, value_name = "DIR")]
    edges: Option<PathBuf>,
    /// Which images get masks.
    #[arg(long, value_enum, default_value = "empty")]
    gate: Gate,
    /// Leave out min–max before Otsu's threshold, as the paper's code does.
    #[arg(long, conflicts_with = "edges")]
    compat_paper: bool,
    /// Folder of masks.json and quality.json.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

fn open(path: &Path) -> Result<(Config, Index), CliError> {
    let config = Config::load(path)?.with_quirks();
    let index = config.index(&data_root()?)?;
    Ok((config, index))
}

fn status(outcome: Outcome, result: &Path) -> ExitCode {
    match outcome {
        Outcome::Finished => {
            say!("done: {}", result.display());
            ExitCode::SUCCESS
        }
        Outcome::Stopped { .. } => ExitCode::from(STOPPED),
    }
}

fn create(dir: &Path) -> Result<(), CliError> {
    std::fs::create_dir_all(dir).map_err(|source| CliError::Write { path: dir.to_owned(), source })
}

pub(super) fn classifier(args: &ClassifierArgs) -> Result<ExitCode, CliError> {
    let context = args.common.compute.context()?;
    let (config, index) = open(&args.common.config)?;
    let data = data_digest(&index, &args.out)?;
    let digest = format!("{}-{data}", config.digest(Stage::Classifier));
    let outcome = classify(&context, &config, &Roles::of_splits(&index), digest, &args.out)?;
    Ok(status(outcome, &RunDir::new(&args.out).best()))
}

pub(super) fn saliency(args: &SaliencyArgs) -> Result<ExitCode, CliError> {
    let context = args.common.compute.context()?;
    let (config, index) = open(&args.common.config)?;
    // Never the images of the final figures.
    let records: Vec<_> =
        index.records.iter().filter(|record| record.split != Split::StrongTest).cloned().collect();
    let classifier = RunDir::new(&args.classifier).best();
    Ok(status(look(&context, &config, args.method, &classifier, &records, &args.out)?, &args.out))
}

pub(super) fn edges(args: &EdgesArgs) -> Result<ExitCode, CliError> {
    let context = args.common.compute.context()?;
    let (config, index) = open(&args.common.config)?;
    let classifier = RunDir::new(&args.classifier).best();
    let gate = config.gate(args.gate);
    let shaping = serde_json::json!([
        config.digest(Stage::Edges),
        data_digest(&index, &args.out)?,
        gate,
        config.findings,
        config.labels(),
        file_digest(&classifier)?,
        file_digest(&args.saliency)?,
    ]);
    let digest = digest_of(&shaping);
    let files = (classifier.as_path(), args.saliency.as_path());
    let weak = index.of(Split::Weak);
    let outcome = learn_edges(&context, &config, gate, files, &weak, digest, &args.out)?;
    Ok(status(outcome, &RunDir::new(&args.out).best()))
}

pub(super) fn pseudo_masks(args: &PseudoArgs) -> Result<ExitCode, CliError> {
    let context = args.common.compute.context()?;
    let (mut config, index) = open(&args.common.config)?;
    config.compat_paper |= args.compat_paper;
    let edges = args.edges.as_ref().map(|dir| RunDir::new(dir).best());
    let spec =
        PseudoSpec { saliency: Saliency::GradCam, irnet: edges.is_some(), gate: config.gate(args.gate) };
    create(&args.out)?;
    let judged = [Split::StrongTrain, Split::StrongVal].map(|split| index.of(split)).concat();
    let files = (args.saliency.as_path(), edges.as_deref());
    let images = (&index.of(Split::Weak)[..], &judged[..]);
    let outcome = make_pseudo_masks(&context, &config, &spec, files, images, &args.out)?;
    Ok(status(outcome, &args.out.join("masks.json")))
}
