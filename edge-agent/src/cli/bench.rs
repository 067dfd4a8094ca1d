use std::path::PathBuf;

use clap::Args;
use comfy_table::{CellAlignment, Table, presets};

use super::bundle::{BundleArgs, warn};
use super::error::CommandError;
use crate::bench::{self, Latency, Measurement};
use crate::exit_code::Exit;

/// Measure speed and memory, and tell which nodes of the graph run in 8-bit kernels.
///
/// CXR_ISA=scalar|avx2|avx512vnni|neon|dotprod|i8mm forces the instructions of these kernels.
#[derive(Debug, Args)]
pub(super) struct BenchArgs {
    #[command(flatten)]
    bundle: BundleArgs,
    /// Any ONNX graph instead of a bundle, on random input with open dimensions at 1
    #[arg(long, value_name = "FILE")]
    onnx: Option<PathBuf>,
    /// Threads of the inference engine
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    threads: u16,
    /// Measured runs, after two that are not counted
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    iterations: u32,
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

pub(super) fn main(args: &BenchArgs) -> Result<Exit, CommandError> {
    let (threads, iterations) = (usize::from(args.threads), args.iterations as usize);
    let measured = match &args.onnx {
        Some(path) => bench::onnx(path, threads, iterations)?,
        None => bench::bundle(&args.bundle.dir()?, &args.bundle.trust(), threads, iterations)?,
    };
    warn(measured.signature.as_ref());
    if args.json {
        println!("{}", serde_json::to_string_pretty(&measured).expect("strings and numbers"));
    } else {
        println!("{}", describe(&measured));
    }
    Ok(Exit::Ok)
}

fn describe(measured: &Measurement) -> String {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_FULL_CONDENSED).set_header(["ms", "min", "p50", "p90", "p99"]);
    let mut add = |name: &str, latency: &Latency| {
        let numbers = [latency.min_ms, latency.p50_ms, latency.p90_ms, latency.p99_ms];
        let cells = numbers.map(|ms| format!("{ms:.2}"));
        table.add_row(std::iter::once(name.to_owned()).chain(cells));
    };
    add("infer", &measured.infer);
    if let Some(stages) = &measured.stages {
        add("decode", &stages.decode);
        add("preprocess", &stages.preprocess);
        add("postprocess", &stages.postprocess);
        add("all but infer", &stages.around);
        add("total", &stages.total);
    }
    table.column_iter_mut().skip(1).for_each(|column| column.set_cell_alignment(CellAlignment::Right));
    let mut text = format!(
        "{} on {}\n{} runs, loaded in {:.0} ms\n",
        measured.subject, measured.engine, measured.infer.runs, measured.load_ms
    );
    if let Some(stages) = &measured.stages {
        let (rows, cols) = stages.image;
        text += &format!("image: uncompressed 16-bit DICOM, {cols} × {rows} px\n");
    }
    if let Some(nodes) = &measured.nodes {
        text += &nodes.to_string();
    }
    text += &table.to_string();
    if let Some(memory) = &measured.memory {
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        let (now, peak) = (mib(memory.rss_bytes), mib(memory.peak_rss_bytes));
        text += &format!("\nmemory: {now:.1} MiB resident, {peak:.1} MiB at its peak");
    }
    text
}
