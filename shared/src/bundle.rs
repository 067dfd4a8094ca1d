//! A model as it is shipped: a folder of `model.onnx`, `manifest.toml`, `MODEL_CARD.md` and `golden/`.
//!
//! `DIGESTS` lists the SHA-256 of every other file in the form of `sha256sum`, sorted by path, so that
//! `sha256sum -c DIGESTS` checks a bundle anywhere. [`Bundle::open`] refuses a folder in which a listed file
//! is missing or altered, or where a file is not listed, and anything in it that is no regular file: a link
//! may point elsewhere a moment later. A signature over `DIGESTS` is to follow.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::manifest::{Manifest, ManifestError};
use crate::mask::Rle;

/// The list of digests.
pub const DIGESTS: &str = "DIGESTS";
/// The manifest.
pub const MANIFEST: &str = "manifest.toml";
/// The list of golden cases, beside their pictures.
pub const GOLDEN: &str = "golden/cases.json";
/// Nothing in a bundle is larger; bounds what a hostile one can make us read.
const MAX_FILE: u64 = 512 << 20;

/// A folder whose digests and manifest were found right.
#[derive(Clone, Debug)]
pub struct Bundle {
    dir: PathBuf,
    manifest: Manifest,
}

/// One golden image: a picture in the bundle and the masks that the model must give for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GoldenCase {
    /// Picture, relative to the bundle's folder.
    pub input: PathBuf,
    /// Expected masks by class label, on the published mask grid.
    pub masks: BTreeMap<String, Rle>,
}

/// Why a bundle was refused.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// A file could not be read or written.
    #[error("failed to access {}: {source}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The manifest.
    #[error("{}: {source}", .path.display())]
    Manifest {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: ManifestError,
    },
    /// A line of the digest list.
    #[error("{}: line {line} is not 'SHA256  PATH' with a path inside the bundle", .path.display())]
    DigestLine {
        /// The list.
        path: PathBuf,
        /// Line number from 1.
        line: usize,
    },
    /// A file that changed after the list was written.
    #[error("{} is altered: its SHA-256 is not the one in {DIGESTS}; copy the bundle again", .path.display())]
    Altered {
        /// The file.
        path: PathBuf,
    },
    /// A file that the list does not name.
    #[error("{} is not listed in {DIGESTS}; remove it or create the bundle anew", .path.display())]
    Unlisted {
        /// The file.
        path: PathBuf,
    },
    /// The list lacks a file that every bundle has.
    #[error("{} does not list {file}", .path.display())]
    Missing {
        /// The list.
        path: PathBuf,
        /// The file.
        file: String,
    },
    /// The graph is not the one that the manifest describes.
    #[error("{} is not the graph that {MANIFEST} describes: graph.sha256 differs", .path.display())]
    ForeignGraph {
        /// The graph.
        path: PathBuf,
    },
    /// The golden cases.
    #[error("{} is not valid: {reason}", .path.display())]
    Golden {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

impl Bundle {
    /// Opens a bundle and checks the manifest and every file against the digest list.
    pub fn open(dir: &Path) -> Result<Self, BundleError> {
        let list_path = dir.join(DIGESTS);
        let listed = parse_digests(&list_path)?;
        // The manifest first: a newer schema explains more than whatever else differs.
        let path = dir.join(MANIFEST);
        let text = read_text(&path)?;
        let manifest = Manifest::parse(&text).map_err(|source| BundleError::Manifest { path, source })?;
        for required in [MANIFEST, GOLDEN, manifest.graph.file.as_str()] {
            if !listed.contains_key(required) {
                return Err(BundleError::Missing { path: list_path, file: required.to_owned() });
            }
        }
        for (name, digest) in &listed {
            let path = dir.join(name);
            if sha256_file(&path)? != *digest {
                return Err(BundleError::Altered { path });
            }
        }
        if let Some(extra) = files(dir)?.into_iter().find(|f| f != DIGESTS && !listed.contains_key(f)) {
            return Err(BundleError::Unlisted { path: dir.join(extra) });
        }
        if listed[&manifest.graph.file] != manifest.graph.sha256 {
            return Err(BundleError::ForeignGraph { path: dir.join(&manifest.graph.file) });
        }
        Ok(Self { dir: dir.to_owned(), manifest })
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
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
        let path = self.dir.join(GOLDEN);
        let fail = |reason: String| BundleError::Golden { path: path.clone(), reason };
        let text = read(&path)?;
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
            if !is_inside(&case.input) {
                return Err(fail(format!("{} is no path inside the bundle", case.input.display())));
            }
        }
        Ok(cases)
    }
}

