use std::path::PathBuf;
use std::process::ExitCode;

use super::compute::Compute;
use super::{CliError, STOPPED, say};
use crate::config::Config;
use crate::dataset::{Index, data_root};
use crate::pipeline::{Finished, Runner};
use crate::report::table;

/// Arguments of `run`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The experiment.
    #[arg(value_name = "EXPERIMENT")]
    config: PathBuf,
    /// Folder below which every step gets a folder of its own.
    #[arg(long, value_name = "DIR", default_value = "runs")]
    out: PathBuf,
    /// Print the steps and which of them are done, and do nothing.
    #[arg(long)]
    dry_run: bool,
    /// The quirks of the paper's code: no min–max before Otsu, no gating, Dice loss alone, no augmentation.
    #[arg(long)]
    compat_paper: bool,
    #[command(flatten)]
    compute: Compute,
}

pub(super) fn run(args: &Args) -> Result<ExitCode, CliError> {
    let mut config = Config::load(&args.config)?;
    config.compat_paper |= args.compat_paper;
    let config = config.with_quirks();
    let index = if config.data.is_empty() { Index::default() } else { config.index(&data_root()?)? };
    // A plan can be looked at where there is no GPU.
    let context = if args.dry_run { Compute::idle() } else { args.compute.context()? };
    let runner = Runner::new(&config, &index, &args.out, context)?;
    if args.dry_run {
        let mut table = table(&["step", "reads", "folder", ""], 9);
        for step in &runner.plan().steps {
            let reads: Vec<&str> =
                step.inputs.iter().map(|&place| runner.plan().steps[place].name.as_str()).collect();
            // A report reads everything.
            let reads = if reads.len() > 4 { format!("{} steps", reads.len()) } else { reads.join(", ") };
            let artifact = runner.artifact(step);
            let state = if artifact.is_done()? { "done" } else { "to do" };
            table.add_row([step.name.clone(), reads, artifact.dir().display().to_string(), state.to_owned()]);
        }
        say!("{table}");
        return Ok(ExitCode::SUCCESS);
    }
    let finished = runner.run(|line| say!("{line}"))?;
    match finished {
        Finished::All => {
            if let Some(step) = runner.plan().steps.last() {
                say!("done: {}", runner.artifact(step).dir().display());
            }
            Ok(ExitCode::SUCCESS)
        }
        Finished::Stopped => Ok(ExitCode::from(STOPPED)),
    }
}
