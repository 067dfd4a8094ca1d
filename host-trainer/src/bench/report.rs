use serde::Serialize;

use super::{Bench, BenchError, Memory};

/// A time that was taken several times, seconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Figure {
    /// The middle one: what to expect.
    pub median: f64,
    /// The shortest: the least disturbed by other work.
    pub min: f64,
}

/// What [`measure`] found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BenchReport {
    /// A step on a batch that is ready.
    pub step: Figure,
    /// A batch from the loader.
    pub load: Figure,
    /// A step with the loader.
    pub end_to_end: Figure,
    /// An image decoded and resized into the cache.
    pub first_pass: Figure,
    /// Images a step.
    pub batch: usize,
    /// Of the whole process, at the end.
    pub memory: Memory,
}

/// Measures each part `rounds` times, in turns, over `steps` steps or batches.
///
/// # Errors
/// If a part fails.
pub fn measure(bench: &mut Bench, rounds: u32, steps: u32) -> Result<BenchReport, BenchError> {
    // Caches, allocator and oneDNN's primitives settle.
    bench.step(1)?;
    let mut times: [Vec<f64>; 4] = Default::default();
    for _ in 0..rounds.max(1) {
        let round = [bench.step(steps)?, bench.load(steps)?, bench.end_to_end(steps)?, bench.first_pass()?];
        times.iter_mut().zip(round).for_each(|(times, time)| times.push(time));
    }
    let [step, load, end_to_end, first_pass] = times.map(|times| Figure::of(&times));
    let batch = bench.images_a_step();
    Ok(BenchReport { step, load, end_to_end, first_pass, batch, memory: Memory::now()? })
}

impl Figure {
    /// Of at least one time.
    fn of(times: &[f64]) -> Self {
        let mut times = times.to_vec();
        times.sort_by(f64::total_cmp);
        let middle = times.len() / 2;
        let median =
            if times.len() % 2 == 1 { times[middle] } else { (times[middle - 1] + times[middle]) / 2.0 };
        Self { median, min: times[0] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_or_between_the_two_middle_ones() {
        assert_eq!(Figure::of(&[3.0, 1.0, 2.0]), Figure { median: 2.0, min: 1.0 });
        assert_eq!(Figure::of(&[4.0, 1.0, 2.0, 9.0]), Figure { median: 3.0, min: 1.0 });
    }
}
