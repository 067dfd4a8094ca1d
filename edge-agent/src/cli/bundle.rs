use std::path::{Path, PathBuf};

use clap::Args;
use shared::bundle::{Bundle, PublicKey, Signature, Trust};

use super::error::CommandError;

/// The model that ships with the program.
const DEFAULT: &str = "models/chexseg-edge";

/// Which model to use.
#[derive(Clone, Debug, Args)]
pub(super) struct BundleArgs {
    /// Folder of the model bundle [default: models/chexseg-edge, sought from here and from the program
    /// upwards]
    #[arg(long, value_name = "DIR", env = "CHEXSEG_BUNDLE")]
    bundle: Option<PathBuf>,
    /// Public key of whoever signs your bundles, as minisign writes it; may be given more than once [default:
    /// this project's]
    #[arg(long = "trusted-key", value_name = "KEY")]
    trusted_keys: Vec<PublicKey>,
    /// Take a bundle that is not signed by a trusted key, too
    #[arg(long)]
    allow_unsigned: bool,
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

    /// Whose bundles are taken.
    pub(super) fn trust(&self) -> Trust {
        let allow_unsigned = self.allow_unsigned;
        if self.trusted_keys.is_empty() {
            return Trust { allow_unsigned, ..Trust::project() };
        }
        Trust { keys: self.trusted_keys.clone(), allow_unsigned }
    }

    /// The bundle, its signature verified and its files checked against their digests.
    pub(super) fn open(&self) -> Result<Bundle, CommandError> {
        let bundle = Bundle::open_trusted(&self.dir()?, &self.trust())?;
        warn(bundle.signature());
        Ok(bundle)
    }
}

/// Says so where nobody answers for the bundle.
pub(super) fn warn(signature: Option<&Signature>) {
    if let Some(signature) = signature.filter(|signature| !signature.is_verified()) {
        eprintln!("warning: the bundle is {signature}; it runs because of --allow-unsigned");
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
        let args =
            BundleArgs { bundle: Some("/nowhere".into()), trusted_keys: vec![], allow_unsigned: false };
        assert_eq!(args.dir().unwrap(), Path::new("/nowhere"));
        assert_eq!(args.trust(), Trust::project());
    }

    #[test]
    fn a_trusted_key_replaces_the_projects() {
        let key = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3".parse::<PublicKey>().unwrap();
        let args = BundleArgs { bundle: None, trusted_keys: vec![key.clone()], allow_unsigned: true };
        assert_eq!(args.trust(), Trust { keys: vec![key], allow_unsigned: true });
    }
}
