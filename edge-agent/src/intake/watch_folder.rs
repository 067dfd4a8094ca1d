//! A folder whose radiographs are taken.
//!
//! The folder is scanned, not watched with inotify: radiographs come over NFS or SMB as a rule, where the
//! kernel reports nothing that another host writes, and a lost event would be a lost image. A scan of a few
//! thousand names costs milliseconds.
//!
//! A file is taken when its size and modification time have not changed for `settle_ms`, and once more not
//! while it was read. Names that begin with a dot or end in `.part` or `.tmp`, links and special files are
//! passed over: write under such a name and rename. The store remembers what was taken by fingerprint, so a
//! restart does not read everything again, and a file that is refused is reported once.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::scan::{Version, list};
use super::settle::Settler;
use crate::config::{OnTaken, WatchConfig};
use crate::health::Gate;
use crate::store::{Accepted, Fingerprint, Origin, Store, StoreError, Taken};

/// Images waiting for analysis above which files are left where they are.
const BACKLOG: u64 = 64;
/// Before a file that could not be read or stored is tried again.
const RETRY: Duration = Duration::from_secs(30);
/// Bounds of the pause between two scans.
const SCAN_EVERY: [Duration; 2] = [Duration::from_millis(20), Duration::from_secs(1)];

/// Takes files out of a folder.
pub struct WatchFolder {
    config: WatchConfig,
    max_file_bytes: u64,
    store: Store,
    settler: Settler,
    gate: Arc<Gate>,
    reachable: bool,
}

/// Why a file was not taken this time.
#[derive(Debug, thiserror::Error)]
enum TakeError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("failed to {action} the file: {source}")]
    File { action: &'static str, source: io::Error },
    #[error("it changed while it was read")]
    Changed,
}

enum Outcome {
    Accepted(Accepted),
    Known,
    Refused(String),
}

impl WatchFolder {
    /// For a folder, which may be out of reach for now.
    pub fn new(config: WatchConfig, max_file_bytes: u64, store: Store) -> Self {
        let settler = Settler::new(Duration::from_millis(config.settle_ms));
        Self { config, max_file_bytes, store, settler, gate: Arc::default(), reachable: true }
    }

    /// Tells a gate what comes in.
    #[must_use]
    pub fn counted_by(self, gate: Arc<Gate>) -> Self {
        Self { gate, ..self }
    }

