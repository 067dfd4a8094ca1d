use std::path::PathBuf;

use clap::Args;
use comfy_table::{ContentArrangement, Table, presets};

use super::bundle::BundleArgs;
use super::error::CommandError;
use crate::check::{self, Report, Scope};
use crate::exit_code::Exit;
use crate::infer::AnalyzerOptions;

/// Verify configuration, bundle, folders and broker.
#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// Configuration file, which names the bundle and whom to trust; without one only the bundle is verified
    #[arg(long, value_name = "FILE", conflicts_with_all = ["trusted_keys", "allow_unsigned"])]
    config: Option<PathBuf>,
    /// Leave out what the agent can wait for: broker, watched folder, room on the disk
    #[arg(long, requires = "config")]
    essential: bool,
    #[command(flatten)]
    bundle: BundleArgs,
}

pub(super) fn main(args: &CheckArgs) -> Result<Exit, CommandError> {
    let report = match &args.config {
        Some(path) => {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(CommandError::Runtime)?;
            let scope = if args.essential { Scope::Essential } else { Scope::All };
            runtime.block_on(check::config(path, scope))
        }
        None => check::bundle(&args.bundle.dir()?, &args.bundle.trust(), 1, AnalyzerOptions::default()),
    };
    println!("{}", table(&report));
    Ok(report.exit())
}

pub(crate) fn table(report: &Report) -> Table {
    let mut table = Table::new();
    table
        .load_preset(presets::UTF8_FULL_CONDENSED)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(["check", "", "what was found"]);
    for check in &report.checks {
        let (state, text) = match &check.outcome {
            Ok(found) => ("ok", found),
            Err(failure) => ("FAILED", &failure.problem),
        };
        table.add_row([check.name.as_str(), state, text]);
    }
    table
}
