use serde::Serialize;

/// Memory of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// Resident now, in bytes.
    pub rss_bytes: u64,
    /// The most that was ever resident, in bytes.
    pub peak_rss_bytes: u64,
}

impl Memory {
    /// As Linux tells in `/proc/self/status`; none elsewhere.
    pub fn now() -> Option<Self> {
        Self::parse(&std::fs::read_to_string("/proc/self/status").ok()?)
    }

    fn parse(status: &str) -> Option<Self> {
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
            line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kib| kib << 10)
        };
        Some(Self { rss_bytes: field("VmRSS")?, peak_rss_bytes: field("VmHWM")? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_is_in_kibibytes() {
        let status = "Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n";
        assert_eq!(Memory::parse(status), Some(Memory { rss_bytes: 1 << 20, peak_rss_bytes: 2 << 20 }));
        assert_eq!(Memory::parse("Name:\tx\n"), None);
    }
}
