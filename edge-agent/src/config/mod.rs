//! The agent's configuration: one TOML file, every key typed, unknown keys refused.
//!
//! Paths may be relative to the folder of the file. Every default stands at its field; a file needs `site`,
//! `device`, `bundle`, `state_dir` and `[mqtt] host`.
//!
//! ```toml
//! site = "north-clinic"
//! device = "cart-3"
//! bundle = "models/chexseg-edge"
//! state_dir = "/var/lib/chexseg"
//!
//! [mqtt]
//! host = "broker.north-clinic.example"
//!
//! [watch_folder]
//! path = "/srv/radiographs"
//! ```

mod ae_title;
mod changes;
mod dicom;
mod http;
mod limits;
mod log;
mod mqtt;
mod store;
mod watch_folder;

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use shared::bundle::{PublicKey, Trust};
use shared::topic::{DeviceId, Slug};

pub use ae_title::{AeTitle, AeTitleError};
pub use changes::Changes;
pub use dicom::{DicomConfig, DicomTlsConfig, StorageCommitment};
pub use http::HttpConfig;
pub use limits::LimitsConfig;
pub use log::{LogConfig, LogFormat, LogLevel};
pub use mqtt::{MqttConfig, TlsConfig};
pub use store::StoreConfig;
pub use watch_folder::{OnTaken, WatchConfig};

use crate::exit_code::{Exit, ExitStatus};

/// Everything that differs between two devices.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentConfig {
    /// The file that it came from, if any.
    #[serde(skip)]
    pub source: Option<PathBuf>,
    /// The hospital or clinic: second part of every topic.
    pub site: Slug,
    /// The box, unique within its site: third part of every topic.
    pub device: Slug,
    /// Folder of the model bundle.
    pub bundle: PathBuf,
    /// Public keys of those whose bundles are run, as minisign writes them. Default: this project's.
    #[serde(default = "project_key")]
    pub trusted_keys: Vec<PublicKey>,
    /// Whether a bundle without a signature of such a key is run all the same. Default: false. Logs and `birth`
    /// tell of it.
    #[serde(default)]
    pub allow_unsigned: bool,
    /// Folder of the store; created if absent. Nothing else may write there.
    pub state_dir: PathBuf,
    /// Threads of the inference engine, 1 to 64. Default 1: the box has other work too.
    #[serde(default = "one")]
    pub threads: usize,
    /// The broker.
    pub mqtt: MqttConfig,
    /// A folder whose radiographs are taken. Default: none.
    #[serde(default)]
    pub watch_folder: Option<WatchConfig>,
    /// The Storage SCP to which units send. Default: none.
    #[serde(default)]
    pub dicom: Option<DicomConfig>,
    /// Space on the disk.
    #[serde(default)]
    pub store: StoreConfig,
    /// A listener for monitoring. Default: none.
    #[serde(default)]
    pub http: Option<HttpConfig>,
    /// Bounds on what is decoded.
    #[serde(default)]
    pub limits: LimitsConfig,
    /// Log output.
    #[serde(default)]
    pub log: LogConfig,
}

/// Why a configuration was refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("failed to read configuration {}: {source}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// Not TOML, an unknown key, a missing key or a value of the wrong type.
    #[error("configuration {}: {source}", .path.display())]
    Toml {
        /// The file.
        path: PathBuf,
        /// The cause, with line and column.
        source: Box<toml::de::Error>,
    },
    /// A value out of its range.
    #[error("configuration {}: {source}", .path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: ValueError,
    },
}

/// A key whose value cannot work.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{key}` is {found}: {remedy}")]
pub struct ValueError {
    /// Path of the key.
    pub key: &'static str,
    /// What stands there.
    pub found: String,
    /// What should.
    pub remedy: String,
}

impl ExitStatus for ConfigError {
    fn exit(&self) -> Exit {
        Exit::Config
    }
}

