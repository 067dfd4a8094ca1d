use std::path::PathBuf;

/// Why an experiment cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// A setting of an arm.
    #[error(transparent)]
    Config(#[from] crate::config::ConfigError),
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
    /// Seeds without any image.
    #[error("no weak image has a saliency map to learn edges from; see the data sets' findings and the gate")]
    NoSeeds,
    /// Teachers that learned from other expert masks than their student.
    #[error(
        "arm {arm}: its teachers of other seeds learned from other images with expert masks, so {budget} masks would be more than {budget}; give it a budget that takes all, or one seed"
    )]
    TeachersKnowMore {
        /// The student.
        arm: String,
        /// Its expert masks.
        budget: usize,
    },
    /// Two steps of one name.
    #[error("two different steps are called {0}; rename an arm, or give each seed once")]
    SameName(String),
    /// Some steps failed; the others are done.
    #[error("{} steps failed: {}", .0.len(), .0.join("; "))]
    Failed(Vec<String>),
    /// No image to be judged on.
    #[error("no image to judge the segmenters on: give images the split strong_test, or set study.folds")]
    NothingToJudge,
}
