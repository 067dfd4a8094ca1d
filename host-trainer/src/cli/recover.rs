use std::path::PathBuf;
use std::process::ExitCode;

use shared::bundle::Bundle;

use super::{CliError, DeviceChoice, say};
use crate::config::Config;
use crate::dataset::{Split, data_root, load_samples};
use crate::train::{ModelFile, recover};

/// Arguments of `recover`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Configuration of the experiment that the bundle came from.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Folder of the bundle.
    #[arg(long, value_name = "DIR")]
    bundle: PathBuf,
    /// The model file to write.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Where to compute: auto, cpu or cuda:N.
    #[arg(long, default_value = "auto")]
    device: DeviceChoice,
}

pub(super) fn run(args: &Args) -> Result<ExitCode, CliError> {
    let config = Config::load(&args.config)?;
    let bundle = Bundle::open(&args.bundle).map_err(crate::train::RecoverError::from)?;
    let records = config.index(&data_root()?)?.of(Split::StrongTrain);
    let images = load_samples(&records, &[], &config.preprocess)?;
    let model: ModelFile = recover(&config, &bundle, &images, args.device.device()?)?;
    model.save(&args.out)?;
    say!("{}: the weights of {}, for --init and --teacher", args.out.display(), args.bundle.display());
    Ok(ExitCode::SUCCESS)
}
