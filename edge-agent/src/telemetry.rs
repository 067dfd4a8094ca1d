//! Logs, on stderr.
//!
//! What may stand in a log line: image, result and file ids (digests), states, durations, errors that hold no
//! content of a file. Never: paths of a watched folder, header fields of an image, payloads of messages.
//!
//! Under systemd a line begins with its priority (`<6>`, sd-daemon(3)) and has neither time nor colour: the journal
//! keeps the time itself.

use std::fmt;
use std::io::IsTerminal;
use std::sync::OnceLock;

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{self as layer, FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::prelude::*;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{EnvFilter, Registry, reload};

use crate::config::{LogConfig, LogFormat, LogLevel};

/// Libraries that talk much below warnings; the demo's broker even calls a client that left an error.
const QUIET: &str = "rumqttc=warn,tract=warn,rustls=warn,jpeg2k=warn,rumqttd=off";

/// Libraries that quote header fields of images: whatever is asked for, they say nothing.
const MUTE: &str = "dicom";

/// The filter in force; absent where `RUST_LOG` has the say.
static FILTER: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();

/// Starts logging for the whole process. `RUST_LOG` wins over the configured level. Where logging was started
/// before, nothing changes.
pub fn init(config: LogConfig) {
    let asked = EnvFilter::try_from_default_env();
    let fixed = asked.is_ok();
    let (filter, handle) = reload::Layer::new(asked.unwrap_or_else(|_| filter(config.level)));
    let may_speak = filter_fn(|metadata| !metadata.target().starts_with(MUTE));
    let registry = tracing_subscriber::registry().with(filter);
    let journal = stderr_is_journal();
    let colored = !journal && std::io::stderr().is_terminal();
    let lines = || layer::layer().with_writer(std::io::stderr).with_target(false).with_ansi(colored);
    let plain = layer::format().with_target(false).with_ansi(colored);
    // An error means that another subscriber is there already.
    let started = match (config.format, journal) {
        (LogFormat::Text, false) => registry.with(lines().with_filter(may_speak)).try_init(),
        (LogFormat::Json, false) => {
            registry.with(lines().json().flatten_event(true).with_filter(may_speak)).try_init()
        }
        (LogFormat::Text, true) => {
            let format = Prioritized(plain.without_time());
            registry.with(lines().event_format(format).with_filter(may_speak)).try_init()
        }
        (LogFormat::Json, true) => {
            let format = Prioritized(plain.without_time().json().flatten_event(true));
            registry.with(lines().json().event_format(format).with_filter(may_speak)).try_init()
        }
    };
    if started.is_ok() && !fixed {
        // Only the first subscriber gets here, so nothing is there yet.
        let _ = FILTER.set(handle);
    }
}

/// Changes the level of a running program. Returns whether it did: not where `RUST_LOG` has the say.
pub fn set_level(level: LogLevel) -> bool {
    FILTER.get().is_some_and(|handle| handle.reload(filter(level)).is_ok())
}

fn filter(level: LogLevel) -> EnvFilter {
    EnvFilter::new(format!("{level},{QUIET}"))
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

/// Whether the journal reads our stderr: systemd names the pipe's device and inode (systemd.exec(5)).
fn stderr_is_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return false };
    rustix::fs::fstat(std::io::stderr())
        .is_ok_and(|stat| stream == format!("{}:{}", stat.st_dev, stat.st_ino))
}

/// Puts the priority before an event.
struct Prioritized<F>(F);

impl<S, N, F> FormatEvent<S, N> for Prioritized<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        write!(writer, "<{}>", priority(*event.metadata().level()))?;
        self.0.format_event(context, writer, event)
    }
}

/// As syslog(3) counts.
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_level_is_ours_and_libraries_stay_quiet() {
        let filter = filter(LogLevel::Debug).to_string();
        assert!(filter.contains("debug") && filter.contains("rumqttc=warn"), "{filter}");
    }

    #[test]
    fn graver_is_less_as_in_syslog() {
        let priorities = [Level::ERROR, Level::WARN, Level::INFO, Level::DEBUG, Level::TRACE].map(priority);
        assert_eq!(priorities, [3, 4, 6, 7, 7]);
    }
}
