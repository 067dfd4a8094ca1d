use std::path::PathBuf;

use crate::train::Misfit;

/// Why a bundle was not written.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The model does not belong to the configuration.
    #[error(transparent)]
    OtherModel(#[from] Misfit),
    /// Too many networks for an ensemble, or too few.
    #[error("{found} members are named, network.members = {wanted}: both must be the same")]
    Members {
        /// There are.
        found: usize,
        /// `network.members`.
        wanted: usize,
    },
    /// A network that cannot be in the ensemble.
    #[error("a member is of another network than the configuration's: {0}")]
    OtherMember(crate::net::ParamsError),
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
    /// Figures of another graph.
    #[error(
        "the examination is of the graph {examined}, this export gives {graph}: run `host-trainer gallery` on a bundle of \
         this model and pass its examination.json"
    )]
    OtherExamination {
        /// SHA-256 of the graph that was examined.
        examined: String,
        /// SHA-256 of the graph of this export.
        graph: String,
    },
    /// The edge agent.
    #[error(transparent)]
    Examine(#[from] crate::examine::ExamineError),
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
