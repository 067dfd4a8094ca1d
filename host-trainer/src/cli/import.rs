use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use indicatif::{ProgressBar, ProgressStyle};

use super::{CliError, say};
use crate::config::Config;
use crate::dataset::{ImportOptions, ImportStep, data_root, import};

/// Arguments of `import`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Configuration of the experiment.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Folder to write: index.jsonl and images/.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Only this data set; may be given more than once.
    #[arg(long, value_name = "NAME")]
    dataset: Vec<String>,
    /// Shrink images whose longer side exceeds this, and their masks.
    #[arg(long, value_name = "PX", value_parser = clap::value_parser!(u16).range(16..=8192))]
    max_side: Option<u16>,
    /// Leave out images that cannot be used, instead of writing nothing.
    #[arg(long)]
    skip_broken: bool,
}

pub(super) fn run(args: &Args) -> Result<ExitCode, CliError> {
    let config = Config::load(&args.config)?;
    if let Some(unknown) = args.dataset.iter().find(|name| !config.data.contains_key(*name)) {
        let known = config.data.keys().cloned().collect::<Vec<_>>().join(", ");
        return Err(CliError::NoSuchDataset { name: unknown.clone(), known });
    }
    let wanted = |name: &String| args.dataset.is_empty() || args.dataset.contains(name);
    let options = ImportOptions {
        out: &args.out,
        max_side: args.max_side.map(usize::from),
        skip_broken: args.skip_broken,
        terms: &config.export.licenses,
    };
    let progress = Progress::new();
    let data = config.data.iter().filter(|(name, _)| wanted(name));
    let report = import(data, &data_root()?, &options, &|step| progress.show(step))?;
    progress.end();
    say!("{}", report.summary.table());
    for hard in [false, true] {
        for problem in report.problems.iter().filter(|problem| problem.is_hard() == hard) {
            say!("{}: {problem}", if hard { "error" } else { "note" });
        }
    }
    let hard = report.problems.iter().filter(|problem| problem.is_hard()).count();
    match report.written {
        Some(images) => {
            let skipped = if hard == 0 { String::new() } else { format!(", {hard} problems left out") };
            say!("{images} images in {}{skipped}", args.out.display());
            Ok(ExitCode::SUCCESS)
        }
        None => {
            say!(
                "{hard} problems: nothing was written; mend them, or leave those images out with --skip-broken"
            );
            Ok(ExitCode::FAILURE)
        }
    }
}

/// A bar on a terminal, a line each tenth elsewhere.
struct Progress {
    bar: Option<ProgressBar>,
}

impl Progress {
    fn new() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{prefix} [{bar:32}] {pos}/{len} eta {eta}");
            let style = style.expect("a literal of indicatif's grammar");
            ProgressBar::new(0).with_style(style.progress_chars("=> "))
        });
        Self { bar }
    }

    fn show(&self, ImportStep { what, done, of }: ImportStep) {
        match &self.bar {
            Some(bar) => {
                bar.set_prefix(what);
                bar.set_length(of as u64);
                bar.set_position(done as u64);
            }
            None if done == of || done % of.div_ceil(10) == 0 => {
                // Nobody may be left to tell.
                let _ = writeln!(std::io::stderr(), "{done}/{of} images {what}");
            }
            None => {}
        }
    }

    fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
