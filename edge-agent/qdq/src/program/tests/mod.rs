//! Random islands, computed by programs in every instruction set and by the reference.

mod net;

use net::Net;
use proptest::prelude::*;

use super::*;
use crate::reference::{Data, evaluate};

fn check(seed: u64, size: usize, everything: bool) -> Result<(), TestCaseError> {
    let mut net = Net::new(seed);
    (0..size).for_each(|_| net.grow());
    if net.dice.chance(40) {
        net.head();
    }
    let made: Vec<usize> = net.island.nodes.iter().map(|node| node.output).collect();
    let Some(last) = made.last() else { return Ok(()) };
    net.island.outputs = if everything { made.clone() } else { vec![*last] };
    let input = net.input();
    let expected = evaluate(&net.island, std::slice::from_ref(&input)).map_err(TestCaseError::fail)?;
    let source = match &input.data {
        Data::Real(values) => Source::Real(values),
        Data::Bytes(bytes) => Source::Bytes(bytes),
    };
    let mut first: Option<Vec<Data>> = None;
    for isa in Isa::ALL.into_iter().filter(|isa| isa.is_here()) {
        let program = Program::new(&net.island, &net.shapes[..1], isa).map_err(TestCaseError::fail)?;
        let mut workspace = program.workspace();
        for threads in [1, 3] {
            let pool = Pool::new(threads);
            let mut outputs: Vec<Data> = expected
                .iter()
                .map(|tensor| match &tensor.data {
                    Data::Real(values) => Data::Real(vec![f32::NAN; values.len()]),
                    Data::Bytes(bytes) => Data::Bytes(vec![99; bytes.len()]),
                })
                .collect();
            let mut sinks: Vec<Sink<'_>> = outputs
                .iter_mut()
                .map(|data| match data {
                    Data::Real(values) => Sink::Real(values),
                    Data::Bytes(bytes) => Sink::Bytes(bytes),
                })
                .collect();
            program.run(&mut workspace, &pool, &[source], &mut sinks);
            for ((output, tensor), value) in outputs.iter().zip(&expected).zip(&net.island.outputs) {
                let node =
                    net.island.nodes.iter().find(|node| node.output == *value).expect("a node made it");
                let same = match (output, &tensor.data) {
                    (Data::Bytes(a), Data::Bytes(b)) => a == b,
                    (Data::Real(a), Data::Real(b)) => {
                        a.iter().zip(b).all(|(a, b)| (a - b).abs() <= 1e-3 + 1e-4 * b.abs())
                    }
                    _ => false,
                };
                prop_assert!(
                    same,
                    "{} on {isa} with {threads} threads: {:?} of {:?}",
                    node.name,
                    node.op.name(),
                    net.shapes
                );
            }
            // The order of sums of real numbers is the same in all sets.
            match &first {
                Some(first) => prop_assert!(*first == outputs, "{isa} differs from the scalar"),
                None => first = Some(outputs),
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 2 } else { 400 }, max_shrink_iters: 400, ..ProptestConfig::default() })]

    #[test]
    fn every_value_of_an_island_is_the_references(seed: u64, size in 1..12usize) {
        check(seed, size, true)?;
    }

    /// Memory is used again, unlike where every value is an output.
    #[test]
    fn the_last_value_of_an_island_is_the_references(seed: u64, size in 1..30usize) {
        check(seed, size, false)?;
    }
}

#[test]
fn bands_share_lines_evenly() {
    assert_eq!([1, 20, 17, 160, 3].map(|lines| bands(lines, 2, usize::MAX)), [1, 10, 6, 16, 3]);
    // Memory for eight bands only.
    assert_eq!([20, 80].map(|lines| bands(lines, 2, 8)), [4, 8]);
    assert_eq!((bands(0, 2, 8), bands(0, 1, 8), bands(9, 1, 8), bands(9, 3, 1)), (0, 0, 1, 1));
}
