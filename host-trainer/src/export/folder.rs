use std::fs::{self, File};
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
///
/// `<out>.partial` and `<out>.old` belong to the export while it runs. Whenever it is stopped, a whole bundle is
/// left under `out` or `<out>.old`, and the next export takes up from there.
pub(super) fn write(out: &Path, contents: &Contents<'_>) -> Result<(), ExportError> {
    // Without a trailing slash, after which "beside" would be inside.
    let out = &out.components().collect::<PathBuf>();
    restore(out)?;
    let replaces = out.exists();
    if replaces {
        check_bundle(out)?;
    }
    let (fresh, old) = (beside(out, ".partial"), beside(out, ".old"));
    if replaces && old.exists() {
        // Left by an export that was stopped before it could remove it.
        check_bundle(&old)?;
        remove(&old)?;
    }
    if fresh.exists() {
        fs::remove_dir_all(&fresh).map_err(io(&fresh))?;
    }
    fill(&fresh, contents)?;
    Bundle::open(&fresh)?.golden()?;
    sync_tree(&fresh)?;
    if !replaces {
        return put_in_place(&fresh, out);
    }
    set_aside(out)?;
    if let Err(error) = put_in_place(&fresh, out) {
        // The older bundle is better than none; what has failed is told either way.
        let _ = restore(out);
        return Err(error);
    }
    remove(&old)
}

/// Puts the older bundle back where an export was stopped between its two renames.
pub(super) fn restore(out: &Path) -> Result<(), ExportError> {
    let old = beside(out, ".old");
    if out.exists() || check_bundle(&old).is_err() {
        return Ok(());
    }
    put_in_place(&old, out)
}

/// The first rename: from here on the older bundle stands under `<out>.old`.
pub(super) fn set_aside(out: &Path) -> Result<(), ExportError> {
    fs::rename(out, beside(out, ".old")).map_err(io(out))
}

/// The second rename, made durable.
fn put_in_place(from: &Path, out: &Path) -> Result<(), ExportError> {
    fs::rename(from, out).map_err(io(out))?;
    let parent = out.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    sync(parent)
}

fn check_bundle(path: &Path) -> Result<(), ExportError> {
    if path.join(MANIFEST).is_file() {
        return Ok(());
    }
    Err(ExportError::NotABundle { path: path.to_owned() })
}

/// Removes a bundle, its manifest last: half of one is still known as a bundle.
fn remove(bundle: &Path) -> Result<(), ExportError> {
    for entry in fs::read_dir(bundle).map_err(io(bundle))? {
        let entry = entry.map_err(io(bundle))?;
        let path = entry.path();
        if entry.file_type().map_err(io(&path))?.is_dir() {
            fs::remove_dir_all(&path).map_err(io(&path))?;
        } else if entry.file_name() != MANIFEST {
            fs::remove_file(&path).map_err(io(&path))?;
        }
    }
    fs::remove_dir_all(bundle).map_err(io(bundle))
}

/// Makes a folder and all below it durable.
fn sync_tree(dir: &Path) -> Result<(), ExportError> {
    for entry in fs::read_dir(dir).map_err(io(dir))? {
        let path = entry.map_err(io(dir))?.path();
        if path.is_dir() { sync_tree(&path)? } else { sync(&path)? }
    }
    sync(dir)
}

fn sync(path: &Path) -> Result<(), ExportError> {
    File::open(path).and_then(|file| file.sync_all()).map_err(io(path))
}

fn io(path: &Path) -> impl FnOnce(std::io::Error) -> ExportError {
    let path = path.to_owned();
    |source| ExportError::Io { path, source }
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

fn beside(out: &Path, suffix: &str) -> PathBuf {
    let mut name = out.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
