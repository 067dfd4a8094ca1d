use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Exit status of a second Ctrl-C: 128 + SIGINT.
const INTERRUPTED: i32 = 130;

/// A request to end after the current step, with a checkpoint.
#[derive(Clone, Debug, Default)]
pub struct StopFlag(Arc<AtomicBool>);

impl StopFlag {
    /// A flag that SIGINT, SIGTERM and SIGHUP raise; the second signal ends the program at once.
    ///
    /// # Errors
    /// If the program has a handler already.
    pub fn on_signals() -> Result<Self, ctrlc::Error> {
        let flag = Self::default();
        let raised = flag.clone();
        ctrlc::set_handler(move || {
            if raised.0.swap(true, Ordering::SeqCst) {
                std::process::exit(INTERRUPTED);
            }
        })?;
        Ok(flag)
    }

    /// Raises the flag.
    pub fn raise(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Whether it was raised.
    pub fn is_raised(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}