    /// Scans until stopped; `accepted` is rung for every image that the store took.
    pub async fn run(mut self, accepted: Arc<Notify>, stop: CancellationToken) {
        let [least, most] = SCAN_EVERY;
        let pause = Duration::from_millis(self.config.settle_ms / 4).clamp(least, most);
        while !stop.is_cancelled() {
            // The scan blocks on a disk or on a network.
            let (bell, stopping) = (Arc::clone(&accepted), stop.clone());
            let scanned = tokio::task::spawn_blocking(move || {
                self.scan(&bell, &stopping);
                self
            });
            self = match scanned.await {
                Ok(folder) => folder,
                Err(e) => std::panic::resume_unwind(e.into_panic()),
            };
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    fn scan(&mut self, accepted: &Notify, stop: &CancellationToken) {
        let found = list(&self.config.path, self.config.recursive);
        self.gate.set_open(found.is_ok());
        let found = match found {
            Ok(found) => found,
            Err(error) => {
                if std::mem::replace(&mut self.reachable, false) {
                    tracing::warn!(%error, "the watched folder is out of reach");
                }
                return;
            }
        };
        if !std::mem::replace(&mut self.reachable, true) {
            tracing::info!("the watched folder is back");
        }
        for (path, version) in self.settler.scan(found, Instant::now()) {
            if stop.is_cancelled() || self.is_backlogged() {
                return;
            }
            self.handle(&path, version, accepted);
        }
    }

    fn is_backlogged(&self) -> bool {
        self.store.images_waiting().is_ok_and(|waiting| waiting >= BACKLOG)
    }

    fn handle(&mut self, path: &Path, version: Version, accepted: &Notify) {
        // No path in the log: people put patients' names into file names.
        let file = version.fingerprint(path);
        match self.take(path, version, &file) {
            Ok(outcome) => {
                match outcome {
                    Outcome::Accepted(Accepted::New(image)) => {
                        tracing::info!(%file, %image, bytes = version.size, "took a file");
                        self.gate.count_accepted();
                        accepted.notify_one();
                    }
                    Outcome::Accepted(Accepted::Duplicate(image)) => {
                        tracing::info!(%file, %image, "took a file whose content is known");
                    }
                    Outcome::Refused(reason) => {
                        tracing::warn!(%file, reason, "refused a file");
                        self.gate.count_refused();
                    }
                    Outcome::Known => {}
                }
                self.settler.handled(path);
            }
            Err(error) => {
                // The image may be in the store all the same, and only its file not cleared away.
                accepted.notify_one();
                tracing::warn!(%file, %error, retry_in_s = RETRY.as_secs(), "a file waits in the folder");
                self.settler.retry(path, Instant::now(), RETRY);
            }
        }
    }

    fn take(&self, path: &Path, version: Version, file: &Fingerprint) -> Result<Outcome, TakeError> {
        match self.store.taken(file)? {
            // Size is the only ground for refusal, and the limit may have been raised since.
            Some(Taken::Refused(_)) if version.size > self.max_file_bytes => return Ok(Outcome::Known),
            Some(Taken::Accepted) if self.config.on_taken == OnTaken::Leave => return Ok(Outcome::Known),
            // A file that is to be cleared away is read again: a unit that reuses names and has no clock gives
            // another image the same fingerprint, and only its bytes prove that the store holds it.
            _ => {}
        }
        let source = File::open(path).map_err(|source| TakeError::File { action: "open", source })?;
        let staged = match self.store.stage(&source, self.max_file_bytes) {
            Ok(staged) => staged,
            Err(error @ StoreError::TooLarge { .. }) => {
                // Still growing files are not judged.
                unchanged(&source, version)?;
                self.store.refuse(file, &error.to_string())?;
                return Ok(Outcome::Refused(error.to_string()));
            }
            Err(error) => return Err(error.into()),
        };
        unchanged(&source, version)?;
        let accepted = staged.commit(Origin::File(file))?;
        self.clear(path, version)?;
        Ok(Outcome::Accepted(accepted))
    }

    /// Does with a file that the store holds as configured.
    fn clear(&self, path: &Path, taken: Version) -> Result<(), TakeError> {
        let inspect = |source| TakeError::File { action: "inspect", source };
        if Version::of(&fs::symlink_metadata(path).map_err(inspect)?) != taken {
            // Another file has come under this name: the next scan finds it.
            return Err(TakeError::Changed);
        }
        match &self.config.on_taken {
            OnTaken::Leave => Ok(()),
            OnTaken::Delete => {
                fs::remove_file(path).map_err(|source| TakeError::File { action: "delete", source })
            }
            OnTaken::Move(folder) => {
                move_into(path, folder).map_err(|source| TakeError::File { action: "move", source })
            }
        }
    }
}

fn unchanged(file: &File, expected: Version) -> Result<(), TakeError> {
    let metadata = file.metadata().map_err(|source| TakeError::File { action: "inspect", source })?;
    if Version::of(&metadata) == expected { Ok(()) } else { Err(TakeError::Changed) }
}

/// Moves a file, across file systems too, without replacing one of the same name.
fn move_into(path: &Path, folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let name = path.file_name().unwrap_or_default();
    let mut target = folder.join(name);
    for n in 1.. {
        if !target.try_exists()? {
            break;
        }
        let mut numbered = std::ffi::OsString::from(format!("{n}-"));
        numbered.push(name);
        target = folder.join(numbered);
    }
    match fs::rename(path, &target) {
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
            fs::copy(path, &target)?;
            fs::remove_file(path)
        }
        other => other,
    }
}

#[cfg(test)]
mod tests;
