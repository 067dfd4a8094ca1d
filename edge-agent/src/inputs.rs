//! Files and folders named on the command line.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A path that is absent or a folder that cannot be listed.
#[derive(Debug, thiserror::Error)]
#[error("failed to read {}: {source}; check the path and its permissions", .path.display())]
pub struct InputError {
    /// The path.
    pub path: PathBuf,
    /// The cause.
    pub source: std::io::Error,
}

/// Files as they are named; of folders, with all below, those that are named like radiographs, sorted. A path
/// that cannot be read is an error in its place, so that the others are still worked on.
pub fn collect(paths: &[PathBuf]) -> Vec<Result<PathBuf, InputError>> {
    paths
        .iter()
        .flat_map(|path| match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => folder(path),
            Ok(_) => vec![Ok(path.clone())],
            Err(source) => vec![Err(InputError { path: path.clone(), source })],
        })
        .collect()
}

fn folder(root: &Path) -> Vec<Result<PathBuf, InputError>> {
    let (mut files, mut errors) = (BTreeSet::new(), Vec::new());
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(source) => {
                errors.push(Err(InputError { path: folder, source }));
                continue;
            }
        };
        for entry in entries.flatten() {
            let path = entry.path();
            let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
            // Of the entry itself: a link to a folder is not followed, so no ring of links is walked for ever.
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if hidden {
            } else if is_folder {
                folders.push(path);
            } else if path.is_file() && is_named_like_image(&path) {
                files.insert(path);
            }
        }
    }
    files.into_iter().map(Ok).chain(errors).collect()
}

/// Extensions of images, or none: exports from archives carry a UID as their name, whose last part looks like
/// an extension of digits.
fn is_named_like_image(path: &Path) -> bool {
    let Some(extension) = path.extension() else { return true };
    let extension = extension.to_string_lossy().to_ascii_lowercase();
    matches!(extension.as_str(), "dcm" | "dicom" | "ima" | "png" | "jpg" | "jpeg" | "tif" | "tiff")
        || extension.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_give_their_images_sorted_and_files_are_taken_as_named() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("b")).unwrap();
        fs::create_dir(dir.path().join(".git")).unwrap();
        for name in ["b/2.PNG", "b/1.2.840", "a.dcm", "labels.csv", ".hidden.png", ".git/x.png", "IM0001"] {
            fs::write(dir.path().join(name), b"").unwrap();
        }
        let named = dir.path().join("labels.csv");
        let found: Vec<String> = collect(&[dir.path().to_owned(), named])
            .into_iter()
            .map(|p| p.unwrap().strip_prefix(dir.path()).unwrap().display().to_string())
            .collect();
        assert_eq!(found, ["IM0001", "a.dcm", "b/1.2.840", "b/2.PNG", "labels.csv"]);
    }

    #[test]
    fn a_missing_path_is_named_in_its_place() {
        let found = collect(&["/nowhere/at-all.png".into()]);
        assert!(found[0].as_ref().unwrap_err().to_string().contains("/nowhere/at-all.png"));
    }

    #[cfg(unix)]
    #[test]
    fn a_ring_of_links_ends() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(dir.path(), dir.path().join("loop")).unwrap();
        fs::write(dir.path().join("a.png"), b"").unwrap();
        assert_eq!(collect(&[dir.path().to_owned()]).len(), 1);
    }
}
