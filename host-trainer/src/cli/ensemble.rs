use std::path::PathBuf;
use std::process::ExitCode;

use super::{CliError, say};
use crate::config::Config;
use crate::dataset::data_root;
use crate::export::ensemble;
use crate::train::{Teacher, TeacherFile};

/// Arguments of `ensemble`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Configuration of the experiment, with `network.members`. Members whose files do not tell how they were trained were
    /// trained with it.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// A member's model file; it answers for some classes only if these are named. Once for each member.
    #[arg(long, value_name = "FILE[=CLASS,…]", required = true)]
    member: Vec<TeacherFile>,
    /// The model file to write.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

pub(super) fn run(args: &Args) -> Result<ExitCode, CliError> {
    let config = Config::load(&args.config)?;
    let members: Vec<Teacher> = args.member.iter().map(TeacherFile::load).collect::<Result<_, _>>()?;
    let index = config.index(&data_root()?)?;
    let model = ensemble(&config, &members, Some(&index))?;
    model.save(&args.out)?;
    say!("{}: {} networks as one, for export", args.out.display(), members.len());
    Ok(ExitCode::SUCCESS)
}
