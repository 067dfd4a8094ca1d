use crate::report::document::Section;

/// Where the report was made. Steps may have been done elsewhere; the program's version stands in the mark of each.
pub(super) fn environment() -> Section {
    let gpus = tch::Cuda::device_count().max(0);
    let cpus = std::thread::available_parallelism().map_or(0, usize::from);
    let points = vec![
        format!("Program: host-trainer {}", env!("CARGO_PKG_VERSION")),
        format!("System: {} on {}", std::env::consts::OS, std::env::consts::ARCH),
        format!("Processor: {}, {cpus} CPUs to this program", processor().as_deref().unwrap_or("unknown")),
        format!("libtorch: {} threads, MKL {}", tch::get_num_threads(), yes(tch::utils::has_mkl())),
        format!("CUDA: {}, {gpus} GPUs", yes(tch::Cuda::is_available())),
    ];
    Section::new("Environment").text("The machine that wrote this page:").list(points)
}

fn yes(holds: bool) -> &'static str {
    if holds { "yes" } else { "no" }
}

/// The processor's name, where Linux tells it.
fn processor() -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}
