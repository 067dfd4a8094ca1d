//! Runs what is lowered as a whole without tract; the fuzz target does too.

use qdq::{Element, End, LoweredModel, Sink, Source};

/// Values of all tensors together that a run is tried with: milliseconds on scalar code.
const MOST_VALUES: usize = 1 << 20;

/// Whether a graph is of known shapes and small enough to try.
pub(crate) fn is_small(lowered: &LoweredModel) -> bool {
    lowered.values().is_some_and(|values| values <= MOST_VALUES)
}

/// Runs a graph twice on zeros; whether it is one that is lowered as a whole.
pub(crate) fn runs_alone(lowered: &LoweredModel) -> bool {
    // None is the program's own refusal, which `into_optimized` reports.
    let Some(mut session) = lowered.session() else { return false };
    let memory = |end: &End| match end.element {
        Element::F32 => (vec![0.0; end.len()], vec![]),
        Element::U8 | Element::I8 => (vec![], vec![0; end.len()]),
    };
    let inputs: Vec<(Vec<f32>, Vec<u8>)> = session.inputs().iter().map(memory).collect();
    let mut outputs: Vec<(Vec<f32>, Vec<u8>)> = session.outputs().iter().map(memory).collect();
    let sources: Vec<Source<'_>> = inputs
        .iter()
        .map(|(real, bytes)| if bytes.is_empty() { Source::Real(real) } else { Source::Bytes(bytes) })
        .collect();
    let mut sinks: Vec<Sink<'_>> = outputs
        .iter_mut()
        .map(|(real, bytes)| if bytes.is_empty() { Sink::Real(real) } else { Sink::Bytes(bytes) })
        .collect();
    for _ in 0..2 {
        session.run(&sources, &mut sinks).expect("these are tensors of the session's own sizes");
    }
    true
}
