//! What each step does, from explicit inputs to files in a folder. A command of its own and `run` call the same.

mod classify;
mod edges;
mod evaluate;
mod look;
mod pictures;
mod pseudo;
mod segmenter;

use std::path::Path;

use indicatif::{ProgressBar, ProgressStyle};
use tch::Device;

pub use classify::classify;
pub use edges::learn_edges;
pub use evaluate::evaluate_segmenter;
pub use look::look;
pub use pictures::{Case, Preview, Rank};
pub use pseudo::make_pseudo_masks;
pub use segmenter::{SegmenterInputs, train_segmenter};

use super::PipelineError;
use crate::train::{Job, Outcome, RunDir, Session, Start, StopFlag, Task};

/// Where and how steps run.
#[derive(Clone, Debug)]
pub struct Context {
    /// Where networks compute.
    pub device: Device,
    /// Threads that prepare batches.
    pub workers: usize,
    /// Raised by a signal.
    pub stop: StopFlag,
}

/// Trains in a folder: begins, or goes on where a checkpoint stands.
fn train<T: Task>(
    context: &Context,
    job: Job,
    init: Option<&Path>,
    task: &T,
    out: &Path,
) -> Result<Outcome, PipelineError> {
    let run = RunDir::new(out);
    let start = if run.latest().exists() {
        Start::Resume
    } else {
        // A model without a checkpoint is what a cut before the first checkpoint leaves.
        if run.best().exists() {
            std::fs::remove_file(run.best())
                .map_err(|source| PipelineError::Io { path: run.best(), source })?;
        }
        Start::New { init: init.map(Path::to_owned) }
    };
    let mut session = Session::open(job, out, &start, context.device)?;
    Ok(session.run(task, &context.stop, context.workers)?)
}

/// A bar over images on a terminal; nothing elsewhere, where the step's own lines say enough.
fn bar(what: &'static str, images: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{prefix} [{bar:32}] {pos}/{len} eta {eta}")
        .expect("a literal of indicatif's grammar");
    ProgressBar::new(images as u64).with_style(style.progress_chars("=> ")).with_prefix(what)
}
