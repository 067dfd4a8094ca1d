use super::{CliError, DeviceChoice};
use crate::pipeline::Context;
use crate::train::StopFlag;

/// Where and how to compute.
#[derive(Debug, clap::Args)]
pub(super) struct Compute {
    /// Where to compute: auto, cpu or cuda:N.
    #[arg(long, default_value = "auto")]
    device: DeviceChoice,
    /// Threads of libtorch; a run repeats bit for bit only with the same number. Default: all cores.
    #[arg(long, value_parser = clap::value_parser!(i32).range(1..=1024))]
    threads: Option<i32>,
    /// Threads that prepare batches; their number does not change the result. Default: 1, and up to 8 beside a GPU.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=64))]
    workers: Option<u16>,
}

impl Compute {
    /// For what computes nothing.
    pub(super) fn idle() -> Context {
        Context { device: tch::Device::Cpu, workers: 1, stop: StopFlag::default() }
    }

    /// Sets libtorch's threads, and signals raise a flag from now on.
    pub(super) fn context(&self) -> Result<Context, CliError> {
        if let Some(threads) = self.threads {
            tch::set_num_threads(threads);
        }
        let device = self.device.device()?;
        let workers = self.workers.map_or_else(|| default_workers(device), usize::from);
        Ok(Context { device, workers, stop: StopFlag::on_signals()? })
    }
}

/// A CPU that computes has no time to prepare more; a GPU must not wait for images.
fn default_workers(device: tch::Device) -> usize {
    match device {
        tch::Device::Cpu => 1,
        _ => std::thread::available_parallelism().map_or(1, |cores| (cores.get() - 1).clamp(1, 8)),
    }
}