impl AgentConfig {
    /// Reads and validates a file; relative paths in it become relative to its folder.
    ///
    /// # Errors
    /// [`ConfigError`] names the file, the key and the remedy.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text =
            fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        let mut config: Self = toml::from_str(&text)
            .map_err(|source| ConfigError::Toml { path: path.to_owned(), source: Box::new(source) })?;
        config.source = Some(path.to_owned());
        config.anchor(path.parent().unwrap_or(Path::new("")));
        config.validate().map_err(|source| ConfigError::Value { path: path.to_owned(), source })?;
        Ok(config)
    }

    /// Checks the ranges that the types do not.
    ///
    /// # Errors
    /// The first key that cannot work.
    pub fn validate(&self) -> Result<(), ValueError> {
        range("threads", self.threads as u64, 1, 64)?;
        if self.trusted_keys.is_empty() && !self.allow_unsigned {
            return Err(ValueError {
                key: "trusted_keys",
                found: "empty".into(),
                remedy: "name the public key of whoever signs your bundles, or set `allow_unsigned`".into(),
            });
        }
        self.mqtt.validate()?;
        self.limits.validate()?;
        self.store.validate()?;
        if let Some(dicom) = &self.dicom {
            dicom.validate()?;
        }
        if let Some(watch) = &self.watch_folder {
            watch.validate()?;
            if watch.path.starts_with(&self.state_dir) || self.state_dir.starts_with(&watch.path) {
                return Err(ValueError {
                    key: "watch_folder.path",
                    found: format!("{}", watch.path.display()),
                    remedy:
                        "choose a folder neither inside `state_dir` nor around it, or the agent would take \
                             its own files"
                            .into(),
                });
            }
        }
        Ok(())
    }

    /// Whose bundles are run.
    pub fn trust(&self) -> Trust {
        Trust { keys: self.trusted_keys.clone(), allow_unsigned: self.allow_unsigned }
    }

    /// The device in the topic tree.
    pub fn device_id(&self) -> DeviceId {
        DeviceId { site: self.site.clone(), device: self.device.clone() }
    }

    fn anchor(&mut self, folder: &Path) {
        // `join` leaves absolute paths alone.
        let anchor = |path: &mut PathBuf| *path = folder.join(&*path);
        anchor(&mut self.bundle);
        anchor(&mut self.state_dir);
        self.mqtt.paths().for_each(anchor);
        if let Some(watch) = &mut self.watch_folder {
            watch.paths().for_each(anchor);
        }
        if let Some(dicom) = &mut self.dicom {
            dicom.paths().for_each(anchor);
        }
    }
}

fn one() -> usize {
    1
}

fn project_key() -> Vec<PublicKey> {
    vec![PublicKey::project()]
}

