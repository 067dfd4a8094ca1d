use std::fs;
use std::path::{Path, PathBuf};

use shared::bundle::{Bundle, GOLDEN, GoldenCase, MANIFEST, write_digests};
use shared::manifest::Manifest;

use super::ExportError;
use super::golden::Golden;

/// The graph's file.
pub(super) const GRAPH_FILE: &str = "model.onnx";
const CARD: &str = "MODEL_CARD.md";

/// Everything in a bundle but its digests.
pub(super) struct Contents<'a> {
    pub(super) graph: &'a [u8],
    pub(super) manifest: &'a Manifest,
    pub(super) card: &'a str,
    pub(super) golden: &'a [Golden],
}

/// Writes a bundle beside `out`, opens it as the agent would, and only then puts it in the place of an older one.
pub(super) fn write(out: &Path, contents: &Contents<'_>) -> Result<(), ExportError> {
    let io = |path: &Path, source| ExportError::Io { path: path.to_owned(), source };
    // Without a trailing slash, after which "beside" would be inside.
    let out = &out.components().collect::<PathBuf>();
    let replaces = out.exists();
    if replaces && !out.join(MANIFEST).is_file() {
        return Err(ExportError::NotABundle { path: out.to_owned() });
    }
    let fresh = beside(out);
    if fresh.exists() {
        fs::remove_dir_all(&fresh).map_err(|error| io(&fresh, error))?;
    }
    fill(&fresh, contents)?;
    Bundle::open(&fresh)?.golden()?;
    if replaces {
        fs::remove_dir_all(out).map_err(|error| io(out, error))?;
    }
    fs::rename(&fresh, out).map_err(|error| io(out, error))
}

fn fill(dir: &Path, contents: &Contents<'_>) -> Result<(), ExportError> {
    let pictures = dir.join(GOLDEN);
    let pictures = pictures.parent().unwrap_or(dir);
    fs::create_dir_all(pictures).map_err(|source| ExportError::Io { path: pictures.to_owned(), source })?;
    let write = |name: &str, bytes: &[u8]| {
        let path = dir.join(name);
        fs::write(&path, bytes).map_err(|source| ExportError::Io { path, source })
    };
    write(GRAPH_FILE, contents.graph)?;
    write(MANIFEST, contents.manifest.to_toml()?.as_bytes())?;
    write(CARD, contents.card.as_bytes())?;
    for golden in contents.golden {
        let path = dir.join(&golden.case.input);
        golden.frame.to_image16().save(&path).map_err(|source| ExportError::Picture { path, source })?;
    }
    let cases: Vec<&GoldenCase> = contents.golden.iter().map(|golden| &golden.case).collect();
    let cases = serde_json::to_string_pretty(&cases).expect("cases are plain data with text keys");
    write(GOLDEN, cases.as_bytes())?;
    Ok(write_digests(dir)?)
}

fn beside(out: &Path) -> PathBuf {
    let mut name = out.as_os_str().to_owned();
    name.push(".partial");
    name.into()
}
