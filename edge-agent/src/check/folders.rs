use std::path::{Path, PathBuf};
use std::{fs, io};

use super::Check;
use crate::config::{AgentConfig, OnTaken, WatchConfig};
use crate::exit_code::Exit;

/// Below this the store would soon refuse images.
const LEAST_FREE: u64 = 512 << 20;

/// The store's folder.
pub(super) fn state(config: &AgentConfig) -> Check {
    Check::new("state folder", Exit::Storage, writable(&config.state_dir, "state_dir"))
}

/// The room that the store has, and the watched folder.
pub(super) fn others(config: &AgentConfig) -> Vec<Check> {
    let mut checks = vec![Check::new("free space", Exit::Storage, space(&config.state_dir))];
    if let Some(watch) = &config.watch_folder {
        checks.push(Check::new("watched folder", Exit::Storage, watched(watch)));
        if let OnTaken::Move(target) = &watch.on_taken {
            checks.push(Check::new(
                "folder for taken files",
                Exit::Storage,
                writable(target, "watch_folder.on_taken"),
            ));
        }
    }
    checks
}

/// A folder that exists and can be written, or can be created.
fn writable(folder: &Path, key: &str) -> Result<String, String> {
    let existing = nearest(folder);
    if existing == folder && !folder.is_dir() {
        return Err(format!("`{key}` {} is no folder; name another", folder.display()));
    }
    let probe = existing.join(format!(".chexseg-check-{}", std::process::id()));
    let written = fs::write(&probe, b"probe");
    let removed = fs::remove_file(&probe);
    let tried = match written {
        // A full disk is found out by its free space, and does not keep the agent from sending what it has.
        Err(e) if e.kind() == io::ErrorKind::StorageFull => removed,
        other => other.and(removed),
    };
    let user = "the user that runs the agent";
    tried.map_err(|e| {
        format!("`{key}`: cannot write in {} ({e}); let {user} write there", existing.display())
    })?;
    Ok(if existing == folder {
        folder.display().to_string()
    } else {
        format!("{} will be created", folder.display())
    })
}

fn space(folder: &Path) -> Result<String, String> {
    let existing = nearest(folder);
    let status = rustix::fs::statvfs(&existing).map_err(|e| {
        format!("the file system of {} does not tell its free space ({e})", existing.display())
    })?;
    let free = status.f_bavail.saturating_mul(status.f_frsize);
    if free < LEAST_FREE {
        return Err(format!(
            "{} MiB are free at {}, less than {} MiB; make room or move `state_dir`",
            free >> 20,
            existing.display(),
            LEAST_FREE >> 20
        ));
    }
    Ok(format!("{:.1} GiB", free as f64 / f64::from(1 << 30)))
}

fn watched(watch: &WatchConfig) -> Result<String, String> {
    let path = watch.path.display();
    let entries = fs::read_dir(&watch.path).map_err(|e| {
        format!("`watch_folder.path`: cannot list {path} ({e}); create it or let the agent's user read it")
    })?;
    let entries = entries.count();
    if watch.on_taken != OnTaken::Leave {
        writable(&watch.path, "watch_folder.path")?;
    }
    Ok(format!("{path}, {entries} entries"))
}

/// The folder itself or the nearest one above it that exists.
fn nearest(folder: &Path) -> PathBuf {
    folder.ancestors().find(|p| p.exists()).map_or_else(
        || PathBuf::from("."),
        |p| {
            if p.as_os_str().is_empty() { PathBuf::from(".") } else { p.to_owned() }
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_can_be_created_passes_and_is_not_created() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("a/b");
        assert!(writable(&folder, "state_dir").unwrap().ends_with("will be created"));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        assert!(space(&folder).is_ok());
    }

    #[test]
    fn a_file_in_the_place_of_a_folder_is_named_with_its_key() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("state");
        fs::write(&file, b"").unwrap();
        let error = writable(&file, "state_dir").unwrap_err();
        assert!(error.contains("`state_dir`") && error.contains("is no folder"), "{error}");
    }
}
