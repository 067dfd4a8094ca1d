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

#[test]
fn layers_are_within_a_quantum_of_onnxruntime() {
    let Some(folders) = suite::folders() else { return };
    let mut failures = Vec::new();
    for folder in folders {
        let graph = Graph::read(&folder);
        let lowered = run::lowered(&graph.model);
        let report = lowered.report().clone();
        let session = run::by_session(&lowered, &graph.inputs, &graph.tensors);
        let outputs = run::by_tract(lowered, &graph.inputs, &graph.tensors);
        if let Some(session) = session {
            let same = session.iter().zip(&outputs).all(|(a, b)| distance(a, b).most == 0.0);
            assert!(same, "{}: tract and a session differ", graph.name);
        }
        let mut worst = (Distance::default(), String::new());
        let mut most_differing = 0.0f32;
        let mut layers = 0;
        for (target, expected) in &graph.tensors {
            if graph.inputs.contains(target) {
                continue;
            }
            let (model, inputs) = cut::layer(&graph, target);
            let lowered = run::lowered(&model);
            let found = run::by_session(&lowered, &inputs, &graph.tensors)
                .unwrap_or_else(|| run::by_tract(lowered, &inputs, &graph.tensors));
            let apart = distance(&found[0], expected);
            let limit = if matches!(expected.data, Data::F32(_)) { 1e-4 } else { 1.0 };
            if apart.most > limit {
                failures.push(format!("{}: {target}: {apart:?}", graph.name));
            }
            layers += 1;
            most_differing = most_differing.max(apart.differing);
            if apart.most > worst.0.most {
                worst = (apart, target.clone());
            }
        }
        let ends: Vec<String> = graph
            .outputs
            .iter()
            .zip(&outputs)
            .map(|(name, found)| {
                let (plain, optimized) = (&graph.tensors[name], &graph.optimized[name]);
                format!(
                    "{:.4} {:.4}%/{:.4} {:.4}% (own {:.4} {:.4}%)",
                    distance(found, plain).most,
                    100.0 * agreement(found, plain),
                    distance(found, optimized).most,
                    100.0 * agreement(found, optimized),
                    distance(plain, optimized).most,
                    100.0 * agreement(plain, optimized),
                )
            })
            .collect();
        println!(
            "{}: {} islands, {} left; {layers} layers, worst {:?} at {:?}, differing {most_differing:.5}; ends {}",
            graph.name,
            report.islands(),
            report.left.len(),
            worst.0.most,
            worst.1,
            ends.join(", "),
        );
        report.left.iter().for_each(|node| println!("    {}: {}", node.name, node.reason));
    }
    assert!(failures.is_empty(), "{} layers differ:\n{}", failures.len(), failures.join("\n"));
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
