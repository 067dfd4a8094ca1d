use std::path::PathBuf;
use std::process::ExitCode;

use super::evaluate::Selection;
use super::{CliError, say};
use crate::config::Config;
use crate::dataset::data_root;

/// Arguments of `list`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Configuration of the experiment.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    #[command(flatten)]
    selection: Selection,
}

pub(super) fn run(args: &Args) -> Result<ExitCode, CliError> {
    let config = Config::load(&args.config)?;
    for record in args.selection.records(&config.index(&data_root()?)?) {
        say!("{}", record.image.display());
    }
    Ok(ExitCode::SUCCESS)
}
