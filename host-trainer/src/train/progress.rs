use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use indicatif::{HumanDuration, ProgressBar, ProgressStyle};

use super::StepReport;

/// Progress of a training on stderr: a bar on a terminal, a line now and then elsewhere.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    steps: u64,
    first_step: u64,
    began: Instant,
}

/// Means since the last line.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    began: Instant,
    steps: u64,
    loss: f64,
    grad_norm: f64,
    learning_rate: f64,
}

impl Progress {
    pub(crate) fn start(stage: &str, done: u64, steps: u64) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = "{prefix} [{bar:32}] {pos}/{len} {msg} eta {eta}";
            let style = ProgressStyle::with_template(style).expect("a literal of indicatif's grammar");
            let bar =
                ProgressBar::new(steps).with_style(style.progress_chars("=> ")).with_prefix(stage.to_owned());
            bar.set_position(done);
            bar.reset_eta();
            bar
        });
        Self { bar, steps, first_step: done, began: Instant::now() }
    }

    /// After every step.
    pub(crate) fn advance(&self, step: u64) {
        if let Some(bar) = &self.bar {
            bar.set_position(step);
        }
    }

    /// After every window.
    pub(crate) fn show(&self, step: u64, window: &Window, images_per_second: f64) {
        let Window { learning_rate, .. } = window;
        let (loss, norm) = (window.loss(), window.grad_norm());
        let message =
            format!("loss {loss:.4} grad {norm:.2} lr {learning_rate:.2e} {images_per_second:.1} img/s");
        match &self.bar {
            Some(bar) => bar.set_message(message),
            None => {
                let (done, left) = (step - self.first_step, self.steps.saturating_sub(step));
                let per_step = self.began.elapsed().as_secs_f64() / done.max(1) as f64;
                let eta = HumanDuration(Duration::from_secs_f64(per_step * left as f64));
                plain(&format!("step {step}/{} {message} eta {eta}", self.steps));
            }
        }
    }

    /// A line that stays.
    pub(crate) fn say(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.println(line),
            None => plain(line),
        }
    }
}

/// A line on stderr. A terminal that was closed must not end a training, so errors are ignored.
fn plain(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.abandon();
        }
    }
}

impl Window {
    pub(crate) fn new() -> Self {
        Self { began: Instant::now(), steps: 0, loss: 0.0, grad_norm: 0.0, learning_rate: 0.0 }
    }

    pub(crate) fn add(&mut self, report: StepReport) {
        self.steps += 1;
        self.loss += report.loss;
        self.grad_norm += report.grad_norm;
        self.learning_rate = report.learning_rate;
    }

    pub(crate) fn loss(&self) -> f64 {
        self.loss / self.steps.max(1) as f64
    }

    pub(crate) fn grad_norm(&self) -> f64 {
        self.grad_norm / self.steps.max(1) as f64
    }

    pub(crate) fn learning_rate(&self) -> f64 {
        self.learning_rate
    }

    pub(crate) fn images_per_second(&self, batch: usize) -> f64 {
        (self.steps * batch as u64) as f64 / self.began.elapsed().as_secs_f64().max(1e-9)
    }
}
