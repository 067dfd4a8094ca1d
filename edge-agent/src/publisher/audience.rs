use std::collections::VecDeque;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use tokio::time::Instant;
use uuid::Uuid;

/// First pause before another result is tried on a broker that knows no subscriber to results; it doubles.
const FIRST: Duration = Duration::from_millis(250);
/// The longest, but for jitter of up to as much again: so long may central be back without getting results, and so often goes
/// one out for nothing while it is away.
const LONGEST: Duration = Duration::from_secs(30);
/// Results tried in vain whose acknowledgement would be noticed.
const REMEMBERED: usize = 8;

/// Whether anybody hears results, as far as the broker of one connection tells (MQTT 5 section 3.4.2.1, reason code 0x10).
///
/// A broker that comes back without its memory has no subscribers until central is back too. Where central must acknowledge,
/// the outbox waits for that: one result is tried now and then. A broker that feeds central by other ways than subscriptions
/// does not count those; once central acknowledges what nobody was said to hear, that broker is not believed any more.
pub(super) struct Audience {
    silence: Option<Silence>,
    believed: bool,
}

struct Silence {
    /// The results that were tried last.
    tried: VecDeque<Uuid>,
    until: Instant,
    pauses: ExponentialBackoff,
}

impl Audience {
    /// Of a new connection.
    pub(super) fn new() -> Self {
        Self { silence: None, believed: true }
    }

    /// The broker knows no subscriber for this result. Returns whether that is to be believed, so that the outbox waits.
    pub(super) fn unheard(&mut self, result: Uuid) -> bool {
        if !self.believed {
            return false;
        }
        let silence = self.silence.get_or_insert_with(|| {
            tracing::warn!("nobody listens to results: they wait until central does");
            let pauses = ExponentialBuilder::default()
                .with_min_delay(FIRST)
                .with_max_delay(LONGEST)
                .with_jitter()
                .without_max_times();
            Silence { tried: VecDeque::new(), until: Instant::now(), pauses: pauses.build() }
        });
        silence.tried.push_back(result);
        if silence.tried.len() > REMEMBERED {
            silence.tried.pop_front();
        }
        silence.until = Instant::now() + silence.pauses.next().unwrap_or(LONGEST);
        true
    }

    /// A subscriber got a result.
    pub(super) fn heard(&mut self) {
        if self.silence.take().is_some() {
            tracing::info!("somebody listens to results again");
        }
    }

    /// The results that were tried in vain and how long the outbox still waits, if it does.
    pub(super) fn rest(&self) -> Option<(Vec<Uuid>, Duration)> {
        let silence = self.silence.as_ref()?;
        let left = silence.until.saturating_duration_since(Instant::now());
        (!left.is_zero()).then(|| (silence.tried.iter().copied().collect(), left))
    }

    /// Central acknowledged a result that nobody was said to hear.
    pub(super) fn disprove(&mut self) {
        tracing::info!("central hears results that the broker counts no subscriber for");
        (self.silence, self.believed) = (None, false);
    }
}
