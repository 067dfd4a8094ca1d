use std::path::{Path, PathBuf};

use clap::Args;
use shared::bundle::Bundle;

use super::error::CommandError;

/// The model that ships with the program.
const DEFAULT: &str = "models/chexseg-first";

/// Which model to use.
#[derive(Clone, Debug, Args)]
pub(super) struct BundleArgs {
    /// Folder of the model bundle [default: models/chexseg-first, sought from here and from the program
    /// upwards]
    #[arg(long, value_name = "DIR", env = "CHEXSEG_BUNDLE")]
    bundle: Option<PathBuf>,
}

/// No bundle was named and none was found.
#[derive(Debug, thiserror::Error)]
#[error(
    "found no model bundle: looked for {DEFAULT} at {}; name one with --bundle DIR or CHEXSEG_BUNDLE",
    .tried.iter().map(|p| p.display().to_string()).collect::<Vec<_>>().join(", ")
)]
pub(super) struct NoBundle {
    tried: Vec<PathBuf>,
}

impl BundleArgs {
    /// The folder that was named, else the shipped model.
    pub(super) fn dir(&self) -> Result<PathBuf, NoBundle> {
        match &self.bundle {
            Some(dir) => Ok(dir.clone()),
            None => find(roots()),
        }
    }

    /// The bundle, its files checked against their digests.
    pub(super) fn open(&self) -> Result<Bundle, CommandError> {
        Ok(Bundle::open(&self.dir()?)?)
    }
}

/// Where the shipped model may stand: here, above the program (installed, or in `target/` of a checkout), and
/// in the checkout that the program was built from.
fn roots() -> Vec<PathBuf> {
    let mut roots = vec![PathBuf::new()];
    if let Ok(exe) = std::env::current_exe() {
        roots.extend(exe.ancestors().skip(1).map(Path::to_owned));
    }
    roots.extend(Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_owned));
    roots
}

fn find(roots: Vec<PathBuf>) -> Result<PathBuf, NoBundle> {
    let candidate = roots.iter().map(|root| root.join(DEFAULT)).find(|dir| dir.is_dir());
    candidate.ok_or(NoBundle { tried: roots.into_iter().filter(|r| r.as_os_str().len() > 1).collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_root_that_has_the_model_wins() {
        let (empty, full) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let model = full.path().join(DEFAULT);
        std::fs::create_dir_all(&model).unwrap();
        assert_eq!(find(vec![empty.path().into(), full.path().into()]).unwrap(), model);
        let error = find(vec![empty.path().into()]).unwrap_err().to_string();
        assert!(error.contains(&empty.path().display().to_string()) && error.contains("--bundle"), "{error}");
    }

    #[test]
    fn a_named_folder_is_not_second_guessed() {
        let args = BundleArgs { bundle: Some("/nowhere".into()) };
        assert_eq!(args.dir().unwrap(), Path::new("/nowhere"));
    }
}