/// Checks an inclusive range.
pub(crate) fn range(key: &'static str, value: u64, least: u64, most: u64) -> Result<(), ValueError> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(ValueError { key, found: value.to_string(), remedy: format!("set it from {least} to {most}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: &str = "site = 'north'\ndevice = 'cart-3'\nbundle = 'model'\nstate_dir = '/state'\n";

    fn load(text: &str) -> Result<AgentConfig, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agent.toml");
        fs::write(&path, text).unwrap();
        AgentConfig::load(&path).map_err(|e| e.to_string())
    }

    fn with(more: &str) -> Result<AgentConfig, String> {
        load(&format!("{LEAST}[mqtt]\nhost = 'broker'\n{more}"))
    }

    #[test]
    fn the_least_file_gets_every_default() {
        let config = with("").unwrap();
        assert_eq!(config.threads, 1);
        assert_eq!(config.trust(), Trust::project());
        assert_eq!((config.mqtt.port, config.mqtt.keep_alive_s, config.mqtt.require_ack), (1883, 30, false));
        assert_eq!(config.limits, LimitsConfig::default());
        assert_eq!(config.log, LogConfig::default());
        assert!(config.watch_folder.is_none() && config.mqtt.tls.is_none());
    }

    #[test]
    fn relative_paths_start_at_the_files_folder() {
        let config = with("[watch_folder]\npath = 'in'\non_taken = { move = 'done' }\n").unwrap();
        assert!(config.bundle.is_absolute() && config.bundle.ends_with("model"));
        assert_eq!(config.state_dir, Path::new("/state"));
        let watch = config.watch_folder.unwrap();
        assert!(watch.path.is_absolute());
        assert!(matches!(watch.on_taken, OnTaken::Move(dir) if dir.is_absolute() && dir.ends_with("done")));
    }

    #[test]
    fn trusted_keys_replace_the_projects() {
        let key = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
        let load = |keys: &str| {
            load(&format!("trusted_keys = [{keys}]\nallow_unsigned = true\n{LEAST}[mqtt]\nhost = 'b'\n"))
        };
        let trust = load(&format!("'{key}'")).unwrap().trust();
        assert_eq!(trust, Trust { keys: vec![key.parse().unwrap()], allow_unsigned: true });
        assert!(load("").unwrap().trust().keys.is_empty());
        let error = load(&format!("'{}'", &key[..40])).unwrap_err();
        assert!(error.contains("no minisign public key") && error.contains("line 1"), "{error}");
    }

    #[test]
    fn a_monitoring_address_is_an_address_and_a_port() {
        assert_eq!(with("[http]\nlisten = '127.0.0.1:9464'\n").unwrap().http.unwrap().listen.port(), 9464);
        for bad in ["localhost", "127.0.0.1", ":9464"] {
            let error = with(&format!("[http]\nlisten = '{bad}'\n")).unwrap_err();
            assert!(error.contains("listen") && error.contains("line"), "{error}");
        }
    }

    #[test]
    fn a_change_says_whether_it_needs_a_restart() {
        let old = with("").unwrap();
        assert_eq!(old.changes(&old), Changes::default());
        let new = with("port = 1884\n[log]\nlevel = 'debug'\nformat = 'json'\n").unwrap();
        // The bundle's path begins with the temporary folder of each.
        let new = AgentConfig { bundle: old.bundle.clone(), threads: 2, ..new };
        let changes = old.changes(&new);
        assert!(changes.log_level);
        assert_eq!(changes.needs_restart, ["threads", "mqtt", "log.format"]);
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line() {
        for (text, key) in [
            (format!("{LEAST}sight = 'x'\n[mqtt]\nhost = 'b'\n"), "sight"),
            (format!("{LEAST}[mqtt]\nhost = 'b'\nprot = 1\n"), "prot"),
            (format!("{LEAST}[mqtt]\nhost = 'b'\n[limits]\nmax_rows = 1\n"), "max_rows"),
        ] {
            let error = load(&text).unwrap_err();
            assert!(error.contains(&format!("unknown field `{key}`")), "{error}");
            assert!(error.contains("agent.toml") && error.contains("line"), "{error}");
        }
    }

    #[test]
    fn a_missing_key_is_named() {
        let error = load("site = 'a'\n").unwrap_err();
        assert!(error.contains("missing field `device`"), "{error}");
    }

    #[test]
    fn a_name_that_is_no_topic_part_is_refused() {
        let error = load(&LEAST.replace("cart-3", "Cart 3")).unwrap_err();
        assert!(error.contains("Cart 3") && error.contains("a-z"), "{error}");
    }

    #[test]
    fn values_out_of_range_name_key_and_remedy() {
        let error = load(&format!("threads = 0\n{LEAST}[mqtt]\nhost = 'b'\n")).unwrap_err();
        assert!(error.contains("`threads` is 0: set it from 1 to 64"), "{error}");
        let error = load(&format!("trusted_keys = []\n{LEAST}[mqtt]\nhost = 'b'\n")).unwrap_err();
        assert!(error.contains("`trusted_keys` is empty") && error.contains("`allow_unsigned`"), "{error}");
        for (text, key) in [
            ("port = 0\n", "mqtt.port"),
            ("keep_alive_s = 2\n", "mqtt.keep_alive_s"),
            ("max_packet_bytes = 100\n", "mqtt.max_packet_bytes"),
            ("username = 'x'\n", "mqtt.password_file"),
            ("[watch_folder]\npath = '/in'\nsettle_ms = 1\n", "watch_folder.settle_ms"),
            ("[watch_folder]\npath = '/state/in'\n", "watch_folder.path"),
            ("[watch_folder]\npath = '/in'\non_taken = { move = '/in/done' }\n", "watch_folder.on_taken"),
            ("[limits]\nmax_side = 0\n", "limits.max_side"),
        ] {
            let error = with(text).unwrap_err();
            assert!(error.contains(&format!("`{key}`")), "{key}: {error}");
        }
    }

    #[test]
    fn a_file_that_is_absent_is_named() {
        let error = AgentConfig::load(Path::new("/nowhere/agent.toml")).unwrap_err();
        assert!(error.to_string().contains("/nowhere/agent.toml"));
        assert_eq!(error.exit(), Exit::Config);
    }
}
