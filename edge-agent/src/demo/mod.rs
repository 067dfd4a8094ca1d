//! The whole way in one process: an MQTT broker, the agent as it ships, an X-ray unit and a subscriber.
//!
//! The unit drops radiographs into the agent's watched folder: phantoms with exact masks, or files that the
//! user names. The subscriber knows nothing but what comes over MQTT. What comes of it is printed and written
//! to a folder as overlays and one page, `index.html`.

pub mod broker;
mod error;
mod follow;
mod page;
mod phantoms;
mod picture;
pub mod subscriber;
mod table;
mod unit;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::{fs, thread};

use shared::bundle::{Bundle, Trust};
use shared::topic::Channel;
use tokio::sync::mpsc;
use tokio::task::block_in_place;
use tokio_util::sync::CancellationToken;

use crate::config::{
    AgentConfig, LimitsConfig, LogConfig, LogFormat, LogLevel, MqttConfig, OnTaken, StoreConfig, WatchConfig,
};
use crate::exit_code::Exit;
use crate::pipeline::Pipeline;
use crate::{inputs, telemetry};
use broker::EmbeddedBroker;
use follow::Outcome;
use subscriber::Subscriber;
use unit::Exposure;

pub use error::DemoError;

/// Largest MQTT packet of the demo's broker.
const MAX_PACKET_BYTES: u32 = 1 << 20;
/// Radiographs on their way from unit to folder.
const IN_HAND: usize = 4;

/// What to show.
#[derive(Clone, Debug)]
pub struct DemoOptions {
    /// Folder for pictures and `index.html`; created if absent.
    pub out: PathBuf,
    /// Files and folders to send; phantoms if empty.
    pub paths: Vec<PathBuf>,
    /// Folder of the model bundle.
    pub bundle: PathBuf,
    /// Whose bundles are taken.
    pub trust: Trust,
}

/// Sends radiographs through everything and reports what came of each.
///
/// Ends with [`Exit::Ok`] when every radiograph has a result or, being none, a reason; with
/// [`Exit::SomeInputFailed`] when some result never came or there is none at all.
///
/// Needs tokio's multi-threaded runtime, since it blocks now and then.
///
/// # Errors
/// If bundle, folder, broker or agent cannot be used.
pub async fn run(options: DemoOptions) -> Result<Exit, DemoError> {
    telemetry::init(LogConfig { format: LogFormat::Text, level: LogLevel::Error });
    let exposures = exposures(&options.paths)?;
    let bundle = Bundle::open_trusted(&options.bundle, &options.trust).map_err(DemoError::Bundle)?;
    fs::create_dir_all(&options.out)
        .map_err(|source| DemoError::Out { path: options.out.clone(), source })?;
    let scratch = tempfile::Builder::new().prefix("chexseg-demo-").tempdir().map_err(DemoError::Scratch)?;
    let inbox = scratch.path().join("inbox");
    fs::create_dir(&inbox).map_err(DemoError::Scratch)?;

    let manifest = bundle.manifest();
    println!("model    {} {} ({})", manifest.name, manifest.version, &bundle.model_sha256()[..12]);
    if let Some(signature) = bundle.signature() {
        println!("         {signature}");
    }
    let broker = block_in_place(|| EmbeddedBroker::start(MAX_PACKET_BYTES as usize));
    let broker = broker.map_err(DemoError::Broker)?;
    println!("broker   listens on {}", broker.address());
    let filters = [Channel::Result.everywhere()];
    let subscriber =
        Subscriber::connect(broker.address(), "demo-central", &filters).await.map_err(DemoError::Broker)?;
    println!("central  listens to {}", filters[0]);
    let shutdown = CancellationToken::new();
    let config = agent_config(&options, scratch.path(), &inbox, broker);
    let pipeline = Pipeline::start(config, shutdown.clone()).await?;
    println!("agent    watches its folder\n");

    let (sender, sent) = mpsc::channel(IN_HAND);
    let folder = inbox.clone();
    let unit = thread::Builder::new()
        .name("x-ray unit".into())
        .spawn(move || unit::expose(exposures, &folder, &sender))
        .map_err(DemoError::Scratch)?;
    let studio = picture::Studio { out: options.out.clone(), classes: manifest.classes.clone() };
    let entries = follow::follow(pipeline.store(), subscriber, sent, &studio).await?;
    if unit.join().is_err() {
        return Err(DemoError::Unit);
    }
    shutdown.cancel();
    pipeline.join().await?;

    let page = page::write(&options.out, manifest, &entries)?;
    let count = |wanted: fn(&Outcome) -> bool| entries.iter().filter(|e| wanted(&e.outcome)).count();
    let (results, missing) = (count(Outcome::is_result), count(Outcome::is_missing));
    println!("{}", table::summary(&entries));
    println!("see {}", page.display());
    Ok(if missing > 0 || results == 0 { Exit::SomeInputFailed } else { Exit::Ok })
}

fn exposures(paths: &[PathBuf]) -> Result<Vec<Exposure>, DemoError> {
    if paths.is_empty() {
        return Ok(phantoms::CASES.iter().map(Exposure::Phantom).collect());
    }
    let files: Vec<PathBuf> = inputs::collect(paths).into_iter().collect::<Result<_, _>>()?;
    if files.is_empty() {
        return Err(DemoError::NothingToSend);
    }
    Ok(files.into_iter().map(Exposure::File).collect())
}

fn agent_config(options: &DemoOptions, scratch: &Path, inbox: &Path, broker: EmbeddedBroker) -> AgentConfig {
    let address = broker.address();
    let mut mqtt = MqttConfig::plain(address.ip().to_string(), address.port());
    mqtt.max_packet_bytes = MAX_PACKET_BYTES;
    AgentConfig {
        source: None,
        site: "demo".parse().expect("lower-case letters"),
        device: "cart-1".parse().expect("lower-case letters, a digit and '-'"),
        bundle: options.bundle.clone(),
        trusted_keys: options.trust.keys.clone(),
        allow_unsigned: options.trust.allow_unsigned,
        state_dir: scratch.join("state"),
        threads: 1,
        mqtt,
        watch_folder: Some(WatchConfig {
            path: inbox.to_owned(),
            settle_ms: 100,
            recursive: false,
            on_taken: OnTaken::Leave,
        }),
        dicom: None,
        store: StoreConfig::default(),
        http: None,
        limits: LimitsConfig::default(),
        log: LogConfig::default(),
    }
}
