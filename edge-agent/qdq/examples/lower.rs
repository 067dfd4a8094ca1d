//! Says what becomes of a graph's nodes, and how long a run takes: `cargo run --example lower -- model.onnx [THREADS]`.

use std::error::Error;
use std::time::Instant;

use qdq::{Options, lower};
use tract_onnx::prelude::*;
use tract_onnx::tract_hir::infer::Factoid;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("usage: lower model.onnx [THREADS]")?;
    let threads = arguments.next().map_or(Ok(1), |threads| threads.parse())?;
    let options = Options::new(threads)?;

    let start = Instant::now();
    let lowered = lower(&tract_onnx::onnx().proto_model_for_path(&path)?, &options)?;
    print!("{}", lowered.report());
    // From here on it is any model of tract's. Symbols become 1.
    let mut model = lowered.into_model();
    for input in 0..model.inputs.len() {
        let fact = model.input_fact(input)?;
        let dims: TVec<TDim> =
            fact.shape.dims().map(|dim| dim.concretize().filter(closed).unwrap_or(1.into())).collect();
        let fact = fact.clone().with_shape(&dims);
        model.set_input_fact(input, fact)?;
    }
    let plan = model.into_optimized()?.into_runnable()?;
    println!("loaded in {:.1} ms for {} on {threads} threads", milliseconds(start), options.isa);

    let mut inputs = tvec![];
    for input in 0..plan.model().inputs.len() {
        let fact = plan.model().input_fact(input)?;
        let shape = fact.shape.as_concrete().ok_or("an input's shape is open")?;
        inputs.push(Tensor::zero_dt(fact.datum_type, shape)?.into_tvalue());
    }
    let mut state = plan.spawn()?;
    let mut least = f64::INFINITY;
    for _ in 0..10 {
        let start = Instant::now();
        state.run(inputs.clone())?;
        least = least.min(milliseconds(start));
    }
    println!("the fastest of ten runs took {least:.2} ms");
    Ok(())
}

fn closed(dim: &TDim) -> bool {
    dim.to_i64().is_ok()
}

fn milliseconds(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1e3
}
