use std::path::{Path, PathBuf};

use shared::phantom::{Phantom, PhantomParams, render};

/// The root of the workspace.
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the workspace").to_owned()
}

/// The bundle that the repository ships.
pub fn shipped_bundle() -> PathBuf {
    workspace().join("models/chexseg-edge")
}

/// A folder of the research data, which is not part of the repository; says so and gives none if absent.
pub fn real_data(folder: &str) -> Option<PathBuf> {
    let root =
        std::env::var_os("CHEXSEG_DATA").map_or_else(|| workspace().join("../shared/data"), PathBuf::from);
    let path = root.join(folder);
    if path.is_dir() {
        return Some(path);
    }
    println!("SKIPPED: {} is absent (set CHEXSEG_DATA)", path.display());
    None
}

/// Renders a phantom and writes it as 16-bit PNG.
pub fn phantom_png(path: &Path, seed: u64, rows: usize, cols: usize) -> Phantom {
    let phantom = render(&PhantomParams::random(seed, rows, cols)).expect("random parameters are valid");
    // Under another name first: a watched folder must never see half a file.
    let part = path.with_extension("part");
    phantom
        .frame
        .to_image16()
        .save_with_format(&part, image::ImageFormat::Png)
        .expect("temporary folder is writable");
    std::fs::rename(&part, path).expect("temporary folder is writable");
    phantom
}

/// Renders a phantom and writes it as a DICOM object with study and series.
pub fn phantom_dicom(path: &Path, seed: u64, rows: usize, cols: usize) {
    let phantom = render(&PhantomParams::random(seed, rows, cols)).expect("random parameters are valid");
    let file = edge_agent::specimen::dicom_file_of_study(&phantom.frame, &format!("1.2.840.{seed}"));
    let part = path.with_extension("part");
    std::fs::write(&part, file).expect("temporary folder is writable");
    std::fs::rename(&part, path).expect("temporary folder is writable");
}
