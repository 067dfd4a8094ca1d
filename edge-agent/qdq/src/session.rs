use std::fmt;
use std::sync::Arc;

use crate::Pool;
use crate::port::{Sink, Source};
use crate::program::{Program, Workspace};

/// A graph that is lowered as a whole, ready to run without tract. A run allocates nothing.
pub struct Session {
    pub(crate) program: Program,
    pub(crate) workspace: Workspace,
    pub(crate) pool: Arc<Pool>,
    pub(crate) inputs: Vec<End>,
    pub(crate) outputs: Vec<End>,
}

/// An input or output of a graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// Its name in the ONNX graph.
    pub name: String,
    /// What it holds.
    pub element: Element,
    /// Its dimensions.
    pub shape: Vec<usize>,
}

/// What a tensor holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Element {
    /// f32.
    F32,
    /// u8.
    U8,
    /// i8.
    I8,
}

/// Why a session does not run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    /// Not as many tensors as the graph has.
    #[error("the graph has {expected} {ends}, not {found}")]
    Count {
        /// `inputs` or `outputs`.
        ends: &'static str,
        /// How many there must be.
        expected: usize,
        /// How many there are.
        found: usize,
    },
    /// A tensor of another size or type.
    #[error("'{name}' is {expected} values of {element:?}")]
    Tensor {
        /// The graph's input or output.
        name: String,
        /// How many values it has.
        expected: usize,
        /// Of what type.
        element: Element,
    },
}

impl Session {
    /// The graph's inputs.
    pub fn inputs(&self) -> &[End] {
        &self.inputs
    }

    /// The graph's outputs.
    pub fn outputs(&self) -> &[End] {
        &self.outputs
    }

    /// Runs the graph once, with a tensor for each of its inputs and outputs in their order.
    ///
    /// # Errors
    /// If a tensor does not fit.
    pub fn run(&mut self, inputs: &[Source<'_>], outputs: &mut [Sink<'_>]) -> Result<(), RunError> {
        let read = inputs.iter().map(|source| match source {
            Source::Real(real) => (true, real.len()),
            Source::Bytes(bytes) => (false, bytes.len()),
        });
        check("inputs", &self.inputs, read)?;
        let written = outputs.iter().map(|sink| match sink {
            Sink::Real(real) => (true, real.len()),
            Sink::Bytes(bytes) => (false, bytes.len()),
        });
        check("outputs", &self.outputs, written)?;
        self.program.run(&mut self.workspace, &self.pool, inputs, outputs);
        Ok(())
    }
}

fn check(
    kind: &'static str,
    ends: &[End],
    tensors: impl ExactSizeIterator<Item = (bool, usize)>,
) -> Result<(), RunError> {
    if tensors.len() != ends.len() {
        return Err(RunError::Count { ends: kind, expected: ends.len(), found: tensors.len() });
    }
    for (end, tensor) in ends.iter().zip(tensors) {
        let expected = end.len();
        if tensor != (end.element == Element::F32, expected) {
            return Err(RunError::Tensor { name: end.name.clone(), expected, element: end.element });
        }
    }
    Ok(())
}

impl End {
    /// How many values it has.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { inputs, outputs, .. } = self;
        f.debug_struct("Session").field("inputs", inputs).field("outputs", outputs).finish_non_exhaustive()
    }
}
