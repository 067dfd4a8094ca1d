use std::path::PathBuf;
use std::process::ExitCode;

use shared::manifest::Quantization;

use super::bundle::load_key;
use super::{CliError, DeviceChoice, say};
use crate::bundle::create;
use crate::config::Config;
use crate::dataset::{DatasetError, data_root};
use crate::examine::{Agent, Examination};
use crate::export::{QuantizeChoice, Request, export};
use crate::train::{ModelFile, RunDir, TeacherFile};

/// Arguments of `export`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Configuration of the experiment.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Folder of the run whose best model is exported.
    #[arg(long, value_name = "DIR")]
    run: PathBuf,
    /// Folder of the bundle; an older bundle there is replaced.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Secret key to sign the bundle with; `bundle keygen` makes one.
    #[arg(long, value_name = "FILE")]
    sign_key: Option<PathBuf>,
    /// Export the model of the last step instead of the one that was best on validation
    #[arg(long)]
    last: bool,
    /// Arithmetic of the graph.
    #[arg(long, value_enum, default_value_t)]
    quantize: QuantizeChoice,
    /// The edge-agent that times each form [default: the one beside this program, if there is one]
    #[arg(long, value_name = "FILE")]
    agent: Option<PathBuf>,
    /// A teacher of the model, and of which classes, as `train` was given it: judged beside the model; may be given
    /// several times.
    #[arg(long, value_name = "FILE[=CLASS,…]")]
    teacher: Vec<TeacherFile>,
    /// What `gallery` found of this model's bundle (examination.json), for the card.
    #[arg(long, value_name = "FILE")]
    examination: Option<PathBuf>,
    /// Where to compute: auto, cpu or cuda:N.
    #[arg(long, default_value = "auto")]
    device: DeviceChoice,
}

pub(super) fn run(args: &Args) -> Result<ExitCode, CliError> {
    // First: a wrong password must not cost an export.
    let key = args.sign_key.as_deref().map(load_key).transpose()?;
    let config = Config::load(&args.config)?;
    let run = RunDir::new(&args.run);
    let model = ModelFile::load(&if args.last { run.final_model() } else { run.best() })?;
    let index = match data_root() {
        _ if config.data.is_empty() => None,
        Ok(root) => Some(config.index(&root)?),
        Err(DatasetError::NoRoot { .. }) => {
            tracing::warn!("no data folder found: calibrating on phantoms, no figures");
            None
        }
        Err(error) => return Err(error.into()),
    };
    let agent = Agent::find(args.agent.as_deref());
    let teachers = args.teacher.iter().map(TeacherFile::load).collect::<Result<Vec<_>, _>>()?;
    let examination = args.examination.as_deref().map(Examination::load).transpose()?;
    let request = Request {
        config: &config,
        model: &model,
        index: index.as_ref(),
        quantize: args.quantize,
        device: args.device.device()?,
        agent: agent.as_ref(),
        teachers: &teachers,
        examination: examination.as_ref(),
        out: &args.out,
    };
    let exported = export(&request)?;
    say!("{}", exported.ladder_table(&config.labels()));
    for (unit, error) in &exported.ladder.sensitive {
        say!("8 bits alone in {unit}: mean squared error of the logits {error:.2e}");
    }
    for remark in &exported.ladder.remarks {
        say!("{remark}");
    }
    for (quantization, report) in &exported.reports {
        say!(
            "{} on {}: {} images\n{}",
            quantization_name(*quantization),
            report.split,
            report.images,
            report.table()
        );
    }
    if let Some(report) = &exported.teachers {
        say!("teachers together on {}: {} images\n{}", report.split, report.images, report.table());
    }
    let signature = match key {
        Some(key) => create(&exported.path, &key)?.signature().map(ToString::to_string),
        None => None,
    };
    let unsigned = || "not signed, so that agents refuse it: sign it with `bundle create`".to_owned();
    say!("{}", signature.unwrap_or_else(unsigned));
    say!("{} ({:.2} MB of graph)", exported.path.display(), exported.graph_bytes as f64 / 1e6);
    Ok(ExitCode::SUCCESS)
}

pub(super) fn quantization_name(quantization: Quantization) -> &'static str {
    match quantization {
        Quantization::F32 => "f32",
        Quantization::QdqInt8 => "int8",
    }
}
