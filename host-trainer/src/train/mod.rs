//! Training: from batches to weights, interruptible at any step.
//!
//! [`Session`] is the loop: it asks the [`crate::dataset::Loader`] for the next batch, lets the [`Trainer`]
//! take a step, and now and then validates, writes a checkpoint and a line of history. All state lies in the
//! [`Trainer`] and goes into a [`Checkpoint`]; everything random is a function of (seed, step), so that a
//! resumed training equals an uninterrupted one bit for bit on the same machine and libtorch.

pub(crate) mod atomic;
mod average;
mod checkpoint;
mod folder_lock;
mod history;
mod model_file;
mod run_dir;
mod schedule;
mod stop;
pub(crate) mod tensors;

#[cfg(feature = "torch")]
mod consistency;
#[cfg(feature = "torch")]
mod distillation;
#[cfg(feature = "torch")]
mod ema;
#[cfg(feature = "torch")]
mod error;
#[cfg(feature = "torch")]
mod events;
#[cfg(feature = "torch")]
mod images;
#[cfg(feature = "torch")]
mod job;
#[cfg(feature = "torch")]
mod loss;
#[cfg(feature = "torch")]
mod optimizer;
#[cfg(feature = "torch")]
mod progress;
#[cfg(feature = "torch")]
mod recover;
#[cfg(test)]
#[cfg(feature = "torch")]
mod scripted;
#[cfg(feature = "torch")]
mod segmentation;
#[cfg(feature = "torch")]
mod session;
#[cfg(feature = "torch")]
mod task;
#[cfg(feature = "torch")]
mod teacher;
#[cfg(feature = "torch")]
mod trainer;
#[cfg(feature = "torch")]
pub(crate) mod upload;
#[cfg(feature = "torch")]
mod validation;

pub use average::average;
pub use checkpoint::{BestSoFar, Checkpoint, CheckpointError, TrainState};
pub use folder_lock::FolderLock;
pub use history::{History, HistoryError, HistoryRow};
pub use model_file::{Misfit, ModelFile, ModelInfo};
pub use run_dir::RunDir;
pub use schedule::Schedule;
pub use stop::StopFlag;

#[cfg(feature = "torch")]
pub use distillation::Teachers;
#[cfg(feature = "torch")]
pub(crate) use distillation::shares;
#[cfg(feature = "torch")]
pub use ema::Ema;
#[cfg(feature = "torch")]
pub use error::TrainError;
#[cfg(feature = "torch")]
pub use images::{Images, Roles, index_for, validation_samples};
#[cfg(feature = "torch")]
pub use job::Job;
#[cfg(feature = "torch")]
pub use loss::{
    LossSpec, PixelWeight, Targets, bce_loss, dice_loss, masked_bce, presence_loss, segmentation_loss,
};
#[cfg(feature = "torch")]
pub use optimizer::{Optimizer, OptimizerSpec};
#[cfg(feature = "torch")]
pub(crate) use progress::{Progress, Window};
#[cfg(feature = "torch")]
pub use recover::{RecoverError, recover};
#[cfg(feature = "torch")]
pub use segmentation::Segmentation;
#[cfg(feature = "torch")]
pub(crate) use segmentation::upload_batch;
#[cfg(feature = "torch")]
pub use session::{Outcome, Session, Start};
#[cfg(feature = "torch")]
pub use task::{Nets, Scores, Task};
#[cfg(feature = "torch")]
pub use teacher::{Teacher, TeacherFile};
#[cfg(feature = "torch")]
pub use trainer::{StepReport, Trainer};
#[cfg(feature = "torch")]
pub use validation::ValidationSet;
