//! What central may ask of the device: `ping`, `queue`, `retry`, `reload-config`.
//!
//! Every command can be done twice without harm, since QoS 1 may bring it twice. None is remembered.

use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use shared::message::{Command, CommandErrorCode, Message, Outcome, Response, SCHEMA, Verb};
use shared::topic::Slug;
use tokio::sync::Notify;

use crate::config::AgentConfig;
use crate::health::Vitals;
use crate::store::{Census, Store, StoreError};
use crate::telemetry;

/// Largest request, in bytes; a request is some twenty.
const MOST_BYTES: usize = 4 << 10;
/// Longest text of an error, in characters: a wrong configuration may quote long lines.
const MOST_TEXT: usize = 1000;

/// Answers commands.
pub struct Commands {
    store: Store,
    vitals: Arc<Vitals>,
    /// Rung when images wait again.
    accepted: Arc<Notify>,
    /// Rung when results are due.
    queued: Arc<Notify>,
    /// As it is in force.
    config: Mutex<AgentConfig>,
}

impl Commands {
    /// For a running pipeline.
    pub fn new(
        store: Store,
        vitals: Arc<Vitals>,
        accepted: Arc<Notify>,
        queued: Arc<Notify>,
        config: AgentConfig,
    ) -> Self {
        Self { store, vitals, accepted, queued, config: Mutex::new(config) }
    }

    /// Does what is asked, and says what came of it.
    pub async fn answer(&self, verb: &Slug, payload: &[u8]) -> Response {
        let known = Verb::find(verb.as_str());
        self.vitals.metrics.count_command(known.map_or("other", Verb::as_str));
        let outcome = match known {
            None => {
                let known = Verb::ALL.map(Verb::as_str).join(", ");
                error(CommandErrorCode::UnknownVerb, &format!("'{verb}' is none of {known}"))
            }
            Some(_) if payload.len() > MOST_BYTES => {
                error(CommandErrorCode::Malformed, &format!("a command has at most {MOST_BYTES} bytes"))
            }
            Some(known) => match Command::parse(payload) {
                Ok(Command { .. }) => self.obey(known).await,
                Err(problem) => error(CommandErrorCode::Malformed, &problem.to_string()),
            },
        };
        match &outcome {
            Outcome::Error { code, .. } => tracing::warn!(%verb, ?code, "a command was not done"),
            _ => tracing::info!(%verb, "a command was done"),
        }
        Response { schema: SCHEMA, boot_id: self.vitals.boot_id(), at: Timestamp::now(), outcome }
    }

    async fn obey(&self, verb: Verb) -> Outcome {
        let done = match verb {
            Verb::Ping => Ok(Outcome::Pong { started_at: self.vitals.started_at() }),
            Verb::Queue => self.queue().await,
            Verb::Retry => self.retry().await,
            Verb::ReloadConfig => return self.reload(),
        };
        done.unwrap_or_else(|problem| error(CommandErrorCode::Store, &problem.to_string()))
    }

    async fn queue(&self) -> Result<Outcome, StoreError> {
        let Census { images_waiting, results_waiting, unacknowledged, oldest_unsent_s, set_aside, .. } =
            self.store.run(Store::census).await?;
        Ok(Outcome::Queue { images_waiting, results_waiting, unacknowledged, oldest_unsent_s, set_aside })
    }

    async fn retry(&self) -> Result<Outcome, StoreError> {
        let work = |store: &Store| Ok((store.retry(None)?, store.census()?));
        let (images, census) = self.store.run(work).await?;
        self.accepted.notify_one();
        self.queued.notify_one();
        let results = census.results_waiting + census.unacknowledged;
        Ok(Outcome::Retried { images: images as u64, results })
    }

    /// Reads a small local file: not worth a thread.
    fn reload(&self) -> Outcome {
        let mut running = self.config.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(path) = &running.source else {
            return error(CommandErrorCode::Config, "the agent was not started from a file");
        };
        let read = match AgentConfig::load(path) {
            Ok(read) => read,
            Err(problem) => return error(CommandErrorCode::Config, &problem.to_string()),
        };
        let changes = running.changes(&read);
        let mut needs_restart: Vec<String> = changes.needs_restart.into_iter().map(str::to_owned).collect();
        let mut applied = Vec::new();
        if changes.log_level {
            if telemetry::set_level(read.log.level) {
                running.log.level = read.log.level;
                applied.push("log.level".to_owned());
            } else {
                needs_restart.push("log.level (RUST_LOG is set)".to_owned());
            }
        }
        tracing::info!(?applied, ?needs_restart, "read the configuration again");
        Outcome::Reloaded { applied, needs_restart }
    }
}

