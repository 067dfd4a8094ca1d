use std::path::PathBuf;

/// Why a bundle was not examined.
#[derive(Debug, thiserror::Error)]
pub enum ExamineError {
    /// The edge agent did not do what was asked.
    #[error("failed to run {path}: {reason}; name an edge-agent of this version with --agent")]
    Agent {
        /// The program.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// No agent at all.
    #[error(
        "no edge-agent stands beside this program; build one (cargo build --release) or name it with --agent"
    )]
    NoAgent,
    /// Nothing to examine with.
    #[error("no image has the split strong_test, and no --folder was given: there is nothing to look at")]
    NoImages,
    /// A folder without pictures.
    #[error("{path} holds no PNG or JPEG picture")]
    EmptyFolder {
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
    /// Not an examination.
    #[error("{path} is no examination: {source}; make it with `host-trainer gallery`")]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// A picture cannot be read or written.
    #[error("failed to handle the picture {path}: {source}")]
    Picture {
        /// The file.
        path: PathBuf,
        /// Why.
        source: image::ImageError,
    },
    /// A mask in a result that is none.
    #[error("the agent's mask of {id}: {source}")]
    Mask {
        /// The image.
        id: String,
        /// What is wrong.
        source: shared::mask::RleError,
    },
    /// A picture that is no radiograph.
    #[error("failed to read {path}: {source}")]
    Frame {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: shared::pixel::FrameError,
    },
    /// The images.
    #[error(transparent)]
    Dataset(#[from] crate::dataset::DatasetError),
    /// A figure.
    #[error(transparent)]
    Evaluate(#[from] crate::evaluate::EvaluateError),
    /// The bundle.
    #[error(transparent)]
    Bundle(#[from] shared::bundle::BundleError),
    /// The page.
    #[error(transparent)]
    Report(#[from] crate::report::ReportError),
}
