//! What each step does, from explicit inputs to files in a folder. A command of its own and `run` call the same.

mod classify;
mod edges;
mod evaluate;
mod look;
mod pictures;
mod progress;
mod pseudo;
mod segmenter;

use std::path::Path;

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
use progress::bar;

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
    let start = match RunDir::new(out).latest().exists() {
        true => Start::Resume,
        false => Start::New { init: init.map(Path::to_owned) },
    };
    let mut session = Session::open(job, out, &start, context.device)?;
    Ok(session.run(task, &context.stop, context.workers)?)
}
