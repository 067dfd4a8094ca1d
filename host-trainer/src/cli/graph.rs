use std::path::PathBuf;
use std::process::ExitCode;

use super::{CliError, say};
use crate::config::Config;
use crate::report::graph_table;

/// Arguments of `graph`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Configuration of the experiment.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Print the graph as JSON, for other programs to build the same network.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Result<ExitCode, CliError> {
    let config = Config::load(&args.config)?;
    let graph = config.graph();
    if args.json {
        say!("{}", serde_json::json!(graph));
        return Ok(ExitCode::SUCCESS);
    }
    say!("{}\n{}", graph.name, graph_table(&graph, config.preprocess.input_size)?);
    Ok(ExitCode::SUCCESS)
}
