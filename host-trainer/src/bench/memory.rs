use std::fs;
use std::io;

use serde::Serialize;

use super::BenchError;

/// Memory of this process, bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// In RAM now.
    pub resident: u64,
    /// The most that was in RAM at once.
    pub peak: u64,
}

impl Memory {
    /// As Linux counts it (VmRSS and VmHWM).
    ///
    /// # Errors
    /// Where there is no `/proc`.
    pub fn now() -> Result<Self, BenchError> {
        let status = fs::read_to_string("/proc/self/status").map_err(BenchError::Memory)?;
        Self::parse(&status).ok_or_else(|| BenchError::Memory(io::ErrorKind::InvalidData.into()))
    }

    fn parse(status: &str) -> Option<Self> {
        let bytes = |field: &str| -> Option<u64> {
            let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
            line.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
        };
        Some(Self { resident: bytes("VmRSS")?, peak: bytes("VmHWM")? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kilobytes_are_read_off_the_status() {
        let status = "Name:\ta\nVmPeak:\t   9 kB\nVmHWM:\t     2 kB\nVmRSS:\t     1 kB\nThreads:\t1\n";
        assert_eq!(Memory::parse(status), Some(Memory { resident: 1024, peak: 2048 }));
        assert_eq!(Memory::parse("VmRSS:\t1 kB"), None);
    }
}
