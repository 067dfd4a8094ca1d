use std::path::PathBuf;
use std::process::ExitCode;

use super::{CliError, say};
use crate::config::{Config, Stage};
use crate::dataset::data_root;
use crate::report::table;

/// Arguments of `check`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Configuration of the experiment.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Open every image and mask as well.
    #[arg(long)]
    pixels: bool,
}

pub(super) fn run(args: &Args) -> Result<ExitCode, CliError> {
    let config = Config::load(&args.config)?.with_quirks();
    let size = config.preprocess.input_size;
    let graph = config.graph();
    let (params, macs) = (graph.trainable_count(), graph.macs(size, size)? as f64 / 1e9);
    say!("{}: {} with {params} parameters, {macs:.2} GMAC at {size} px", config.name, graph.name);
    let weak: &[Stage] = if config.findings.is_empty() { &[] } else { &[Stage::Classifier, Stage::Edges] };
    for &stage in [Stage::Pretrain, Stage::Train].iter().chain(weak) {
        let spec = config.stage(stage);
        say!(
            "{stage}: {} steps of {} images, settings {}",
            spec.steps,
            spec.batch,
            &config.digest(stage)[..12]
        );
    }
    if config.data.is_empty() {
        say!("no data sets: phantoms only");
        return Ok(ExitCode::SUCCESS);
    }
    let index = config.index(&data_root()?)?;
    let mut table = table(&["data set", "source", "split", "images"], 3);
    for ((dataset, source, split), images) in index.counts() {
        table.add_row([dataset, source, split.to_string(), images.to_string()]);
    }
    say!("{table}");
    if let Some(study) = &config.study {
        let trainings: usize = study
            .arms
            .iter()
            .map(|arm| {
                let folds = if arm.strong { study.folds.max(1) } else { 1 };
                study.budgets_of(arm).len() * study.seeds.len() * folds
            })
            .sum();
        say!("study: {} arms, {trainings} segmenters to train", study.arms.len());
    }
    if args.pixels {
        let labels = config.labels();
        for record in &index.records {
            index.load_checked(record, &labels)?;
        }
        say!("all {} images and their masks can be read", index.records.len());
    }
    Ok(ExitCode::SUCCESS)
}
