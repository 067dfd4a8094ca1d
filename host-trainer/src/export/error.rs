use std::path::PathBuf;

use crate::train::Misfit;

/// Why a bundle was not written.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The model does not belong to the configuration.
    #[error(transparent)]
    OtherModel(#[from] Misfit),
    /// The folder holds something else than a bundle.
    #[error("{path} exists and is no bundle; choose another --out")]
    NotABundle {
        /// The folder.
        path: PathBuf,
    },
    /// A file cannot be read or written.
    #[error("failed to access {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A golden picture cannot be written.
    #[error("failed to write {path}: {source}")]
    Picture {
        /// The file.
        path: PathBuf,
        /// Why.
        source: image::ImageError,
    },
    /// The images.
    #[error(transparent)]
    Dataset(#[from] crate::dataset::DatasetError),
    /// A forward pass or a figure.
    #[error(transparent)]
    Evaluate(#[from] crate::evaluate::EvaluateError),
    /// Folding.
    #[error(transparent)]
    Fold(#[from] crate::net::FoldError),
    /// The network.
    #[error(transparent)]
    Net(#[from] crate::net::TorchNetError),
    /// Quantizing.
    #[error(transparent)]
    Quantize(#[from] crate::quantize::QuantizeError),
    /// Fine-tuning.
    #[error(transparent)]
    Train(#[from] crate::train::TrainError),
    /// The edge agent did not measure a graph.
    #[error(
        "failed to measure a graph with {path}: {reason}; name an edge-agent of this version with --agent"
    )]
    Agent {
        /// The program.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// libtorch.
    #[error("libtorch: {0}")]
    Torch(#[from] tch::TchError),
    /// The ONNX file.
    #[error(transparent)]
    Onnx(#[from] crate::onnx::OnnxError),
    /// The manifest.
    #[error(transparent)]
    Manifest(#[from] shared::manifest::ManifestError),
    /// The digests, or the finished bundle does not open.
    #[error(transparent)]
    Bundle(#[from] shared::bundle::BundleError),
    /// A golden phantom.
    #[error(transparent)]
    Phantom(#[from] shared::phantom::PhantomError),
}
