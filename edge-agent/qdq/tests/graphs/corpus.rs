//! What the fuzz target kept (`fuzz/seeds`), once more through the same code.

use std::fs;
use std::path::Path;

use qdq::{Options, lower};
use tract_onnx::prelude::*;

use crate::alone::{is_small, runs_alone};

#[test]
fn files_that_the_fuzzer_kept_do_not_panic() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/lower");
    let (mut read, mut run, mut refused) = (0, 0, 0);
    for entry in fs::read_dir(folder).unwrap() {
        let bytes = fs::read(entry.unwrap().path()).unwrap();
        let Ok(model) = tract_onnx::onnx().proto_model_for_read(&mut bytes.as_slice()) else { continue };
        read += 1;
        match lower(&model, &Options::default()) {
            Ok(lowered) => run += usize::from(is_small(&lowered) && runs_alone(&lowered)),
            Err(_) => refused += 1,
        }
    }
    assert!(read > 15 && run > 3 && refused > 2, "{read} read, {run} run, {refused} refused");
}
