//! An experiment as a graph of steps, each a pure function from its inputs to a folder.
//!
//! ```text
//! pretrain ──────────────────────────────┐ (weights)
//! classifier ─► saliency ─► pseudo-masks ─┴► segmenter ─► evaluation ─► report
//!      └───────► edges (IRNet) ──┘               ↑ teachers: segmenters of another arm
//! ```
//!
//! A step's key is a digest of its settings, of the keys of the steps it reads and of the data; its folder carries
//! the key's beginning in its name. A folder with `artifact.json` is done and never touched again; any other one is
//! taken up where it was left. So `run` does what is missing, after an interruption as after a change of the
//! experiment, and several `run`s at once share the work: each step is locked by whoever does it.

mod artifact;
mod data_digest;
mod error;
mod machine;
mod plan;
mod results;
mod roles;
mod runner;
mod steps;
mod taught;

pub use artifact::{Artifact, ArtifactInfo};
pub use data_digest::data_digest;
pub use error::PipelineError;
pub use machine::Machine;
pub(crate) use plan::tag;
pub use plan::{Plan, Step, StepKind};
pub use results::{Cell, ClassQuality, Comparison, FindingScores, PseudoQuality, StudyResults, paper_marks};
pub use roles::StudyRoles;
pub use runner::{Finished, Runner};
pub use steps::{
    Case, Context, Preview, Rank, SegmenterInputs, classify, evaluate_segmenter, learn_edges, look,
    make_pseudo_masks, train_segmenter,
};
pub(crate) use taught::taught;
