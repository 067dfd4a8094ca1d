//! The X-ray unit: writes radiographs into a folder, as units do, and knows nothing of the agent.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use shared::mask::Mask;
use tokio::sync::mpsc;

use super::phantoms::{self, Case};
use crate::intake::fingerprint;
use crate::store::{Fingerprint, ImageId};

/// What is to be sent.
#[derive(Clone, Debug)]
pub(super) enum Exposure {
    /// A phantom, drawn when its turn comes.
    Phantom(&'static Case),
    /// A file of the user's.
    File(PathBuf),
}

/// A radiograph in the folder, or why it did not get there.
pub(super) struct Sent {
    /// Counts from 1.
    pub(super) number: usize,
    pub(super) title: String,
    pub(super) delivery: Result<Dropped, String>,
}

/// A radiograph in the folder.
pub(super) struct Dropped {
    pub(super) path: PathBuf,
    pub(super) image: ImageId,
    pub(super) file: Fingerprint,
    /// Exact masks by class label; empty if unknown.
    pub(super) truth: BTreeMap<&'static str, Mask>,
}

/// Sends everything, one after the other; waits while nobody takes note.
pub(super) fn expose(exposures: Vec<Exposure>, folder: &Path, sent: &mpsc::Sender<Sent>) {
    for (i, exposure) in exposures.into_iter().enumerate() {
        let number = i + 1;
        let (title, delivery) = match exposure {
            Exposure::Phantom(case) => (case.title.to_owned(), phantom(case, folder, number)),
            Exposure::File(path) => (path.display().to_string(), file(&path, folder, number)),
        };
        if sent.blocking_send(Sent { number, title, delivery }).is_err() {
            return;
        }
    }
}

fn phantom(case: &Case, folder: &Path, number: usize) -> Result<Dropped, String> {
    let phantoms::Taken { extension, bytes, truth } = case.expose().map_err(|e| e.to_string())?;
    drop_into(folder, &format!("{number:04}.{extension}"), &bytes, truth).map_err(|e| e.to_string())
}

fn file(path: &Path, folder: &Path, number: usize) -> Result<Dropped, String> {
    let bytes = fs::read(path).map_err(|e| format!("failed to read it: {e}"))?;
    drop_into(folder, &format!("{number:04}"), &bytes, BTreeMap::new()).map_err(|e| e.to_string())
}

/// Writes under a name that is passed over, and renames: the agent never sees half a file.
fn drop_into(
    folder: &Path,
    name: &str,
    bytes: &[u8],
    truth: BTreeMap<&'static str, Mask>,
) -> io::Result<Dropped> {
    let (part, path) = (folder.join(format!("{name}.part")), folder.join(name));
    fs::write(&part, bytes)?;
    fs::rename(&part, &path)?;
    // The agent leaves files where they are, so this one is still there.
    let file = fingerprint(&path)?;
    Ok(Dropped { path, image: ImageId::of(bytes), file, truth })
}
