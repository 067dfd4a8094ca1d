use std::collections::BTreeMap;
use std::path::{Component, Path};

use sha2::{Digest, Sha256};

use super::{BundleError, DIGESTS, SIGNATURE, files};

/// The SHA-256 of every file of a bundle by its path.
#[derive(Clone, Debug)]
pub(super) struct Digests(BTreeMap<String, String>);

impl Digests {
    /// Of the files as they lie in the folder.
    pub(super) fn measure(dir: &Path) -> Result<Self, BundleError> {
        let mut digests = BTreeMap::new();
        for name in files::list(dir)?.into_iter().filter(|name| is_digested(name)) {
            let digest = sha256_hex(&files::read(&dir.join(&name))?);
            digests.insert(name, digest);
        }
        Ok(Self(digests))
    }

    /// Parses the content of the list; `path` is for errors.
    pub(super) fn parse(list: &[u8], path: &Path) -> Result<Self, BundleError> {
        let refuse = |line| BundleError::DigestLine { path: path.to_owned(), line };
        let mut digests = BTreeMap::new();
        for (i, line) in list.split_inclusive(|&byte| byte == b'\n').enumerate() {
            let line = std::str::from_utf8(line).map_err(|_| refuse(i + 1))?.trim_end_matches(['\r', '\n']);
            let entry = line
                .split_once("  ")
                .filter(|(digest, name)| crate::manifest::is_sha256(digest) && is_inside(Path::new(name)));
            let (digest, name) = entry.ok_or_else(|| refuse(i + 1))?;
            digests.insert(name.to_owned(), digest.to_owned());
        }
        Ok(Self(digests))
    }

    /// As the list's file holds it.
    pub(super) fn to_text(&self) -> String {
        self.0.iter().map(|(name, digest)| format!("{digest}  {name}\n")).collect()
    }

    /// Path and digest of each file, by path.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, digest)| (name.as_str(), digest.as_str()))
    }

    /// The digest of a file; an error tells that the list at `path` lacks it.
    pub(super) fn of(&self, name: &str, path: &Path) -> Result<&str, BundleError> {
        let missing = || BundleError::Missing { path: path.to_owned(), file: name.to_owned() };
        self.0.get(name).map(String::as_str).ok_or_else(missing)
    }

    /// Reads a file and checks the very bytes that it returns, so that nobody can alter it in between.
    pub(super) fn read(&self, dir: &Path, name: &str) -> Result<Vec<u8>, BundleError> {
        let digest = self.of(name, &dir.join(DIGESTS))?;
        let path = dir.join(name);
        let bytes = files::read(&path)?;
        if sha256_hex(&bytes) == digest { Ok(bytes) } else { Err(BundleError::Altered { path }) }
    }

    /// Checks that the folder holds these files as they were and no others.
    pub(super) fn check(&self, dir: &Path) -> Result<(), BundleError> {
        for name in self.0.keys() {
            self.read(dir, name)?;
        }
        let unlisted = |name: &String| is_digested(name) && !self.0.contains_key(name);
        match files::list(dir)?.into_iter().find(unlisted) {
            Some(extra) => Err(BundleError::Unlisted { path: dir.join(extra) }),
            None => Ok(()),
        }
    }
}

/// Writes the digest list of a folder, replacing an older one.
pub fn write_digests(dir: &Path) -> Result<(), BundleError> {
    let path = dir.join(DIGESTS);
    std::fs::write(&path, Digests::measure(dir)?.to_text()).map_err(files::io(&path))
}

/// SHA-256 as lower-case hex.
pub fn sha256_hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

/// Whether a path stays within the folder that it is relative to.
pub(super) fn is_inside(path: &Path) -> bool {
    path.components().all(|c| matches!(c, Component::Normal(_))) && path.components().next().is_some()
}

/// All but the list itself and its signature.
fn is_digested(name: &str) -> bool {
    name != DIGESTS && name != SIGNATURE
}
