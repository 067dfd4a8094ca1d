use std::path::PathBuf;

use crate::dataset::{DatasetError, Split};

/// Why quality cannot be measured.
#[derive(Debug, thiserror::Error)]
pub enum EvaluateError {
    /// The images.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// A predicted mask that is not there.
    #[error(
        "{path} does not exist; write masks of all images of the split first (edge-agent infer --out DIR FILE…)"
    )]
    NoPrediction {
        /// The file.
        path: PathBuf,
    },
    /// A predicted mask that cannot be decoded.
    #[error("failed to read {path}: {source}; write the masks anew")]
    Prediction {
        /// The file.
        path: PathBuf,
        /// What the decoder said.
        source: shared::pixel::FrameError,
    },
    /// A mask that cannot be written.
    #[error("failed to write {path}: {source}; check free space and permissions")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: image::ImageError,
    },
    /// Predicted and expert mask differ in size.
    #[error(
        "{what}: predicted mask of {found:?} (rows, columns), image of {expected:?}; masks are written at source resolution"
    )]
    Size {
        /// Image or file.
        what: String,
        /// Rows and columns of the prediction.
        found: (usize, usize),
        /// Rows and columns of the image.
        expected: (usize, usize),
    },
    /// Two images that would share their predictions.
    #[error(
        "images {first} and {second} have the same file name, so their masks cannot be told apart; evaluate one source at a time with --source"
    )]
    SameStem {
        /// One.
        first: String,
        /// The other.
        second: String,
    },
    /// No image to judge.
    #[error("no image in the split {0}; see the split column of labels.csv")]
    Empty(Split),
    /// The network's output does not fit.
    #[error(transparent)]
    Logits(#[from] shared::postprocess::LogitsError),
    /// Counts of other classes than those that they are compared with.
    #[error("{path} counts {found}, the first file {expected}; compare models of the same classes")]
    OtherClasses {
        /// The file.
        path: PathBuf,
        /// Its classes.
        found: String,
        /// The first file's.
        expected: String,
    },
    /// A file of counts that cannot be written.
    #[error("failed to write {path}: {source}; check free space and permissions")]
    WriteCounts {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file of counts that cannot be read.
    #[error("failed to read {path}: {source}")]
    ReadCounts {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file that holds no counts, or impossible ones.
    #[error("{path}: {reason}; write the counts anew with this program")]
    Counts {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A comparison with nothing on one side.
    #[error("nothing to compare: give the counts of at least one training of each model")]
    NothingToCompare,
    /// Counts that are not of the same images.
    #[error(
        "image {image} {how}; judge both models on the same split with the same classes (a1 is the first set of counts)"
    )]
    Unpaired {
        /// The first image that differs.
        image: String,
        /// How.
        how: String,
    },
    /// Files of CheXlocalize's form.
    #[error(transparent)]
    Chexlocalize(#[from] super::chexlocalize::ChexlocalizeError),
    /// A model file.
    #[error(transparent)]
    Model(#[from] crate::train::CheckpointError),
    /// The network.
    #[cfg(feature = "torch")]
    #[error(transparent)]
    Net(#[from] crate::net::TorchNetError),
    /// libtorch.
    #[cfg(feature = "torch")]
    #[error("libtorch: {0}")]
    Torch(#[from] tch::TchError),
}
