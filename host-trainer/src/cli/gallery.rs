use std::path::PathBuf;
use std::process::ExitCode;

use super::{CliError, say};
use crate::config::Config;
use crate::dataset::{DatasetError, data_root};
use crate::examine::{Agent, ExamineError, Request, examine, figures_markdown, write_page};
use crate::train::atomic;

/// Arguments of `gallery`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Configuration of the experiment.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Folder of the bundle.
    #[arg(long, value_name = "DIR")]
    bundle: PathBuf,
    /// Folder for gallery.html and examination.json. The pictures are radiographs: keep them where those may be.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// A collection without masks, of PNG and JPEG pictures; may be given several times.
    #[arg(long, value_name = "NAME=DIR", value_parser = named_folder)]
    folder: Vec<(String, PathBuf)>,
    /// The most images of each collection without masks, evenly taken.
    #[arg(long, value_name = "N", default_value_t = 400)]
    most: usize,
    /// Judge radiographs as the field might spoil them too: three strengths of each corruption.
    #[arg(long)]
    stress: bool,
    /// The edge-agent to ask [default: the one beside this program]
    #[arg(long, value_name = "FILE")]
    agent: Option<PathBuf>,
}

fn named_folder(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((name, folder)) if !name.is_empty() && !folder.is_empty() => Ok((name.into(), folder.into())),
        _ => Err("expected NAME=DIR".into()),
    }
}

pub(super) fn run(args: &Args) -> Result<ExitCode, CliError> {
    let config = Config::load(&args.config)?;
    let agent = Agent::find(args.agent.as_deref()).ok_or(ExamineError::NoAgent)?;
    let index = match data_root() {
        _ if config.data.is_empty() => None,
        Ok(root) => Some(config.index(&root)?),
        Err(DatasetError::NoRoot { .. }) => {
            tracing::warn!("no data folder found: looking at the given folders only");
            None
        }
        Err(error) => return Err(error.into()),
    };
    let write = |path: PathBuf| move |source| CliError::Write { path, source };
    std::fs::create_dir_all(&args.out).map_err(write(args.out.clone()))?;
    let scratch = args.out.join("scratch");
    let request = Request {
        config: &config,
        bundle: &args.bundle,
        agent: &agent,
        index: index.as_ref(),
        folders: &args.folder,
        most: args.most,
        stress: args.stress,
        scratch: &scratch,
    };
    let examined = examine(&request)?;
    let json = args.out.join("examination.json");
    atomic::write_json(&json, &examined.figures).map_err(write(json.clone()))?;
    let page = args.out.join("gallery.html");
    write_page(&examined, &page)?;
    say!("{}", figures_markdown(&examined.figures));
    say!("{}", page.display());
    Ok(ExitCode::SUCCESS)
}
