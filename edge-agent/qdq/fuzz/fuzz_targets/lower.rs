//! No file makes lowering panic, hang or take more memory than it should; what is lowered as a whole also runs.

#![no_main]

use std::panic::{AssertUnwindSafe, catch_unwind, set_hook};
use std::process::abort;

use libfuzzer_sys::fuzz_target;
use qdq::{LoweredModel, Options, lower};
use tract_onnx::prelude::*;

#[path = "../../tests/graphs/alone.rs"]
mod alone;

fuzz_target!(
    init: {
        // Panics of tract and of what it is made of are caught; libFuzzer would abort at them.
        set_hook(Box::new(|panic| {
            let ours = panic.location().is_none_or(|location| !location.file().contains("/registry/src/"));
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
        if alone::is_small(&lowered) {
            alone::runs_alone(&lowered);
            let _ = catch_unwind(AssertUnwindSafe(|| in_tract(lowered)));
        }
    }
);

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
