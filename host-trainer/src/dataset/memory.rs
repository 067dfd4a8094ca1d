use sysinfo::{MemoryRefreshKind, RefreshKind, System};

use super::DatasetError;

/// Fails if `bytes` more do not fit into the memory that is free now: to find out by being killed costs an hour of
/// decoding.
///
/// # Errors
/// [`DatasetError::Memory`]; never where the system does not tell what is free.
pub(crate) fn ensure_room(what: &str, bytes: u64) -> Result<(), DatasetError> {
    let memory = RefreshKind::nothing().with_memory(MemoryRefreshKind::nothing().with_ram());
    let system = System::new_with_specifics(memory);
    // A container's limit; what counts as free below it would take file caches for memory in use.
    let limit = system.cgroup_limits().map_or(u64::MAX, |limits| limits.total_memory);
    fits(what, bytes, system.available_memory().min(limit))
}

fn fits(what: &str, needed: u64, free: u64) -> Result<(), DatasetError> {
    if free == 0 || needed <= free {
        return Ok(());
    }
    Err(DatasetError::Memory { what: what.to_owned(), needed: mib(needed), free: mib(free) })
}

fn mib(bytes: u64) -> u64 {
    bytes / (1 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_fit_is_refused_with_both_sizes() {
        fits("images", 5, 5).unwrap();
        fits("images", 5, 0).unwrap();
        let error = fits("3 images", 5 << 20, 4 << 20).unwrap_err().to_string();
        assert!(error.contains("3 images take 5 MiB") && error.contains("4 MiB"), "{error}");
        ensure_room("images", 1).unwrap();
        assert!(ensure_room("images", u64::MAX).is_err());
    }
}
