//! The configuration: one TOML file, every key typed, unknown keys refused; paths may be relative to the folder of
//! the file. A file needs `instance`, `[mqtt] host` and `[database] url`.

mod pacs;

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use shared::topic::Slug;

use crate::config::{ConfigError, LogConfig, MqttConfig, TlsConfig, ValueError, range};

pub use pacs::{PacsConfig, PacsNode, PacsTarget};

/// Everything that differs between two central servers.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CentralConfig {
    /// This instance's name: its session at the broker hangs on it, so no two instances may share one.
    pub instance: Slug,
    /// The broker; keys as the agent's. `max_packet_bytes` must be at least that of any device.
    pub mqtt: MqttConfig,
    /// How results are subscribed to.
    #[serde(default)]
    pub subscription: SubscriptionConfig,
    /// Where results are kept.
    pub database: DatabaseConfig,
    /// Where results are handed on to. Default: nowhere.
    #[serde(default)]
    pub pacs: Option<PacsConfig>,
    /// Log output.
    #[serde(default)]
    pub log: LogConfig,
}

/// How results are subscribed to.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SubscriptionConfig {
    /// Instances of one group share the results among them. Default `central`.
    pub group: Slug,
    /// Seconds for which the broker keeps what comes while this instance is away, 60 to 4 294 967 294. Default one
    /// week. What it drops then, devices with `require_ack` send again.
    pub session_expiry_s: u32,
}

/// Where results are kept.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatabaseConfig {
    /// `sqlite:FILE`, or `postgresql://USER@HOST/NAME`, which several instances may share.
    pub url: String,
    /// File whose first line is PostgreSQL's password. Default: none, or the one in `url`.
    #[serde(default)]
    pub password_file: Option<PathBuf>,
    /// Certificates for PostgreSQL; where it stands, TLS is required. Default: none.
    #[serde(default)]
    pub tls: Option<TlsConfig>,
    /// Most messages that are set aside, 1 to 1 000 000; older ones go. Default 1000.
    #[serde(default = "default_set_aside")]
    pub max_set_aside: u32,
}

/// What `database.url` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DatabaseUrl {
    /// A file.
    Sqlite(PathBuf),
    /// A server.
    Postgres(String),
}

impl CentralConfig {
    /// Reads and validates a file; relative paths in it become relative to its folder.
    ///
    /// # Errors
    /// [`ConfigError`] names the file, the key and the remedy.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text =
            fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        let mut config: Self = toml::from_str(&text)
            .map_err(|source| ConfigError::Toml { path: path.to_owned(), source: Box::new(source) })?;
        config.anchor(path.parent().unwrap_or(Path::new("")));
        config.validate().map_err(|source| ConfigError::Value { path: path.to_owned(), source })?;
        Ok(config)
    }

    /// Its name as an MQTT client.
    pub fn client_id(&self) -> String {
        format!("cxr-central-{}", self.instance)
    }

    fn validate(&self) -> Result<(), ValueError> {
        self.mqtt.validate()?;
        if self.mqtt.require_ack {
            return Err(problem("mqtt.require_ack", "true", "remove it: it is central that acknowledges"));
        }
        let expiry = self.subscription.session_expiry_s;
        range("subscription.session_expiry_s", u64::from(expiry), 60, u64::from(u32::MAX) - 1)?;
        self.database.validate()?;
        self.pacs.as_ref().map_or(Ok(()), PacsConfig::validate)
    }

    fn anchor(&mut self, folder: &Path) {
        let anchor = |path: &mut PathBuf| *path = folder.join(&*path);
        self.mqtt.paths().for_each(anchor);
        self.database.paths().for_each(anchor);
        self.pacs.iter_mut().flat_map(PacsConfig::paths).for_each(anchor);
        if let Some(file) = self.database.url.strip_prefix(SQLITE).filter(|file| !file.is_empty()) {
            self.database.url = format!("{SQLITE}{}", folder.join(file).display());
        }
    }
}

const SQLITE: &str = "sqlite:";

impl DatabaseConfig {
    /// Which of the two it is.
    ///
    /// # Errors
    /// If it is neither.
    pub fn target(&self) -> Result<DatabaseUrl, ValueError> {
        match self.url.strip_prefix(SQLITE) {
            Some(file) if !file.is_empty() => Ok(DatabaseUrl::Sqlite(file.into())),
            None if self.url.starts_with("postgresql://") || self.url.starts_with("postgres://") => {
                Ok(DatabaseUrl::Postgres(self.url.clone()))
            }
            // The URL itself may hold a password.
            _ => Err(problem(
                "database.url",
                "of another kind",
                "write sqlite:FILE or postgresql://USER@HOST/NAME",
            )),
        }
    }

    fn validate(&self) -> Result<(), ValueError> {
        let target = self.target()?;
        range("database.max_set_aside", u64::from(self.max_set_aside), 1, 1_000_000)?;
        let file = matches!(target, DatabaseUrl::Sqlite(_));
        if file && (self.password_file.is_some() || self.tls.is_some()) {
            return Err(problem(
                "database.url",
                "a file",
                "remove `password_file` and `[database.tls]`, which are for PostgreSQL",
            ));
        }
        pair(self.tls.as_ref(), "database.tls.cert", "database.tls.key")
    }

    fn paths(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        self.password_file.iter_mut().chain(self.tls.iter_mut().flat_map(files))
    }
}

impl Default for SubscriptionConfig {
    fn default() -> Self {
        Self { group: "central".parse().expect("a valid name"), session_expiry_s: 7 * 24 * 3600 }
    }
}

