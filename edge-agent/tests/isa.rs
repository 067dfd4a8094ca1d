//! The shipped bundles give the same on every instruction set that this processor has: golden masks, and logits to the
//! last bit.

#![allow(clippy::unwrap_used, reason = "these are tests, helpers too")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use edge_agent::check::golden;
use edge_agent::engine::TractEngine;
use edge_agent::infer::{Analyzer, AnalyzerOptions};
use qdq::{Isa, Options, Pool};
use shared::bundle::Bundle;
use shared::mask::Mask;

fn bundles() -> Vec<PathBuf> {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models");
    let entries = std::fs::read_dir(models).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.join("manifest.toml").exists()).collect()
}

fn analyzer(bundle: &Bundle, isa: Isa, threads: usize) -> Analyzer {
    let options = Options { isa, pool: Arc::new(Pool::new(threads)) };
    let engine = TractEngine::load_with(bundle, &options).unwrap();
    Analyzer::open(bundle, Box::new(engine), AnalyzerOptions::default())
}

/// Logits, as bits, and masks of every golden image.
fn golden_outputs(bundle: &Bundle, analyzer: &mut Analyzer) -> Vec<(Vec<u32>, Vec<Mask>)> {
    let run = |case: shared::bundle::GoldenCase| {
        let image = bundle.read(&case.input.to_string_lossy()).unwrap();
        let analysis = analyzer.analyze(&image).unwrap();
        let logits = analysis.logits.data.iter().map(|value| value.to_bits()).collect();
        (logits, analysis.results.into_iter().map(|result| result.mask).collect())
    };
    bundle.golden().unwrap().into_iter().map(run).collect()
}

#[test]
fn shipped_bundles_give_their_golden_masks_identically_on_every_instruction_set() {
    let bundles = bundles();
    assert!(!bundles.is_empty());
    let here: Vec<Isa> = Isa::ALL.into_iter().filter(|isa| isa.is_here()).collect();
    println!("on {}", here.iter().map(|isa| isa.name()).collect::<Vec<_>>().join(", "));
    for dir in bundles {
        let bundle = Bundle::open(&dir).unwrap();
        let mut first = None;
        for (isa, threads) in here.iter().flat_map(|isa| [(*isa, 1), (*isa, 2)]) {
            let mut analyzer = analyzer(&bundle, isa, threads);
            let lowering = analyzer.lowering().unwrap();
            assert!(lowering.is_whole() && !lowering.is_none(), "{:?}", lowering.report.left);
            let outputs = golden_outputs(&bundle, &mut analyzer);
            match &first {
                None => {
                    golden::verify(&bundle, &mut analyzer).unwrap();
                    first = Some(outputs);
                }
                Some(first) => {
                    assert!(*first == outputs, "{} on {isa}, {threads} threads", dir.display());
                }
            }
        }
    }
}
