use std::path::Path;

use serde::Serialize;
use shared::bundle::{Bundle, PublicKey, Signature, Trust};
use shared::manifest::{Manifest, Metric};

use super::SignError;

/// What a bundle is.
#[derive(Clone, Debug, Serialize)]
pub struct Inspection {
    /// Who answers for it.
    pub signature: Option<Signature>,
    /// Everything about the model.
    pub manifest: Manifest,
    /// What it consists of, by path; without the list of digests and its signature.
    pub files: Vec<FileEntry>,
}

/// One file of a bundle.
#[derive(Clone, Debug, Serialize)]
pub struct FileEntry {
    /// Relative to the bundle's folder.
    pub path: String,
    /// Its size.
    pub bytes: usize,
    /// Its SHA-256, lower-case hex.
    pub sha256: String,
}

/// Looks at a bundle, signed or not. An altered one, or a signature that is wrong, is an error here too.
pub fn inspect(dir: &Path, keys: Vec<PublicKey>) -> Result<Inspection, SignError> {
    let bundle = Bundle::open_trusted(dir, &Trust { keys, allow_unsigned: true })?;
    let files = bundle
        .files()
        .map(|(path, sha256)| {
            let bytes = bundle.read(path)?.len();
            Ok(FileEntry { path: path.to_owned(), bytes, sha256: sha256.to_owned() })
        })
        .collect::<Result<_, SignError>>()?;
    Ok(Inspection { signature: bundle.signature().cloned(), manifest: bundle.manifest().clone(), files })
}

impl Inspection {
    /// The figures of the graph that ships, over all sources together.
    pub fn key_metrics(&self) -> impl Iterator<Item = &Metric> {
        let shipped = self.manifest.graph.quantization;
        self.manifest.metrics.iter().filter(move |m| m.quantization == shipped && m.source == "all")
    }
}
