use std::io::{IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};

use indicatif::{ProgressBar, ProgressStyle};

/// How many plain lines a step writes at most.
const LINES: u64 = 10;

/// Progress over images on stderr: a bar on a terminal, some plain lines elsewhere.
#[derive(Debug)]
pub(super) struct Progress {
    what: &'static str,
    bar: Option<ProgressBar>,
    done: AtomicU64,
    total: u64,
}

/// Begins to count `images`.
pub(super) fn bar(what: &'static str, images: usize) -> Progress {
    let bar = std::io::stderr().is_terminal().then(|| {
        let style = ProgressStyle::with_template("{prefix} [{bar:32}] {pos}/{len} eta {eta}")
            .expect("a literal of indicatif's grammar");
        ProgressBar::new(images as u64).with_style(style.progress_chars("=> ")).with_prefix(what)
    });
    Progress { what, bar, done: AtomicU64::new(0), total: images as u64 }
}

impl Progress {
    /// `more` images are done.
    pub(super) fn inc(&self, more: u64) {
        let before = self.done.fetch_add(more, Ordering::Relaxed);
        let (done, total) = (before + more, self.total.max(1));
        match &self.bar {
            Some(bar) => bar.set_position(done),
            // A closed terminal must not end a step.
            None if done * LINES / total > before * LINES / total => {
                let _ = writeln!(std::io::stderr(), "{}: {done}/{} images", self.what, self.total);
            }
            None => (),
        }
    }

    /// The step is over.
    pub(super) fn finish_and_clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
