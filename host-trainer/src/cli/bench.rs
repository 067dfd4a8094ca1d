use std::path::PathBuf;
use std::process::ExitCode;

use super::{CliError, DeviceChoice, say};
use crate::bench::{Bench, BenchReport, Figure, measure, serve};
use crate::config::Config;
use crate::dataset::data_root;
use crate::report::table;

/// Arguments of `bench`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Configuration of the experiment; its stage `train` is measured on expert masks alone.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Steps or batches a measurement.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    steps: u32,
    /// Measurements of each part.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Threads that prepare batches.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    workers: u16,
    /// Threads of libtorch. Default: all cores.
    #[arg(long, value_parser = clap::value_parser!(i32).range(1..=1024))]
    threads: Option<i32>,
    /// Where to compute: auto, cpu or cuda:N.
    #[arg(long, default_value = "auto")]
    device: DeviceChoice,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Take commands from stdin and answer in JSON, a line each: what benches/compare.py drives.
    #[arg(long, conflicts_with_all = ["steps", "rounds", "json"])]
    serve: bool,
}

pub(super) fn run(args: &Args) -> Result<ExitCode, CliError> {
    if let Some(threads) = args.threads {
        tch::set_num_threads(threads);
    }
    let config = Config::load(&args.config)?.with_quirks();
    let device = args.device.device()?;
    let mut bench = Bench::new(&config, &data_root()?, args.workers.into(), device)?;
    if args.serve {
        serve(&mut bench, std::io::stdin().lock(), std::io::stdout().lock())?;
        return Ok(ExitCode::SUCCESS);
    }
    let report = measure(&mut bench, args.rounds, args.steps)?;
    if args.json {
        say!("{}", serde_json::json!(report));
    } else {
        print(&report);
    }
    Ok(ExitCode::SUCCESS)
}

fn print(report: &BenchReport) {
    let images = report.batch as f64;
    let rows = [
        ("step alone", report.step, images),
        ("loader alone, a batch", report.load, images),
        ("step with the loader", report.end_to_end, images),
        ("decode and resize, an image", report.first_pass, 1.0),
    ];
    let mut table = table(&["", "median ms", "min ms", "images/s"], 1);
    for (name, Figure { median, min }, images) in rows {
        let [median_ms, min_ms] = [median, min].map(|seconds| format!("{:.2}", seconds * 1000.0));
        table.add_row([name.to_owned(), median_ms, min_ms, format!("{:.1}", images / median)]);
    }
    say!("{table}");
    let mib = |bytes: u64| bytes >> 20;
    say!("memory: {} MiB now, {} MiB at most", mib(report.memory.resident), mib(report.memory.peak));
}
