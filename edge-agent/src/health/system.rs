//! What the box tells of itself. Linux only; elsewhere nothing is known.

use std::fs;
use std::path::Path;

/// The disk under a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disk {
    /// What the agent may still write.
    pub free_bytes: u64,
    /// Its size.
    pub bytes: u64,
}

/// The disk under a folder, if the system tells.
pub fn disk(folder: &Path) -> Option<Disk> {
    let status = rustix::fs::statvfs(folder).ok()?;
    let bytes = |blocks: u64| blocks.saturating_mul(status.f_frsize);
    Some(Disk { free_bytes: bytes(status.f_bavail), bytes: bytes(status.f_blocks) })
}

/// The hottest thermal zone in degrees Celsius; none where the board has no sensor.
pub fn temperature_c() -> Option<f64> {
    hottest(Path::new("/sys/class/thermal"))
}

fn hottest(zones: &Path) -> Option<f64> {
    fs::read_dir(zones)
        .ok()?
        .filter_map(|zone| {
            // Thousandths of a degree; a zone that is switched off gives an error or nonsense below absolute zero.
            let text = fs::read_to_string(zone.ok()?.path().join("temp")).ok()?;
            let celsius = text.trim().parse::<i32>().ok()? as f64 / 1000.0;
            (celsius > -100.0).then_some(celsius)
        })
        .max_by(f64::total_cmp)
}

/// Whether the clock is known to follow a time server: systemd-timesyncd says so by a file. Other daemons do
/// not, so false means "not known".
pub fn clock_synced() -> bool {
    Path::new("/run/systemd/timesync/synchronized").exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hottest_zone_counts_and_odd_ones_do_not() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(hottest(dir.path()), None);
        for (zone, temp) in [("a", "41000\n"), ("b", "48500\n"), ("c", "-274000\n"), ("d", "off\n")] {
            fs::create_dir(dir.path().join(zone)).unwrap();
            fs::write(dir.path().join(zone).join("temp"), temp).unwrap();
        }
        fs::create_dir(dir.path().join("cooling_device0")).unwrap();
        assert_eq!(hottest(dir.path()), Some(48.5));
        assert_eq!(hottest(&dir.path().join("absent")), None);
    }
}
