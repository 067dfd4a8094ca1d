//! Files that `infer --out` writes.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use shared::manifest::ClassSpec;

use super::error::CommandError;
use crate::infer::Analysis;

/// Longer side of an overlay in pixels, at most.
const OVERLAY_SIDE: usize = 2048;

/// Gives every input file names of its own within a folder.
pub(super) struct Names {
    folder: PathBuf,
    taken: HashSet<PathBuf>,
}

/// Names for one input file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PictureNames {
    overlay: PathBuf,
    /// In the manifest's order.
    masks: Vec<PathBuf>,
}

impl Names {
    /// In a folder that is created if absent.
    pub(super) fn create(folder: &Path) -> Result<Self, CommandError> {
        fs::create_dir_all(folder)
            .map_err(|source| CommandError::Write { path: folder.to_owned(), source })?;
        Ok(Self {
            folder: folder.canonicalize().unwrap_or_else(|_| folder.to_owned()),
            taken: HashSet::new(),
        })
    }

    /// Never overwrite these.
    pub(super) fn protect<'p>(&mut self, inputs: impl Iterator<Item = &'p PathBuf>) {
        self.taken.extend(inputs.filter_map(|path| path.canonicalize().ok()));
    }

    /// `STEM.overlay.png` and `STEM.CLASS.png`; a second file of the same stem gets `STEM-2`, and so on.
    pub(super) fn claim(&mut self, input: &Path, classes: &[ClassSpec]) -> PictureNames {
        let stem = input.file_stem().unwrap_or(OsStr::new("image")).to_string_lossy();
        let names = |n: usize| {
            let stem = if n == 1 { stem.to_string() } else { format!("{stem}-{n}") };
            let file = |what: &str| self.folder.join(format!("{stem}.{what}.png"));
            PictureNames {
                overlay: file("overlay"),
                masks: classes.iter().map(|class| file(&class.label)).collect(),
            }
        };
        let free = (1..)
            .map(names)
            .find(|names| names.paths().all(|path| !self.taken.contains(path)))
            .expect("more numbers than files");
        self.taken.extend(free.paths().cloned());
        free
    }
}

impl PictureNames {
    fn paths(&self) -> impl Iterator<Item = &PathBuf> {
        std::iter::once(&self.overlay).chain(&self.masks)
    }
}

/// Writes overlay and masks of an image.
pub(super) fn write_pictures(analysis: &Analysis, names: &PictureNames) -> Result<(), CommandError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |e: image::ImageError| CommandError::Write { path, source: std::io::Error::other(e) }
    };
    analysis.overlay(OVERLAY_SIDE).save(&names.overlay).map_err(failed(&names.overlay))?;
    let masks = analysis.masks_at_source()?;
    for (mask, path) in masks.iter().zip(&names.masks) {
        mask.to_gray().save(path).map_err(failed(path))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(label: &str) -> ClassSpec {
        let bundle = tempfile::tempdir().unwrap();
        let bundle = crate::testing::write_bundle(bundle.path()).unwrap();
        ClassSpec { label: label.into(), ..bundle.manifest().classes[0].clone() }
    }

    #[test]
    fn equal_stems_get_names_of_their_own() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().canonicalize().unwrap();
        let mut names = Names::create(dir.path()).unwrap();
        let classes = [class("heart")];
        let first = names.claim(Path::new("a/chest.dcm"), &classes);
        assert_eq!(first.overlay, folder.join("chest.overlay.png"));
        assert_eq!(first.masks, [folder.join("chest.heart.png")]);
        let second = names.claim(Path::new("b/chest.png"), &classes);
        assert_eq!(second.overlay, folder.join("chest-2.overlay.png"));
        let third = names.claim(Path::new("chest-2.png"), &classes);
        assert_eq!(third.masks, [folder.join("chest-2-2.heart.png")]);
    }

    #[test]
    fn an_input_is_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let input = dir.path().join("chest.heart.png");
        fs::write(&input, b"precious").unwrap();
        let mut names = Names::create(dir.path()).unwrap();
        names.protect([input.clone()].iter());
        let claimed = names.claim(&dir.path().join("chest.dcm"), &[class("heart")]);
        assert!(claimed.masks[0].ends_with("chest-2.heart.png"));
    }
}
