//! No file makes lowering panic, hang or take more memory than it should; what is lowered as a whole also runs.

#![no_main]

use std::panic::{AssertUnwindSafe, catch_unwind, set_hook};
use std::process::abort;

use libfuzzer_sys::fuzz_target;
use qdq::{Element, LoweredModel, Options, Sink, Source, lower};
use tract_onnx::prelude::*;

/// Values of all tensors together that a run is tried with: milliseconds on scalar code.
const MOST_VALUES: usize = 1 << 20;

fuzz_target!(
    init: {
        // tract's own panics are caught; libFuzzer would abort at them.
        set_hook(Box::new(|panic| {
            let ours = panic.location().is_none_or(|location| !location.file().contains("tract-"));
            if ours {
                eprintln!("{panic}");
                abort();
            }
        }));
    },
    |bytes: &[u8]| {
        let mut bytes = bytes;
        let Ok(model) = tract_onnx::onnx().proto_model_for_read(&mut bytes) else { return };
        let Ok(lowered) = lower(&model, &Options::default()) else { return };
        drop(model);
        // What is left to tract may take tract any time and memory; the rest is ours.
        if lowered.values().is_some_and(|values| values <= MOST_VALUES) {
            alone(&lowered);
            let _ = catch_unwind(AssertUnwindSafe(|| in_tract(lowered)));
        }
    }
);

/// Runs twice on zeros, without tract.
fn alone(lowered: &LoweredModel) {
    // The program's own refusal, which `into_optimized` reports.
    let Some(mut session) = lowered.session() else { return };
    let ends = |ends: &[qdq::End]| -> Vec<(Vec<f32>, Vec<u8>)> {
        let memory = |end: &qdq::End| match end.element {
            Element::F32 => (vec![0.0; end.len()], vec![]),
            Element::U8 | Element::I8 => (vec![], vec![0; end.len()]),
        };
        ends.iter().map(memory).collect()
    };
    let (inputs, mut outputs) = (ends(session.inputs()), ends(session.outputs()));
    let sources: Vec<Source<'_>> = inputs
        .iter()
        .map(|(real, bytes)| if bytes.is_empty() { Source::Real(real) } else { Source::Bytes(bytes) })
        .collect();
    let mut sinks: Vec<Sink<'_>> = outputs
        .iter_mut()
        .map(|(real, bytes)| if bytes.is_empty() { Sink::Real(real) } else { Sink::Bytes(bytes) })
        .collect();
    for _ in 0..2 {
        if let Err(error) = session.run(&sources, &mut sinks) {
            eprintln!("tensors of the session's own sizes are refused: {error}");
            abort();
        }
    }
}

/// Runs once on zeros, as a tract plan.
fn in_tract(lowered: LoweredModel) -> TractResult<()> {
    let plan = lowered.into_model().into_optimized()?.into_runnable()?;
    let mut inputs = tvec![];
    for input in 0..plan.model().inputs.len() {
        let fact = plan.model().input_fact(input)?;
        let Some(shape) = fact.shape.as_concrete() else { return Ok(()) };
        inputs.push(Tensor::zero_dt(fact.datum_type, shape)?.into_tvalue());
    }
    plan.run(inputs)?;
    Ok(())
}
