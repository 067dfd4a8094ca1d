use std::path::PathBuf;

use clap::Args;

use super::bundle::BundleArgs;
use super::error::CommandError;
use crate::demo::{self, DemoOptions};
use crate::exit_code::Exit;

/// Show everything at work.
#[derive(Debug, Args)]
pub(super) struct DemoArgs {
    #[command(flatten)]
    bundle: BundleArgs,
    /// Folder for pictures and index.html
    #[arg(long, value_name = "DIR", default_value = "demo-out")]
    out: PathBuf,
    /// Radiographs or folders to send instead of phantoms (DICOM, PNG, JPEG, TIFF)
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
}

pub(super) fn main(args: DemoArgs) -> Result<Exit, CommandError> {
    let (bundle, trust) = (args.bundle.dir()?, args.bundle.trust());
    let runtime = tokio::runtime::Runtime::new().map_err(CommandError::Runtime)?;
    Ok(runtime.block_on(demo::run(DemoOptions { out: args.out, paths: args.paths, bundle, trust }))?)
}