/// Writes the digest list of a folder, replacing an older one.
pub fn write_digests(dir: &Path) -> Result<(), BundleError> {
    let mut text = String::new();
    for file in files(dir)?.into_iter().filter(|f| f != DIGESTS) {
        let digest = sha256_file(&dir.join(&file))?;
        text.push_str(&format!("{digest}  {file}\n"));
    }
    let path = dir.join(DIGESTS);
    fs::write(&path, text).map_err(|source| BundleError::Io { path, source })
}

/// SHA-256 as lower-case hex.
pub fn sha256_hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

fn sha256_file(path: &Path) -> Result<String, BundleError> {
    Ok(sha256_hex(&read(path)?))
}

/// Reads a regular file of at most [`MAX_FILE`] bytes. Links are not followed, and a pipe would never end.
fn read(path: &Path) -> Result<Vec<u8>, BundleError> {
    let io = |source| BundleError::Io { path: path.to_owned(), source };
    let refuse = |reason: String| io(std::io::Error::new(std::io::ErrorKind::InvalidData, reason));
    let metadata = fs::symlink_metadata(path).map_err(io)?;
    if !metadata.is_file() {
        return Err(refuse("not a regular file: a bundle holds no links and no pipes".into()));
    }
    let length = metadata.len();
    if length > MAX_FILE {
        return Err(refuse(format!("{length} bytes exceed the limit of {MAX_FILE} for a bundle's file")));
    }
    fs::read(path).map_err(io)
}

fn read_text(path: &Path) -> Result<String, BundleError> {
    let invalid = |error| std::io::Error::new(std::io::ErrorKind::InvalidData, error);
    String::from_utf8(read(path)?)
        .map_err(|error| BundleError::Io { path: path.to_owned(), source: invalid(error) })
}

fn parse_digests(path: &Path) -> Result<BTreeMap<String, String>, BundleError> {
    let text = read_text(path)?;
    let mut listed = BTreeMap::new();
    for (i, line) in text.lines().enumerate() {
        let entry = line
            .split_once("  ")
            .filter(|(digest, name)| crate::manifest::is_sha256(digest) && is_inside(Path::new(name)));
        let Some((digest, name)) = entry else {
            return Err(BundleError::DigestLine { path: path.to_owned(), line: i + 1 });
        };
        listed.insert(name.to_owned(), digest.to_owned());
    }
    Ok(listed)
}

fn is_inside(path: &Path) -> bool {
    path.components().all(|c| matches!(c, std::path::Component::Normal(_)))
        && path.components().next().is_some()
}

