use std::path::PathBuf;

use super::{CheckpointError, HistoryError, Misfit};
use crate::config::Stage;
use crate::dataset::DatasetError;
use crate::net::{ParamsError, TorchNetError};
use crate::report::CurvesError;

/// What to do where a batch does not fit.
fn remedy(stage: Stage, batch: usize) -> String {
    match batch {
        // Batch normalization needs two images.
        0 | 1 => "lower preprocess.input_size, network.width or consistency.views.batch".to_owned(),
        _ => format!("set {}.batch = {batch}, or lower consistency.views.batch,", stage.key()),
    }
}

/// Why a training cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// The images.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// Pseudo-masks.
    #[error(transparent)]
    Pseudo(#[from] crate::pseudo::PseudoError),
    /// A checkpoint or a model file.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The history.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// The picture of the history.
    #[error(transparent)]
    Curves(#[from] CurvesError),
    /// The network.
    #[error(transparent)]
    Net(#[from] TorchNetError),
    /// libtorch.
    #[error("libtorch: {0}")]
    Torch(#[from] tch::TchError),
    /// A class without a teacher, or a teacher of no class.
    #[error("teachers or members: {class} {reason}")]
    Taught {
        /// The class.
        class: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// Optimizer moments that do not fit the network.
    #[error("the checkpoint's optimizer state: {0}")]
    Moments(ParamsError),
    /// A checkpoint of something else.
    #[error("{path} was written by stage {found}, this is {expected}; give each stage its own --out")]
    OtherStage {
        /// The checkpoint.
        path: PathBuf,
        /// Its stage.
        found: Stage,
        /// This one.
        expected: Stage,
    },
    /// The configuration changed, or what the training reads.
    #[error(
        "{path} was written under another configuration (see config.toml beside it), other data, pseudo-masks or teachers; restore these, or start anew with another --out"
    )]
    OtherConfig {
        /// The checkpoint.
        path: PathBuf,
    },
    /// Nothing to resume.
    #[error("{path} does not exist; leave out --resume to start")]
    NothingToResume {
        /// The checkpoint.
        path: PathBuf,
    },
    /// The folder has a run already.
    #[error("{path} holds a run already; add --resume to go on with it, or choose another --out")]
    Occupied {
        /// The folder.
        path: PathBuf,
    },
    /// Somebody works in the folder.
    #[error("another process trains in {path}; wait for it, or choose another --out")]
    Busy {
        /// The folder.
        path: PathBuf,
    },
    /// The folder or a file in it cannot be written.
    #[error(
        "failed to write {path}: {source}; check free space and permissions, then go on from the last checkpoint"
    )]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The training blew up.
    #[error(
        "{what} is {value} at step {step}, batch of {images}: look at these images, lower {}.learning_rate or raise {}.warmup and start anew", stage.key(), stage.key()
    )]
    Diverged {
        /// Which number.
        what: &'static str,
        /// Its value.
        value: f64,
        /// The step.
        step: u64,
        /// The stage.
        stage: Stage,
        /// Ids of the batch's images.
        images: String,
    },
    /// The device is too small for the batch.
    #[error("no memory for a batch of {batch}: {} and start anew ({source})", remedy(*.stage, *.try_batch))]
    OutOfMemory {
        /// The stage.
        stage: Stage,
        /// The batch that did not fit.
        batch: usize,
        /// One that may.
        try_batch: usize,
        /// What libtorch said.
        source: tch::TchError,
    },
    /// Weights to begin with that are another network's.
    #[error(
        "the weights to begin with are another network's: they lack {tensors}; take a model of the same backbone and width"
    )]
    OtherNetwork {
        /// Some of what is missing.
        tensors: String,
    },
    /// A teacher of something else.
    #[error("a teacher: {0}")]
    OtherTeacher(#[from] Misfit),
    /// No image to validate on annotates any class.
    #[error(
        "no validation image has an expert's pixel of any class, or both labels of any finding; add images with split strong_val, or set classifier.holdout"
    )]
    NothingToValidate,
    /// Nothing for `train.negatives`.
    #[error(
        "train.negatives is on and no weak image's label says that a class is absent; see [[findings]] and the data \
         sets' findings"
    )]
    NoNegatives,
    /// Two answers to one question.
    #[error(
        "train.negatives is on and there are pseudo-masks, whose gate says what absent classes teach; remove one"
    )]
    NegativesTwice,
}
