use std::path::PathBuf;

/// Why an experiment cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// The images.
    #[error(transparent)]
    Dataset(#[from] crate::dataset::DatasetError),
    /// A training.
    #[error(transparent)]
    Train(#[from] crate::train::TrainError),
    /// A model file.
    #[error(transparent)]
    Model(#[from] crate::train::CheckpointError),
    /// Saliency maps.
    #[error(transparent)]
    Saliency(#[from] crate::saliency::SaliencyError),
    /// Pseudo-masks.
    #[error(transparent)]
    Pseudo(#[from] crate::pseudo::PseudoError),
    /// The network.
    #[error(transparent)]
    Net(#[from] crate::net::TorchNetError),
    /// Figures.
    #[error(transparent)]
    Evaluate(#[from] crate::evaluate::EvaluateError),
    /// A report.
    #[error(transparent)]
    Report(#[from] crate::report::ReportError),
    /// A file cannot be read or written.
    #[error("failed to access {path}: {source}; check free space and permissions")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A picture that cannot be drawn.
    #[error("failed to draw {what}: {reason}; remove the step's folder to do it again")]
    Picture {
        /// The image or the file.
        what: String,
        /// Why.
        reason: String,
    },
    /// A folder that is not what its name says.
    #[error("{path} is not the mark of this step: {reason}; remove its folder to do the step again")]
    Artifact {
        /// The mark.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// More expert masks than there are.
    #[error("a budget of {budget} expert masks, but {what} has {found}; lower study.budgets")]
    Budget {
        /// Asked for.
        budget: usize,
        /// Where they come from.
        what: String,
        /// There are.
        found: usize,
    },
    /// Too few patients for the folds.
    #[error("{folds} folds over {patients} patients with expert masks; lower study.folds")]
    Folds {
        /// Asked for.
        folds: usize,
        /// There are.
        patients: usize,
    },
    /// No image to be judged on.
    #[error("no image to judge the segmenters on: give images the split strong_test, or set study.folds")]
    NothingToJudge,
}