/// Every file below the folder, as sorted relative paths with forward slashes.
fn files(dir: &Path) -> Result<Vec<String>, BundleError> {
    let mut found = Vec::new();
    let mut folders = vec![(dir.to_owned(), String::new())];
    while let Some((folder, prefix)) = folders.pop() {
        let io = |source| BundleError::Io { path: folder.clone(), source };
        for entry in fs::read_dir(&folder).map_err(io)? {
            let entry = entry.map_err(io)?;
            let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
            if entry.file_type().map_err(io)?.is_dir() {
                folders.push((entry.path(), format!("{name}/")));
            } else {
                found.push(name);
            }
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::tests::manifest;
    use crate::mask::Mask;

    fn bundle() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let mut manifest = manifest();
        fs::write(dir.path().join("model.onnx"), b"graph").unwrap();
        manifest.graph.sha256 = sha256_hex(b"graph");
        fs::write(dir.path().join(MANIFEST), manifest.to_toml().unwrap()).unwrap();
        fs::create_dir(dir.path().join("golden")).unwrap();
        let rle = Rle::encode(&Mask::empty(2, 2));
        let masks = manifest.classes.iter().map(|c| (c.label.clone(), rle.clone())).collect();
        let cases = [GoldenCase { input: "golden/one.png".into(), masks }];
        fs::write(dir.path().join(GOLDEN), serde_json::to_vec(&cases).unwrap()).unwrap();
        fs::write(dir.path().join("golden/one.png"), b"png").unwrap();
        write_digests(dir.path()).unwrap();
        dir
    }

    fn refusal(change: impl FnOnce(&Path)) -> String {
        let dir = bundle();
        change(dir.path());
        Bundle::open(dir.path()).unwrap_err().to_string()
    }

    #[test]
    fn what_was_written_opens() {
        let dir = bundle();
        let opened = Bundle::open(dir.path()).unwrap();
        assert_eq!(opened.model_sha256(), sha256_hex(b"graph"));
        assert_eq!(opened.golden().unwrap().len(), 1);
    }

    #[test]
    fn altered_missing_and_unlisted_files_are_named() {
        let error = refusal(|d| fs::write(d.join("model.onnx"), b"evil").unwrap());
        assert!(error.contains("model.onnx is altered"), "{error}");
        let error = refusal(|d| fs::remove_file(d.join("golden/one.png")).unwrap());
        assert!(error.contains("one.png"), "{error}");
        let error = refusal(|d| fs::write(d.join("golden/two.png"), b"x").unwrap());
        assert!(error.contains("two.png is not listed"), "{error}");
        let error = refusal(|d| fs::remove_file(d.join(DIGESTS)).unwrap());
        assert!(error.contains("DIGESTS"), "{error}");
    }

    #[test]
    fn a_graph_swapped_with_its_digest_is_still_seen() {
        let error = refusal(|d| {
            fs::write(d.join("model.onnx"), b"evil").unwrap();
            write_digests(d).unwrap();
        });
        assert!(error.contains("graph.sha256 differs"), "{error}");
    }

    #[test]
    fn paths_out_of_the_bundle_are_refused() {
        let error =
            refusal(|d| fs::write(d.join(DIGESTS), format!("{}  ../secret\n", "0".repeat(64))).unwrap());
        assert!(error.contains("line 1"), "{error}");
        let error =
            refusal(|d| fs::write(d.join(DIGESTS), format!("{}  /etc/passwd\n", "0".repeat(64))).unwrap());
        assert!(error.contains("line 1"), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn links_are_refused_though_their_content_fits() {
        use std::os::unix::fs::symlink;
        let elsewhere = tempfile::tempdir().unwrap();
        let error = refusal(|d| {
            fs::rename(d.join("model.onnx"), elsewhere.path().join("model.onnx")).unwrap();
            symlink(elsewhere.path().join("model.onnx"), d.join("model.onnx")).unwrap();
        });
        assert!(error.contains("model.onnx") && error.contains("not a regular file"), "{error}");
        let error = refusal(|d| {
            fs::rename(d.join("golden"), elsewhere.path().join("golden")).unwrap();
            symlink(elsewhere.path().join("golden"), d.join("golden")).unwrap();
        });
        assert!(error.contains("golden is not listed"), "{error}");
    }

    #[test]
    fn golden_masks_must_be_those_of_the_classes() {
        let dir = bundle();
        let cases = [GoldenCase { input: "golden/one.png".into(), masks: BTreeMap::new() }];
        fs::write(dir.path().join(GOLDEN), serde_json::to_vec(&cases).unwrap()).unwrap();
        write_digests(dir.path()).unwrap();
        let error = Bundle::open(dir.path()).unwrap().golden().unwrap_err().to_string();
        assert!(error.contains("one.png"), "{error}");
    }
}
