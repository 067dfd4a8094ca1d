//! No file makes lowering panic. Seeds are the graphs that `suite/make_graphs.py` writes: after copying their `model.onnx`
//! into `corpus/lower/`, `cargo +nightly fuzz run lower -- -max_total_time=600`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use qdq::{Options, lower};
use tract_onnx::prelude::Framework;

fuzz_target!(
    init: {
        // tract's own panics are caught; libFuzzer would abort at them.
        std::panic::set_hook(Box::new(|panic| {
            let ours = panic.location().is_none_or(|location| !location.file().contains("tract-"));
            if ours {
                eprintln!("{panic}");
                std::process::abort();
            }
        }));
    },
    |bytes: &[u8]| {
        let mut bytes = bytes;
        if let Ok(model) = tract_onnx::onnx().proto_model_for_read(&mut bytes) {
            let _ = lower(&model, &Options::default());
        }
    }
);
