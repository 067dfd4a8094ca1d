use std::path::PathBuf;
use std::process::ExitCode;

use super::{CliError, say};
use crate::train::{CheckpointError, ModelFile, average};

/// Arguments of `average`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Model file that the training began with.
    began: PathBuf,
    /// Model file that it ended with.
    ended: PathBuf,
    /// Share of the second one's weights, 0 to 1.
    #[arg(long, value_parser = share)]
    share: f64,
    /// The model file to write.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

pub(super) fn run(args: &Args) -> Result<ExitCode, CliError> {
    let [began, ended] = [&args.began, &args.ended].map(|path| ModelFile::load(path));
    let misfit = |source| CheckpointError::Misfit { path: args.began.clone(), source };
    average(&began?, &ended?, args.share).map_err(misfit)?.save(&args.out)?;
    say!("{}", args.out.display());
    Ok(ExitCode::SUCCESS)
}

fn share(text: &str) -> Result<f64, String> {
    let share = text.parse().ok().filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| "must lie in 0..=1".to_owned())
}
