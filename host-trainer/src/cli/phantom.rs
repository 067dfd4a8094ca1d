use std::path::PathBuf;
use std::process::ExitCode;

use super::{CliError, say};
use crate::dataset::{PhantomSpec, write_phantom_folder};

/// Arguments of `phantom`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Folder to write: png/, mask/STRUCTURE/, labels.csv.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// How many.
    #[arg(long, default_value_t = 8)]
    count: usize,
    /// Longer side in pixels.
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u16).range(128..=4096))]
    size: u16,
    /// Seed: the same gives the same radiographs.
    #[arg(long, default_value_t = PhantomSpec::default().seed)]
    seed: u64,
}

pub(super) fn run(args: &Args) -> Result<ExitCode, CliError> {
    let spec = PhantomSpec { size: args.size.into(), seed: args.seed, ..PhantomSpec::default() };
    write_phantom_folder(&spec, args.count, &args.out)?;
    say!("{} phantoms in {}", args.count, args.out.display());
    Ok(ExitCode::SUCCESS)
}