fn error(code: CommandErrorCode, message: &str) -> Outcome {
    Outcome::Error { code, message: message.chars().take(MOST_TEXT).collect() }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;
    use uuid::Uuid;

    use super::*;

    const CONFIG: &str = "site = 's'\ndevice = 'd'\nbundle = '/m'\nstate_dir = '/x'\n[mqtt]\nhost = 'b'\n";

    struct Desk {
        dir: TempDir,
        store: Store,
        commands: Commands,
    }

    fn desk() -> Desk {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("agent.toml");
        std::fs::write(&path, CONFIG).unwrap();
        let config = AgentConfig::load(&path).unwrap();
        let store = Store::open(&dir.path().join("state")).unwrap();
        let vitals = Arc::new(Vitals::new(Uuid::from_u128(5)));
        let commands = Commands::new(store.clone(), vitals, Arc::default(), Arc::default(), config);
        Desk { dir, store, commands }
    }

    impl Desk {
        async fn ask(&self, verb: &str) -> Outcome {
            let response =
                self.commands.answer(&verb.parse().unwrap(), &Command { schema: SCHEMA }.to_json()).await;
            assert_eq!(response.boot_id, Uuid::from_u128(5));
            assert_eq!(Response::parse(&response.to_json()).unwrap(), response);
            response.outcome
        }
    }

    #[tokio::test]
    async fn ping_queue_and_retry_answer_what_is_so() {
        let desk = desk();
        assert!(matches!(desk.ask("ping").await, Outcome::Pong { .. }));
        let image =
            desk.store.stage(&b"x"[..], 9).unwrap().commit(crate::store::Origin::Unknown).unwrap().id();
        desk.store.set_aside(image, "blurred").unwrap();
        let Outcome::Queue { images_waiting: 0, set_aside: 1, oldest_unsent_s: None, .. } =
            desk.ask("queue").await
        else {
            panic!()
        };
        assert_eq!(desk.ask("retry").await, Outcome::Retried { images: 1, results: 0 });
        assert_eq!(desk.ask("retry").await, Outcome::Retried { images: 0, results: 0 }, "twice is once");
        assert_eq!(desk.store.oldest_received().unwrap(), Some(image));
    }

    #[tokio::test]
    async fn a_reloaded_configuration_says_what_needs_a_restart_and_a_wrong_one_changes_nothing() {
        let desk = desk();
        let reloaded = |applied: &[&str], restart: &[&str]| Outcome::Reloaded {
            applied: applied.iter().map(ToString::to_string).collect(),
            needs_restart: restart.iter().map(ToString::to_string).collect(),
        };
        assert_eq!(desk.ask("reload-config").await, reloaded(&[], &[]));
        let path = desk.dir.path().join("agent.toml");
        std::fs::write(&path, format!("threads = 2\n{CONFIG}")).unwrap();
        for _ in 0..2 {
            assert_eq!(desk.ask("reload-config").await, reloaded(&[], &["threads"]), "it still needs one");
        }
        std::fs::write(&path, format!("thread = 2\n{CONFIG}")).unwrap();
        let Outcome::Error { code: CommandErrorCode::Config, message } = desk.ask("reload-config").await
        else {
            panic!()
        };
        assert!(message.contains("unknown field `thread`"), "{message}");
    }

    #[tokio::test]
    async fn what_is_no_command_gets_an_error() {
        let desk = desk();
        let code = async |verb: &str, payload: &[u8]| {
            let outcome = desk.commands.answer(&verb.parse().unwrap(), payload).await.outcome;
            let Outcome::Error { code, message } = outcome else { panic!("{outcome:?}") };
            assert!(message.len() <= 4 * MOST_TEXT);
            code
        };
        assert_eq!(code("reboot", b"").await, CommandErrorCode::UnknownVerb);
        for bad in [&b"now"[..], b"", &[b' '; MOST_BYTES + 1]] {
            assert_eq!(code("ping", bad).await, CommandErrorCode::Malformed);
        }
    }
}
