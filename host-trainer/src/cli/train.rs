use std::path::PathBuf;
use std::process::ExitCode;

use super::{CliError, DeviceChoice, STOPPED, say};
use crate::config::{Config, Stage};
use crate::train::{Outcome, Session, Start, StopFlag, TrainingData};

/// Arguments of `pretrain` and `train`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Configuration of the experiment.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Folder of the run: checkpoint, best model, history. A new run needs a folder without one.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Go on from the checkpoint in the folder; the result is the one of an uninterrupted run.
    #[arg(long, conflicts_with = "init")]
    resume: bool,
    /// Begin with the weights of this model file (best.safetensors of another run); tensors that differ in
    /// shape start fresh.
    #[arg(long, value_name = "FILE")]
    init: Option<PathBuf>,
    /// Where to compute: auto, cpu or cuda:N.
    #[arg(long, default_value = "auto")]
    device: DeviceChoice,
    /// Threads of libtorch; a run repeats bit for bit only with the same number. Default: all cores.
    #[arg(long, value_parser = clap::value_parser!(i32).range(1..=1024))]
    threads: Option<i32>,
    /// Threads that prepare batches; their number does not change the result.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    workers: u16,
}

pub(super) fn run(args: &Args, stage: Stage) -> Result<ExitCode, CliError> {
    if let Some(threads) = args.threads {
        tch::set_num_threads(threads);
    }
    let stop = StopFlag::on_signals()?;
    let config = Config::load(&args.config)?;
    let start = if args.resume { Start::Resume } else { Start::New { init: args.init.clone() } };
    let mut session = Session::open(&config, stage, &args.out, &start, args.device.device()?)?;
    let data = TrainingData::load(&config, stage, None)?;
    let outcome = session.run(&data, &stop, args.workers.into())?;
    if let Some(best) = session.best() {
        let path = session.run_dir().best();
        say!("best: IoU {:.4} at step {}, in {}", best.mean_iou, best.step, path.display());
    }
    match outcome {
        Outcome::Finished => Ok(ExitCode::SUCCESS),
        Outcome::Stopped { .. } => Ok(ExitCode::from(STOPPED)),
    }
}
