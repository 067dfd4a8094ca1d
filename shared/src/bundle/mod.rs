//! A model as it is shipped: a folder of `model.onnx`, `manifest.toml`, `MODEL_CARD.md` and `golden/`.
//!
//! `DIGESTS` lists the SHA-256 of every other file in the form of `sha256sum`, sorted by path, so that
//! `sha256sum -c DIGESTS` checks a bundle anywhere. [`Bundle::open`] refuses a folder in which a listed file
//! is missing or altered, or where a file is not listed, and anything in it that is no regular file: a link
//! may point elsewhere a moment later.
//!
//! `DIGESTS.minisig` is a signature over the list, so that `minisign -Vm DIGESTS -p KEY.pub` tells anywhere who
//! made the bundle; [`Bundle::open_trusted`] demands one of a trusted key. Every byte that is used afterwards is
//! one that was checked: the list is read once, and [`Bundle::read`] checks what it returns.

mod digests;
mod error;
mod files;
mod key;
mod signature;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use digests::{sha256_hex, write_digests};
pub use error::BundleError;
pub use key::{KeyId, KeyIdError, PublicKey, PublicKeyError};
pub use signature::{Signature, SignatureProblem, Trust};

use crate::manifest::Manifest;
use crate::mask::Rle;
use crate::postprocess::LogitsDigest;
use digests::{Digests, is_inside};

/// The list of digests.
pub const DIGESTS: &str = "DIGESTS";
/// The signature over the list of digests.
pub const SIGNATURE: &str = "DIGESTS.minisig";
/// The manifest.
pub const MANIFEST: &str = "manifest.toml";
/// The list of golden cases, beside their pictures.
pub const GOLDEN: &str = "golden/cases.json";

/// A folder whose digests and manifest were found right.
#[derive(Clone, Debug)]
pub struct Bundle {
    dir: PathBuf,
    digests: Digests,
    manifest: Manifest,
    signature: Option<Signature>,
}

/// One golden image: a picture in the bundle and the masks that the model must give for it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GoldenCase {
    /// Picture, relative to the bundle's folder.
    pub input: PathBuf,
    /// Expected masks by class label, on the published mask grid.
    pub masks: BTreeMap<String, Rle>,
    /// Expected logits by class label, as far as they are told.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub logits: BTreeMap<String, LogitsDigest>,
}

impl Bundle {
    /// Opens a bundle, whoever made it, and checks the manifest and every file against the digest list.
    pub fn open(dir: &Path) -> Result<Self, BundleError> {
        Self::check(dir, |_| Ok(None))
    }

    /// Opens a bundle of a trusted maker: before anything else the signature over the digest list is verified.
    pub fn open_trusted(dir: &Path, trust: &Trust) -> Result<Self, BundleError> {
        Self::check(dir, |list| Signature::verify(dir, list, trust).map(Some))
    }

    /// A folder that is to become a bundle: its digest list, if there is one, counts for nothing.
    /// [`Bundle::digest_list`] is what it should be.
    pub fn measure(dir: &Path) -> Result<Self, BundleError> {
        Self::assemble(dir, Digests::measure(dir)?, None)
    }

    fn check(
        dir: &Path,
        verify: impl FnOnce(&[u8]) -> Result<Option<Signature>, BundleError>,
    ) -> Result<Self, BundleError> {
        let path = dir.join(DIGESTS);
        let list = files::read(&path)?;
        let signature = verify(&list)?;
        // The manifest first: a newer schema explains more than whatever else differs.
        let bundle = Self::assemble(dir, Digests::parse(&list, &path)?, signature)?;
        bundle.digests.check(dir)?;
        Ok(bundle)
    }

    fn assemble(dir: &Path, digests: Digests, signature: Option<Signature>) -> Result<Self, BundleError> {
        let (list, path) = (dir.join(DIGESTS), dir.join(MANIFEST));
        let text = String::from_utf8(digests.read(dir, MANIFEST)?)
            .map_err(|error| files::io(&path)(std::io::Error::new(std::io::ErrorKind::InvalidData, error)))?;
        let manifest = Manifest::parse(&text)
            .map_err(|source| BundleError::Manifest { path, source: Box::new(source) })?;
        digests.of(GOLDEN, &list)?;
        if digests.of(&manifest.graph.file, &list)? != manifest.graph.sha256 {
            // A graph that was altered since the list was written is told as that.
            digests.read(dir, &manifest.graph.file)?;
            return Err(BundleError::ForeignGraph { path: dir.join(&manifest.graph.file) });
        }
        Ok(Self { dir: dir.to_owned(), digests, manifest, signature })
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// What is known of its maker; none if nobody asked.
    pub fn signature(&self) -> Option<&Signature> {
        self.signature.as_ref()
    }

    /// The content of `DIGESTS`.
    pub fn digest_list(&self) -> String {
        self.digests.to_text()
    }

    /// Path and SHA-256 of every file but `DIGESTS` and its signature, by path.
    pub fn files(&self) -> impl Iterator<Item = (&str, &str)> {
        self.digests.iter()
    }

    /// Reads a file of the bundle, whose content is that which was checked when it was opened.
    pub fn read(&self, name: &str) -> Result<Vec<u8>, BundleError> {
        self.digests.read(&self.dir, name)
    }

    /// The ONNX file.
    pub fn model_path(&self) -> PathBuf {
        self.dir.join(&self.manifest.graph.file)
    }

    /// SHA-256 of the ONNX file, lower-case hex: the model's identity in every result.
    pub fn model_sha256(&self) -> &str {
        &self.manifest.graph.sha256
    }

    /// The golden cases, their classes checked against the manifest.
    pub fn golden(&self) -> Result<Vec<GoldenCase>, BundleError> {
        let fail = |reason: String| BundleError::Golden { path: self.dir.join(GOLDEN), reason };
        let text = self.read(GOLDEN)?;
        let cases: Vec<GoldenCase> = serde_json::from_slice(&text).map_err(|e| fail(e.to_string()))?;
        if cases.is_empty() {
            return Err(fail("it holds no case".into()));
        }
        let labels: BTreeSet<&str> = self.manifest.classes.iter().map(|c| c.label.as_str()).collect();
        for case in &cases {
            if case.masks.keys().map(String::as_str).collect::<BTreeSet<_>>() != labels {
                return Err(fail(format!(
                    "the masks of {} are not those of the manifest's classes",
                    case.input.display()
                )));
            }
            if let Some(unknown) = case.logits.keys().find(|label| !labels.contains(label.as_str())) {
                return Err(fail(format!(
                    "{} has logits of {unknown}, which is none of the manifest's classes",
                    case.input.display()
                )));
            }
            if !is_inside(&case.input) {
                return Err(fail(format!("{} is no path inside the bundle", case.input.display())));
            }
        }
        Ok(cases)
    }
}
