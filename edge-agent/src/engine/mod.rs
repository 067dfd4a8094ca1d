//! The network's run time behind one narrow trait.

mod lowering;
#[cfg(test)]
mod tests;
mod tract;

use std::path::PathBuf;

pub use lowering::Lowering;
pub use tract::{OnnxGraph, TractEngine};

use qdq::IsaError;
use shared::bundle::BundleError;
use shared::postprocess::{Logits, LogitsError};

use crate::exit_code::{Exit, ExitStatus};

/// A network that is ready to run. One thread owns it.
pub trait Engine: Send {
    /// Runs the network on `[1, 1, S, S]` values, row-major, normalized by
    /// [`Letterboxed::normalize`](shared::preprocess::Letterboxed::normalize).
    ///
    /// # Errors
    /// If the input has not S² values or the graph fails.
    fn run(&mut self, input: &[f32]) -> Result<EngineOutput, EngineError>;

    /// Name and settings, for people.
    fn describe(&self) -> String;

    /// What became of the graph's nodes; none if that is not this engine's way.
    fn lowering(&self) -> Option<&Lowering> {
        None
    }
}

/// Logits `[C, h, w]`, row-major, that cover the whole input.
#[derive(Clone, Debug, PartialEq)]
pub struct EngineOutput {
    /// C: one plane a class, in the manifest's order.
    pub classes: usize,
    /// h.
    pub rows: usize,
    /// w.
    pub cols: usize,
    /// C × h × w values; a sigmoid makes them probabilities.
    pub data: Vec<f32>,
}

impl EngineOutput {
    /// As postprocessing takes them.
    ///
    /// # Errors
    /// If the values do not fill the shape.
    pub fn logits(&self) -> Result<Logits<'_>, LogitsError> {
        Logits::new(self.classes, self.rows, self.cols, &self.data)
    }
}

/// Why a graph does not load or run.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// `CXR_ISA` names instructions that there are not.
    #[error("{0}; set it anew or not at all")]
    Isa(#[from] IsaError),
    /// The file could not be read.
    #[error("failed to read {}: {source}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The bundle's file could not be read, or was altered since the bundle was opened.
    #[error(transparent)]
    Bundle(Box<BundleError>),
    /// Not a graph that the engine understands.
    #[error(
        "{} is no ONNX graph that this engine runs: {reason}; copy the bundle again or export the model anew",
        .path.display()
    )]
    Graph {
        /// The file.
        path: PathBuf,
        /// What the parser or the optimizer says.
        reason: String,
    },
    /// A graph of another form than the manifest says.
    #[error("{}: {what} is {found}, the manifest needs {expected}; export the bundle anew", .path.display())]
    Mismatch {
        /// The file.
        path: PathBuf,
        /// Which end of the graph.
        what: String,
        /// Its name, type or shape.
        found: String,
        /// What should be there.
        expected: String,
    },
    /// The input has the wrong number of values.
    #[error("the network takes {expected} values, got {found}")]
    Input {
        /// Values that the graph takes.
        expected: usize,
        /// Values given.
        found: usize,
    },
    /// The graph failed while it ran.
    #[error("the network failed: {0}")]
    Run(String),
}

impl ExitStatus for EngineError {
    fn exit(&self) -> Exit {
        match self {
            Self::Isa(_) => Exit::Config,
            _ => Exit::Bundle,
        }
    }
}
