use std::path::PathBuf;
use std::process::ExitCode;

use super::compute::Compute;
use super::{CliError, STOPPED, say};
use crate::config::{Config, Stage, digest_of};
use crate::dataset::file_digest;
use crate::pipeline::{SegmenterInputs, data_digest};
use crate::train::{Images, Outcome, Session, Start, TeacherFile, index_for};

/// Arguments of `pretrain`, and of `train` among others.
#[derive(Debug, clap::Args)]
pub(super) struct PretrainArgs {
    /// Configuration of the experiment.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Folder of the run: checkpoint, best model, history. A new run needs a folder without one.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Go on from the checkpoint in the folder; the result is the one of an uninterrupted run.
    #[arg(long)]
    resume: bool,
    /// Begin with the weights of this model file (best.safetensors of another run, a classifier's too); tensors that
    /// differ in shape start fresh. It counts at the beginning only, not with --resume.
    #[arg(long, value_name = "FILE")]
    init: Option<PathBuf>,
    /// Another seed than the configuration's, for a further member of an ensemble.
    #[arg(long, value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    seed: Option<u64>,
    #[command(flatten)]
    compute: Compute,
}

/// Arguments of `train`.
#[derive(Debug, clap::Args)]
pub(super) struct TrainArgs {
    #[command(flatten)]
    common: PretrainArgs,
    /// Learn from these pseudo-masks of the weak images too (masks.json of pseudo-masks).
    #[arg(long, value_name = "FILE")]
    pseudo: Option<PathBuf>,
    /// Imitate this model, in some classes only if these are named; may be given several times.
    #[arg(long, value_name = "FILE[=CLASS,…]")]
    teacher: Vec<TeacherFile>,
}

pub(super) fn pretrain(args: &PretrainArgs) -> Result<ExitCode, CliError> {
    run(args, Stage::Pretrain, &SegmenterInputs::default())
}

pub(super) fn train(args: &TrainArgs) -> Result<ExitCode, CliError> {
    let inputs = SegmenterInputs { init: None, pseudo: args.pseudo.clone(), teachers: args.teacher.clone() };
    run(&args.common, Stage::Train, &inputs)
}

/// `--init` counts at the start only, so it comes from `args`, not with the inputs.
fn run(args: &PretrainArgs, stage: Stage, inputs: &SegmenterInputs) -> Result<ExitCode, CliError> {
    let context = args.compute.context()?;
    let config = Config::load(&args.config)?.with_quirks();
    let seed = args.seed.unwrap_or(config.seed);
    let config = config.with_seed(seed);
    let index = index_for(&config, stage)?;
    let start = if args.resume { Start::Resume } else { Start::New { init: args.init.clone() } };
    let mut job = inputs.job(&config, stage);
    let teachers = inputs.teachers.iter().map(|teacher| &teacher.path);
    let read = inputs.pseudo.iter().chain(teachers).map(|path| file_digest(path));
    let read: Vec<String> = read.collect::<Result<_, _>>()?;
    let data = data_digest(&index, &args.out)?;
    let imitation = (!inputs.teachers.is_empty()).then(|| {
        let taught: Vec<&[String]> =
            inputs.teachers.iter().map(|teacher| teacher.classes.as_slice()).collect();
        (&config.distillation, taught)
    });
    job.digest = digest_of(&serde_json::json!([job.digest, data, read, imitation]));
    let mut session = Session::open(job, &args.out, &start, context.device)?;
    let task =
        inputs.task(&context, &config, stage, |pseudo| Images::of_splits(&config, stage, &index, pseudo))?;
    let outcome = session.run(&task, &context.stop, context.workers)?;
    if let Some(best) = session.best() {
        let path = session.run_dir().best();
        say!("best: IoU {:.4} at step {}, in {}", best.score, best.step, path.display());
    }
    match outcome {
        Outcome::Finished => Ok(ExitCode::SUCCESS),
        Outcome::Stopped { .. } => Ok(ExitCode::from(STOPPED)),
    }
}
