use std::path::PathBuf;
use std::process::ExitCode;

use super::{CliError, say};
use crate::report::write_training;

/// Arguments of `report`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Folder of a training, a running one too.
    #[arg(long, value_name = "DIR")]
    run: PathBuf,
}

pub(super) fn run(args: &Args) -> Result<ExitCode, CliError> {
    say!("{}", write_training(&args.run)?.display());
    Ok(ExitCode::SUCCESS)
}
