//! Logs, on stderr.
//!
//! What may stand in a log line: image, result and file ids (digests), states, durations, errors that hold no
//! content of a file. Never: paths of a watched folder, header fields of an image, payloads of messages.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;
use tracing_subscriber::prelude::*;

use crate::config::{LogConfig, LogFormat};

/// Libraries that talk much below warnings; the demo's broker even calls a client that left an error.
const QUIET: &str = "rumqttc=warn,tract=warn,rustls=warn,rumqttd=off";

/// Starts logging for the whole process. `RUST_LOG` wins over the configured level. Where logging was started
/// before, nothing changes.
pub fn init(config: LogConfig) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| filter(config));
    let registry = tracing_subscriber::registry().with(filter);
    let colored = std::io::stderr().is_terminal();
    let lines = fmt::layer().with_writer(std::io::stderr).with_target(false).with_ansi(colored);
    // An error means that another subscriber is there already.
    let _ = match config.format {
        LogFormat::Text => registry.with(lines).try_init(),
        LogFormat::Json => registry.with(lines.json().flatten_event(true)).try_init(),
    };
}

fn filter(config: LogConfig) -> EnvFilter {
    EnvFilter::new(format!("{},{QUIET}", config.level))
}

/// Makes a panic a log line like any other, with its place and without its message: that may quote an image.
/// Panics of decoders stay errors about their input.
pub fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "a panic was caught");
    }));
    crate::decode::silence_decoder_panics();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::LogLevel;

    #[test]
    fn the_level_is_ours_and_libraries_stay_quiet() {
        let filter = filter(LogConfig { level: LogLevel::Debug, format: LogFormat::Text }).to_string();
        assert!(filter.contains("debug") && filter.contains("rumqttc=warn"), "{filter}");
    }
}
