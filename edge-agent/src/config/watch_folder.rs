use std::path::PathBuf;

use serde::Deserialize;

use super::{ValueError, range};

/// A folder whose radiographs are taken.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WatchConfig {
    /// The folder.
    pub path: PathBuf,
    /// Milliseconds for which a file's size and time must not change before it is taken, 50 to 600 000. Default
    /// 2000.
    #[serde(default = "default_settle")]
    pub settle_ms: u64,
    /// Whether folders below count too. Default true.
    #[serde(default = "default_recursive")]
    pub recursive: bool,
    /// What becomes of a file once the store holds it. Default `"leave"`.
    #[serde(default)]
    pub on_taken: OnTaken,
}

/// What becomes of a file once the store holds it: `"leave"`, `"delete"` or `{ move = "FOLDER" }`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnTaken {
    /// It stays; the store remembers that it was taken.
    #[default]
    Leave,
    /// It is deleted.
    Delete,
    /// It is moved into a folder outside the watched one.
    Move(PathBuf),
}

impl WatchConfig {
    pub(super) fn validate(&self) -> Result<(), ValueError> {
        range("watch_folder.settle_ms", self.settle_ms, 50, 600_000)?;
        match &self.on_taken {
            OnTaken::Move(folder) if folder.starts_with(&self.path) => Err(ValueError {
                key: "watch_folder.on_taken",
                found: format!("a move to {}", folder.display()),
                remedy: "choose a folder outside `watch_folder.path`, or files would be taken again".into(),
            }),
            _ => Ok(()),
        }
    }

    pub(super) fn paths(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        let target = match &mut self.on_taken {
            OnTaken::Move(folder) => Some(folder),
            OnTaken::Leave | OnTaken::Delete => None,
        };
        std::iter::once(&mut self.path).chain(target)
    }
}

fn default_settle() -> u64 {
    2000
}

fn default_recursive() -> bool {
    true
}
