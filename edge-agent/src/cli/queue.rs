use std::fs;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use comfy_table::{ContentArrangement, Table, presets};
use jiff::Timestamp;

use super::error::CommandError;
use crate::config::AgentConfig;
use crate::decode::Format;
use crate::exit_code::Exit;
use crate::store::{Entry, EntryState, ImageId, Store};

/// Hex digits of an image's identity that the list shows; any beginning of it names the image.
const SHOWN_DIGITS: usize = 12;

/// Look at what waits, and deal with what was set aside. The agent may run meanwhile.
#[derive(Debug, Args)]
pub(super) struct QueueArgs {
    /// The agent's configuration file
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: QueueCommand,
}

#[derive(Debug, Subcommand)]
enum QueueCommand {
    /// List images that are not done, oldest first
    List {
        /// At most so many
        #[arg(long, default_value_t = 1000, value_name = "N")]
        most: u32,
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Show one image
    Show {
        /// The beginning of its identity, as `list` shows it
        image: String,
    },
    /// Analyse images that were set aside again, and send results that wait at once
    Retry(Which),
    /// Copy an image and its result, as far as there is one, into a folder; images hold patient data
    Export {
        /// The beginning of its identity, as `list` shows it
        image: String,
        /// The folder
        #[arg(long, value_name = "FOLDER")]
        out: PathBuf,
    },
    /// Delete images that were set aside; nothing else can be deleted
    Purge(Which),
}

/// One image, or all of them.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Which {
    /// The beginning of an image's identity, as `list` shows it
    image: Option<String>,
    /// All of them
    #[arg(long)]
    all: bool,
}

/// Why the queue does not show what was asked for.
#[derive(Debug, thiserror::Error)]
pub(super) enum QueueError {
    #[error("name the agent's configuration file with `--config`")]
    NoConfig,
    #[error("no image begins with '{0}': `edge-agent queue list` shows what there is")]
    NotFound(String),
    #[error("more than one image begins with '{0}': give more digits")]
    Ambiguous(String),
    #[error("'{0}' is no beginning of an image's identity: those are hex digits")]
    NoDigits(String),
}

pub(super) fn main(args: &QueueArgs) -> Result<Exit, CommandError> {
    let config = AgentConfig::load(args.config.as_ref().ok_or(QueueError::NoConfig)?)?;
    let store = Store::attach(&config.state_dir)?;
    match &args.command {
        QueueCommand::List { most, json } => list(&store.entries(*most)?, *json),
        QueueCommand::Show { image } => show(&find(&store, image)?),
        QueueCommand::Retry(which) => {
            let images = store.retry(which.find(&store)?)?;
            println!("{images} images go to analysis again; results that wait are sent at once");
        }
        QueueCommand::Export { image, out } => export(&store, &find(&store, image)?, out)?,
        QueueCommand::Purge(which) => {
            println!("{} images deleted", store.purge_set_aside(which.find(&store)?)?);
        }
    }
    Ok(Exit::Ok)
}

impl Which {
    fn find(&self, store: &Store) -> Result<Option<ImageId>, CommandError> {
        self.image.as_ref().map(|image| find(store, image).map(|entry| entry.image)).transpose()
    }
}

fn find(store: &Store, digits: &str) -> Result<Entry, CommandError> {
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(QueueError::NoDigits(digits.chars().take(64).collect()).into());
    }
    let mut found = store.find(digits)?;
    match found.len() {
        0 => Err(QueueError::NotFound(digits.to_owned()).into()),
        1 => Ok(found.remove(0)),
        _ => Err(QueueError::Ambiguous(digits.to_owned()).into()),
    }
}

fn list(entries: &[Entry], json: bool) {
    if json {
        for entry in entries {
            println!("{}", object(entry));
        }
        return;
    }
    let mut table = Table::new();
    table
        .load_preset(presets::UTF8_FULL_CONDENSED)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(["image", "state", "received", "MB", "attempts", "reason"]);
    for entry in entries {
        table.add_row([
            entry.image.to_hex()[..SHOWN_DIGITS].to_owned(),
            state(&entry.state).to_owned(),
            received(entry),
            format!("{:.1}", entry.bytes as f64 / 1e6),
            entry.attempts.to_string(),
            reason(&entry.state).unwrap_or_default().to_owned(),
        ]);
    }
    println!("{table}");
    println!("{} images are not done", entries.len());
}

fn show(entry: &Entry) {
    let text = serde_json::to_string_pretty(&object(entry)).expect("a map of texts and numbers is JSON");
    println!("{text}");
}

fn object(entry: &Entry) -> serde_json::Value {
    serde_json::json!({
        "image": entry.image.to_hex(),
        "state": state(&entry.state),
        "reason": reason(&entry.state),
        "received_at": received(entry),
        "bytes": entry.bytes,
        "attempts": entry.attempts,
        "result_id": entry.result_id,
    })
}

fn state(state: &EntryState) -> &'static str {
    match state {
        EntryState::Received => "received",
        EntryState::Queued => "queued",
        EntryState::Published => "published",
        EntryState::Done => "acknowledged",
        EntryState::SetAside(_) => "set aside",
    }
}

fn reason(state: &EntryState) -> Option<&str> {
    if let EntryState::SetAside(reason) = state { Some(reason) } else { None }
}

fn received(entry: &Entry) -> String {
    let at = Timestamp::from_millisecond(entry.received_at_ms);
    at.map_or_else(|_| "?".into(), |at| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}

fn export(store: &Store, entry: &Entry, out: &Path) -> Result<(), CommandError> {
    let write = |name: String, bytes: &[u8]| {
        let path = out.join(name);
        fs::write(&path, bytes).map_err(|source| CommandError::Write { path: path.clone(), source })?;
        println!("{}", path.display());
        Ok::<_, CommandError>(())
    };
    fs::create_dir_all(out).map_err(|source| CommandError::Write { path: out.to_owned(), source })?;
    let stem = &entry.image.to_hex()[..SHOWN_DIGITS];
    if entry.state != EntryState::Done {
        let bytes = store.image_bytes(entry.image)?;
        let extension = match Format::of(&bytes) {
            Ok(Format::Dicom(_)) => "dcm",
            Ok(Format::Png) => "png",
            Ok(Format::Jpeg) => "jpg",
            Ok(Format::Tiff) => "tif",
            Err(_) => "bin",
        };
        write(format!("{stem}.{extension}"), &bytes)?;
    }
    if let Some(envelope) = entry.result_id.map(|id| store.envelope(id)).transpose()?.flatten() {
        write(format!("{stem}.result.json"), &envelope)?;
    }
    Ok(())
}
