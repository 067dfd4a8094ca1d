//! The command line of `cxr-central`.

mod check;
mod devices;
mod export;
mod pacs;
mod results;
mod set_aside;
mod show;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use comfy_table::{Table, presets};
use jiff::Timestamp;

use super::config::CentralConfig;
use super::database::{Database, DatabaseError};
use super::pacs::{PacsError, ScuError, StowError};
use super::{daemon, watch};
use crate::config::{ConfigError, LogConfig};
use crate::exit_code::{Exit, ExitStatus};
use crate::publisher::PublishError;
use crate::{shutdown, telemetry};

const HELP: &str = "\
Exit codes:
   0  all done
   1  what was asked for is not there, or some of it could not be done
   2  wrong command line
   3  wrong configuration
   5  broker or PACS out of reach or refusing
   6  the database or a folder cannot be read or written
  70  internal error";

/// Takes the results of edge agents from the broker, keeps each once, acknowledges them and hands them on to a PACS.
///
/// For research; not a medical device.
#[derive(Debug, Parser)]
#[command(name = "cxr-central", version, after_help = HELP, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon
    Run(Common),
    /// Verify configuration, database, broker and PACS
    Check(Common),
    /// Print results as they come, one a line, without patient data
    Watch(WatchArgs),
    /// List, show and export results that are kept
    #[command(subcommand)]
    Results(results::ResultsCommand),
    /// List the fleet: who is online, with which model, and what waits there
    Devices(devices::DevicesArgs),
    /// List messages that could not be used (may hold what devices sent, whatever it was)
    SetAside(set_aside::SetAsideArgs),
    /// What is handed on to the PACS
    #[command(subcommand)]
    Pacs(pacs::PacsCommand),
}

/// What every command needs.
#[derive(Clone, Debug, Args)]
struct Common {
    /// Configuration file
    #[arg(long, value_name = "FILE", env = "CXR_CENTRAL_CONFIG")]
    config: PathBuf,
}

#[derive(Debug, Args)]
struct WatchArgs {
    #[command(flatten)]
    common: Common,
    /// Print JSON, one object a line
    #[arg(long)]
    json: bool,
    /// Only results of this site
    #[arg(long, value_name = "SITE")]
    site: Option<String>,
    /// Only results of this device
    #[arg(long, value_name = "DEVICE")]
    device: Option<String>,
    /// End after so many results
    #[arg(long, value_name = "N")]
    count: Option<u64>,
}

/// Why a command ended early.
#[derive(Debug, thiserror::Error)]
enum CentralError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Database(#[from] DatabaseError),
    #[error(transparent)]
    Broker(#[from] PublishError),
    #[error(transparent)]
    Pacs(#[from] PacsError),
    #[error("the configuration has no `[pacs]`")]
    NoPacs,
    #[error("there is no result {0}")]
    NoResult(uuid::Uuid),
    #[error("result {id} cannot be drawn or made into objects: {reason}")]
    Export { id: uuid::Uuid, reason: String },
    #[error("the radiograph cannot be used: {0}")]
    Radiograph(#[from] crate::decode::DecodeError),
    #[error("that is another image: it does not have the result's SOP Instance UID")]
    OtherImage,
    #[error("failed to write {}: {source}", .path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("failed to write to the standard output: {0}")]
    Stdout(#[from] io::Error),
    #[error("failed to start the async run time: {0}")]
    Runtime(#[source] io::Error),
}

impl CentralError {
    fn exit(&self) -> Exit {
        match self {
            Self::Config(error) => error.exit(),
            Self::Database(error) => error.exit(),
            Self::Broker(PublishError::Credentials(_))
            | Self::Pacs(
                PacsError::Scu(ScuError::Credentials(_))
                | PacsError::Stow(StowError::Credentials(_))
                | PacsError::Config(_),
            )
            | Self::NoPacs => Exit::Config,
            Self::Broker(_) | Self::Pacs(_) => Exit::Broker,
            Self::NoResult(_) | Self::Export { .. } | Self::Radiograph(_) | Self::OtherImage => {
                Exit::SomeInputFailed
            }
            Self::Write { .. } => Exit::Storage,
            Self::Stdout(_) | Self::Runtime(_) => Exit::Internal,
        }
    }
}

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    match dispatch(Cli::parse().command) {
        Ok(exit) => exit,
        // Whoever read our output left: no failure of ours.
        Err(CentralError::Stdout(e)) if e.kind() == io::ErrorKind::BrokenPipe => Exit::Ok,
        Err(error) => {
            eprintln!("error: {error}");
            error.exit()
        }
    }
    .into()
}

fn dispatch(command: Command) -> Result<Exit, CentralError> {
    let runtime = tokio::runtime::Runtime::new().map_err(CentralError::Runtime)?;
    runtime.block_on(async {
        match command {
            Command::Run(common) => run(&common).await,
            Command::Check(common) => check::main(&common).await,
            Command::Watch(args) => watch_results(&args).await,
            Command::Results(command) => results::main(command).await,
            Command::Devices(args) => devices::main(&args).await,
            Command::SetAside(args) => set_aside::main(&args).await,
            Command::Pacs(command) => pacs::main(command).await,
        }
    })
}

async fn run(common: &Common) -> Result<Exit, CentralError> {
    let config = CentralConfig::load(&common.config)?;
    telemetry::init(config.log);
    telemetry::log_panics();
    let stop = shutdown::on_signals().map_err(CentralError::Runtime)?;
    daemon::run(&config, stop).await?;
    Ok(Exit::Ok)
}

async fn watch_results(args: &WatchArgs) -> Result<Exit, CentralError> {
    let config = CentralConfig::load(&args.common.config)?;
    telemetry::init(LogConfig::default());
    let mut left = args.count.unwrap_or(u64::MAX);
    let mut failure = None;
    let wanted = |wish: &Option<String>, found: &str| wish.as_deref().is_none_or(|wish| wish == found);
    watch::watch(&config, |seen| {
        if !wanted(&args.site, &seen.site) || !wanted(&args.device, &seen.device) {
            return true;
        }
        let line = if args.json { json(seen) } else { seen.line() };
        failure = print(&line).err();
        left = left.saturating_sub(1);
        left > 0 && failure.is_none()
    })
    .await?;
    failure.map_or(Ok(Exit::Ok), |error| Err(error.into()))
}

impl Common {
    /// The configuration and its database. Reading commands log nothing.
    async fn open(&self) -> Result<(CentralConfig, Database), CentralError> {
        let config = CentralConfig::load(&self.config)?;
        let database = Database::open(&config.database, false).await?;
        Ok((config, database))
    }
}

/// One line, written out at once: whoever reads a pipe wants it now.
fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("strings, numbers and lists")
}

fn table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_FULL_CONDENSED).set_header(header);
    table
}

/// Milliseconds since 1970 as RFC 3339, UTC, in whole seconds.
fn time(ms: i64) -> String {
    Timestamp::from_millisecond(ms)
        .map(|at| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
        .unwrap_or_default()
}

/// Text that came over the wire, for a terminal.
fn plain(text: &str) -> String {
    text.replace(char::is_control, "?")
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent_and_tells_the_exit_codes() {
        Cli::command().debug_assert();
        for exit in [
            Exit::Ok,
            Exit::SomeInputFailed,
            Exit::Usage,
            Exit::Config,
            Exit::Broker,
            Exit::Storage,
            Exit::Internal,
        ] {
            let shown = format!("{:>4}  ", exit.code());
            assert!(HELP.lines().any(|line| line.starts_with(&shown)), "{exit:?}");
        }
    }
}