/// A certificate needs its key, and a key its certificate.
fn pair(tls: Option<&TlsConfig>, cert: &'static str, key: &'static str) -> Result<(), ValueError> {
    match tls.map(|tls| (&tls.cert, &tls.key)) {
        Some((Some(_), None)) => Err(problem(key, "absent", &format!("give it beside `{cert}`"))),
        Some((None, Some(_))) => Err(problem(cert, "absent", &format!("give it beside `{key}`"))),
        _ => Ok(()),
    }
}

fn files(tls: &mut TlsConfig) -> impl Iterator<Item = &mut PathBuf> {
    std::iter::once(&mut tls.ca).chain(tls.cert.as_mut()).chain(tls.key.as_mut())
}

fn problem(key: &'static str, found: &str, remedy: &str) -> ValueError {
    ValueError { key, found: found.to_owned(), remedy: remedy.to_owned() }
}

fn default_set_aside() -> u32 {
    1000
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: &str = "instance = 'one'\n[mqtt]\nhost = 'broker'\n[database]\nurl = 'sqlite:central.db'\n";

    fn load(text: &str) -> Result<CentralConfig, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("central.toml");
        fs::write(&path, text).unwrap();
        CentralConfig::load(&path).map_err(|e| e.to_string())
    }

    #[test]
    fn the_least_file_gets_every_default_and_its_paths_start_at_its_folder() {
        let config = load(LEAST).unwrap();
        assert_eq!(config.subscription.group.as_str(), "central");
        assert_eq!(config.client_id(), "cxr-central-one");
        assert!(config.pacs.is_none());
        let DatabaseUrl::Sqlite(path) = config.database.target().unwrap() else { panic!("a file") };
        assert!(path.is_absolute() && path.ends_with("central.db"));
    }

    #[test]
    fn the_shipped_example_is_valid() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/central.example.toml");
        let config = CentralConfig::load(&path).unwrap();
        let least = load(&format!("{LEAST}[pacs]\nhost = 'h'\ncalled_ae_title = 'X'\n")).unwrap();
        assert_eq!(config.subscription, least.subscription);
        let (shown, pacs) = (config.pacs.unwrap(), least.pacs.unwrap());
        assert_eq!(
            shown,
            PacsConfig {
                host: shown.host.clone(),
                called_ae_title: shown.called_ae_title.clone(),
                // They are what they are without them.
                port: Some(104),
                calling_ae_title: Some("CHEXSEG".parse().unwrap()),
                ..pacs
            }
        );
    }

    #[test]
    fn what_cannot_work_is_named_with_its_remedy() {
        for (text, says) in [
            (format!("{LEAST}colour = 1\n"), "unknown field `colour`"),
            (LEAST.replace("sqlite:central.db", "mysql://user:secret@host/db"), "`database.url`"),
            (LEAST.replace("'one'", "'One'"), "a-z"),
            (LEAST.replace("host = 'broker'", "host = 'broker'\nrequire_ack = true"), "`mqtt.require_ack`"),
            (format!("{LEAST}[subscription]\nsession_expiry_s = 1\n"), "`subscription.session_expiry_s`"),
            (format!("{LEAST}[pacs]\nhost = 'h'\ncalled_ae_title = 'A TITLE TOO LONG!'\n"), "1 to 16"),
            (
                format!(
                    "{LEAST}[pacs]\nhost = 'h'\ncalled_ae_title = 'A'\nsegmentation = false\nsecondary_capture = false\n"
                ),
                "at least one kind",
            ),
            (
                format!("{LEAST}[pacs]\nurl = 'http://h'\nusername = 'a:b'\npassword_file = 'p'\n"),
                "with a colon",
            ),
            (format!("{LEAST}[pacs]\nurl = 'http://h'\ntoken_file = 't'\n"), "write https"),
            (format!("{LEAST}password_file = 'x'\n"), "for PostgreSQL"),
            (
                format!(
                    "{LEAST}[pacs]\nhost = 'h'\ncalled_ae_title = 'A'\n[pacs.tls]\nca = 'a'\ncert = 'c'\n"
                ),
                "`pacs.tls.key`",
            ),
            (format!("{LEAST}[pacs]\nhost = 'h'\n"), "`pacs.called_ae_title`"),
            (format!("{LEAST}[pacs]\nsegmentation = true\n"), "`url` for STOW-RS"),
            (format!("{LEAST}[pacs]\nhost = 'h'\nurl = 'http://h'\n"), "beside `pacs.host`"),
            (
                format!("{LEAST}[pacs]\nhost = 'h'\ncalled_ae_title = 'A'\ntoken_file = 't'\n"),
                "`pacs.token_file`",
            ),
            (format!("{LEAST}[pacs]\nurl = 'http://h'\nport = 104\n"), "`pacs.port`"),
            (format!("{LEAST}[pacs]\nurl = 'https://h/dicom-web'\n"), "`[pacs.tls]`"),
            (format!("{LEAST}[pacs]\nurl = 'http://me:secret@h'\n"), "`pacs.username`"),
            (format!("{LEAST}[pacs]\nurl = 'dicom.example'\n"), "https://HOST/PATH"),
            (format!("{LEAST}[pacs]\nurl = 'ftp://h'\n"), "https://HOST/PATH"),
            (format!("{LEAST}[pacs]\nurl = 'http://h/studies?limit=1'\n"), "with a query"),
            (format!("{LEAST}[pacs]\nurl = 'http://h'\nusername = 'me'\n"), "`pacs.password_file`"),
            (
                format!(
                    "{LEAST}[pacs]\nurl = 'http://h'\nusername = 'me'\npassword_file = 'p'\ntoken_file = 't'\n"
                ),
                "not both",
            ),
        ] {
            let error = load(&text).unwrap_err();
            assert!(error.contains(says), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
