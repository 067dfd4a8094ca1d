//! Lowered graphs compute what onnxruntime does: layer by layer to one quantum, and masks.

#![allow(clippy::unwrap_used, reason = "these are tests, helpers too")]

mod cut;
mod run;
mod suite;

use suite::{Data, Graph, Recorded};

/// How far two tensors are apart.
#[derive(Clone, Copy, Debug, Default)]
struct Distance {
    /// Of bytes: in quanta. Of real numbers: as a share of the range.
    most: f32,
    /// Share of values that differ.
    differing: f32,
}

/// Of real numbers that are computed from onnxruntime's own bytes.
const REAL: f32 = 1e-4;
/// Of outputs, whose way through the graph magnifies what is rounded differently: so far are onnxruntime's own results
/// apart, with its optimizations and without.
const END: f32 = 0.1;
/// Share of a mask's pixels.
const MASK: f32 = 0.998;

#[test]
fn layers_are_within_a_quantum_of_onnxruntime() {
    let Some(folders) = suite::folders() else { return };
    let mut failures = Vec::new();
    for folder in folders {
        let graph = Graph::read(&folder);
        let mut failed = |what: String| failures.push(format!("{}: {what}", graph.name));
        let (report, ends) = ends(&graph, &mut failed);
        let layers = layers(&graph, &mut failed);
        println!("{}: {} islands; {layers}; {ends}", graph.name, report.islands());
        report.left.iter().for_each(|node| println!("    left: {}: {}", node.name, node.reason));
        if !report.left.is_empty() && !may_be_mixed(&graph.name, &report) {
            failed(format!("not lowered as a whole:\n{report}"));
        }
    }
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}

/// onnxruntime's quantizer leaves some operators of the random nets as they are, and others have numbers that do not go
/// with their output's.
fn may_be_mixed(graph: &str, report: &qdq::Report) -> bool {
    let too_fine = report.left.iter().any(|node| node.reason.contains("too fine"));
    graph.starts_with("random-") && (graph.contains("-ort") || too_fine)
}

/// Runs a whole graph in both ways, and says how far its outputs are from onnxruntime's.
fn ends(graph: &Graph, failed: &mut impl FnMut(String)) -> (qdq::Report, String) {
    let lowered = run::lowered(&graph.model);
    let report = lowered.report().clone();
    let session = run::by_session(&lowered, &graph.inputs, &graph.tensors);
    let outputs = run::by_tract(lowered, &graph.inputs, &graph.tensors);
    if session.is_some() != report.left.is_empty() {
        failed("it has a session though it is not lowered as a whole, or none though it is".to_owned());
    }
    for (session, tract) in session.iter().flatten().zip(&outputs) {
        if distance(session, tract).most > 0.0 {
            failed("a session and tract differ".to_owned());
        }
    }
    let end = |(name, found): (&String, &Recorded)| {
        let [plain, optimized] = [&graph.tensors[name], &graph.optimized[name]];
        let [apart, apart_optimized] = [plain, optimized].map(|expected| distance(found, expected).most);
        let [same, same_optimized] = [plain, optimized].map(|expected| agreement(found, expected));
        if session.is_some() && apart.min(apart_optimized) > END {
            failed(format!("'{name}' is {apart} and {apart_optimized} of the range apart"));
        }
        // onnxruntime computes layers of i8 in real numbers, and random nets magnify that.
        let is_mask =
            ["shipped-", "unet-", "resnet18-deeplab"].iter().any(|kind| graph.name.starts_with(kind));
        if is_mask && !graph.name.ends_with("-s8") && same.max(same_optimized) < MASK {
            failed(format!("only {same} and {same_optimized} of the masks '{name}' are equal"));
        }
        format!(
            "output {apart:.4} of the range and {:.4}% of the signs, optimized {apart_optimized:.4} and {:.4}%",
            100.0 * same,
            100.0 * same_optimized
        )
    };
    let ends: Vec<String> = graph.outputs.iter().zip(&outputs).map(end).collect();
    (report, ends.join("; "))
}

/// Runs each layer on what onnxruntime's layers before it made.
fn layers(graph: &Graph, failed: &mut impl FnMut(String)) -> String {
    let mut worst = Distance::default();
    let mut count = 0;
    for (target, expected) in graph.tensors.iter().filter(|(name, _)| !graph.inputs.contains(name)) {
        let (model, inputs) = cut::layer(graph, target);
        let lowered = run::lowered(&model);
        // What is left to tract is as right as tract.
        let Some(found) = run::by_session(&lowered, &inputs, &graph.tensors) else { continue };
        let apart = distance(&found[0], expected);
        let is_real = matches!(expected.data, Data::F32(_));
        if apart.most > if is_real { REAL } else { 1.0 } {
            failed(format!("layer '{target}': {apart:?}"));
        }
        if !is_real {
            worst.most = worst.most.max(apart.most);
            worst.differing = worst.differing.max(apart.differing);
        }
        count += 1;
    }
    format!(
        "{count} layers to {} quanta, in {:.3}% of the bytes at most",
        worst.most,
        100.0 * worst.differing
    )
}

fn distance(a: &Recorded, b: &Recorded) -> Distance {
    assert_eq!(a.dims, b.dims);
    let apart: Vec<f32> = match (&a.data, &b.data) {
        (Data::F32(a), Data::F32(b)) => {
            let least = b.iter().copied().fold(f32::INFINITY, f32::min);
            let most = b.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let range = if most > least { most - least } else { 1.0 };
            a.iter().zip(b).map(|(a, b)| (a - b).abs() / range).collect()
        }
        (Data::U8(a), Data::U8(b)) => a.iter().zip(b).map(|(a, b)| f32::from(a.abs_diff(*b))).collect(),
        (Data::I8(a), Data::I8(b)) => {
            a.iter().zip(b).map(|(a, b)| f32::from((*a as i8).abs_diff(*b as i8))).collect()
        }
        _ => panic!("tensors of different types"),
    };
    let count = apart.len() as f32;
    let differing = apart.iter().filter(|apart| **apart > 0.0).count() as f32;
    Distance { most: apart.into_iter().fold(0.0, f32::max), differing: differing / count }
}

/// Share of real numbers on the same side of 0.
fn agreement(a: &Recorded, b: &Recorded) -> f32 {
    match (&a.data, &b.data) {
        (Data::F32(a), Data::F32(b)) => {
            a.iter().zip(b).filter(|(a, b)| (**a > 0.0) == (**b > 0.0)).count() as f32 / a.len() as f32
        }
        _ => 1.0,
    }
}
