use std::path::PathBuf;

use serde::Deserialize;

use super::{ValueError, range};

/// The broker and how to speak to it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MqttConfig {
    /// Host name or address.
    pub host: String,
    /// TCP port. Default 1883, or 8883 where `[mqtt.tls]` stands: set it there.
    #[serde(default = "default_port")]
    pub port: u16,
    /// Encryption and the device's certificate. Default: none, for a broker on the same box or a closed net.
    #[serde(default)]
    pub tls: Option<TlsConfig>,
    /// User name. Default: none.
    #[serde(default)]
    pub username: Option<String>,
    /// File whose first line is the password; goes with `username`. Default: none.
    #[serde(default)]
    pub password_file: Option<PathBuf>,
    /// Seconds of silence before a ping, 5 to 3600. Default 30.
    #[serde(default = "default_keep_alive")]
    pub keep_alive_s: u16,
    /// Whether a result is kept until central acknowledges it on `ack`, beyond the broker's PUBACK. Default
    /// false.
    #[serde(default)]
    pub require_ack: bool,
    /// Largest packet to send or to take, 16 KiB to 256 MiB. Default 128 KiB, the least among common brokers.
    #[serde(default = "default_max_packet")]
    pub max_packet_bytes: u32,
    /// Seconds until an attempt to connect is given up, 1 to 120. Default 10.
    #[serde(default = "default_connect_timeout")]
    pub connect_timeout_s: u16,
    /// Longest pause between two attempts to connect in seconds, 1 to 3600. Default 60.
    #[serde(default = "default_max_backoff")]
    pub max_backoff_s: u16,
}

/// Files for TLS, all PEM.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// Certificates that may sign the broker's.
    pub ca: PathBuf,
    /// The device's certificate; goes with `key`. Default: none.
    #[serde(default)]
    pub cert: Option<PathBuf>,
    /// The device's private key. Default: none.
    #[serde(default)]
    pub key: Option<PathBuf>,
}

impl MqttConfig {
    /// A broker without encryption, everything else at its default.
    pub fn plain(host: impl Into<String>, port: u16) -> Self {
        Self {
            host: host.into(),
            port,
            tls: None,
            username: None,
            password_file: None,
            keep_alive_s: default_keep_alive(),
            require_ack: false,
            max_packet_bytes: default_max_packet(),
            connect_timeout_s: default_connect_timeout(),
            max_backoff_s: default_max_backoff(),
        }
    }

    pub(crate) fn validate(&self) -> Result<(), ValueError> {
        let problem = |key, found: &str, remedy: &str| {
            Err(ValueError { key, found: found.to_owned(), remedy: remedy.to_owned() })
        };
        if self.host.is_empty() || self.host.contains(['/', ' ']) {
            return problem("mqtt.host", &format!("'{}'", self.host), "give a host name or address, no URL");
        }
        range("mqtt.port", u64::from(self.port), 1, 65_535)?;
        range("mqtt.keep_alive_s", u64::from(self.keep_alive_s), 5, 3600)?;
        range("mqtt.max_packet_bytes", u64::from(self.max_packet_bytes), 16 << 10, 256 << 20)?;
        range("mqtt.connect_timeout_s", u64::from(self.connect_timeout_s), 1, 120)?;
        range("mqtt.max_backoff_s", u64::from(self.max_backoff_s), 1, 3600)?;
        match (&self.username, &self.password_file) {
            (Some(_), None) => {
                return problem("mqtt.password_file", "absent", "give it beside `mqtt.username`");
            }
            (None, Some(_)) => {
                return problem("mqtt.username", "absent", "give it beside `mqtt.password_file`");
            }
            _ => {}
        }
        match self.tls.as_ref().map(|tls| (&tls.cert, &tls.key)) {
            Some((Some(_), None)) => problem("mqtt.tls.key", "absent", "give it beside `mqtt.tls.cert`"),
            Some((None, Some(_))) => problem("mqtt.tls.cert", "absent", "give it beside `mqtt.tls.key`"),
            _ => Ok(()),
        }
    }

    pub(crate) fn paths(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        let tls = self.tls.iter_mut().flat_map(|t| [Some(&mut t.ca), t.cert.as_mut(), t.key.as_mut()]);
        self.password_file.iter_mut().chain(tls.flatten())
    }
}

fn default_port() -> u16 {
    1883
}

fn default_keep_alive() -> u16 {
    30
}

fn default_max_packet() -> u32 {
    128 << 10
}

fn default_connect_timeout() -> u16 {
    10
}

fn default_max_backoff() -> u16 {
    60
}
