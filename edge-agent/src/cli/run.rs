use std::path::PathBuf;

use clap::Args;

use super::error::CommandError;
use crate::config::AgentConfig;
use crate::exit_code::Exit;
use crate::pipeline;

/// Run the daemon.
#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// Configuration file
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

pub(super) fn main(args: &RunArgs) -> Result<Exit, CommandError> {
    let config = AgentConfig::load(&args.config)?;
    let runtime = tokio::runtime::Runtime::new().map_err(CommandError::Runtime)?;
    let ended = runtime.block_on(pipeline::run_daemon(config));
    // Dropping it would wait for a scan that hangs on a dead network folder.
    runtime.shutdown_background();
    ended?;
    Ok(Exit::Ok)
}
