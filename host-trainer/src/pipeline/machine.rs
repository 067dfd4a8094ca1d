use std::path::Path;

use serde::{Deserialize, Serialize};
use tch::Device;

/// What computed a step: figures of other devices or versions differ in their last digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Machine {
    /// `cpu` or `cuda:N`.
    pub device: String,
    /// Version of libtorch, where its folder tells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub libtorch: Option<String>,
    /// Threads of libtorch.
    pub threads: usize,
}

impl Machine {
    /// This process on `device`.
    pub fn here(device: Device) -> Self {
        let device = match device {
            Device::Cpu => "cpu".to_owned(),
            Device::Cuda(n) => format!("cuda:{n}"),
            other => format!("{other:?}").to_lowercase(),
        };
        let threads = usize::try_from(tch::get_num_threads()).unwrap_or(0);
        Self { device, libtorch: libtorch(), threads }
    }

    /// In words.
    pub fn words(&self) -> String {
        let libtorch = self.libtorch.as_deref().unwrap_or("of unknown version");
        let threads = if self.threads == 1 { "thread" } else { "threads" };
        format!("{}, libtorch {libtorch}, {} {threads}", self.device, self.threads)
    }
}

/// libtorch's own calls do not tell its version. The file `build-version` beside its libraries does, and Linux tells
/// where those are loaded from.
fn libtorch() -> Option<String> {
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    let path = maps.lines().find(|line| line.ends_with("/libtorch_cpu.so"))?;
    let folder = Path::new(&path[path.find('/')?..]).parent()?.parent()?;
    let text = std::fs::read_to_string(folder.join("build-version")).ok()?;
    let version = text.trim();
    (!version.is_empty() && version.len() < 64).then(|| version.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_told_in_words() {
        let machine = Machine { device: "cuda:1".into(), libtorch: None, threads: 1 };
        assert_eq!(machine.words(), "cuda:1, libtorch of unknown version, 1 thread");
        let here = Machine::here(Device::Cpu);
        assert!(here.device == "cpu" && here.threads > 0, "{here:?}");
    }
}
