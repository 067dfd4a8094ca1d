//! Where the time goes, for benches. Not part of the stable interface.

use crate::port::{Sink, Source};
use crate::{Element, Isa, Session};

/// An operator's share of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerTime {
    /// The ONNX node, or the tensor that is brought in or out.
    pub name: String,
    /// `conv3x3`, `depthwise3x3`, or how reports call the operator.
    pub kind: String,
    /// Multiplications of the definition, without any padding; 0 for what is no convolution.
    pub macs: u64,
    /// The shortest time of all runs.
    pub seconds: f64,
}

impl Session {
    /// The times of all operators in the order in which they run, of so many runs on zeros.
    pub fn profile(&mut self, runs: usize) -> Vec<LayerTime> {
        let numbers: Vec<Vec<f32>> = self.inputs.iter().map(|end| vec![0.0; end.len()]).collect();
        let bytes: Vec<Vec<u8>> = self.inputs.iter().map(|end| vec![0; end.len()]).collect();
        let inputs: Vec<Source<'_>> = self
            .inputs
            .iter()
            .enumerate()
            .map(|(i, end)| match end.element {
                Element::F32 => Source::Real(&numbers[i]),
                Element::U8 | Element::I8 => Source::Bytes(&bytes[i]),
            })
            .collect();
        let mut made: Vec<(Vec<f32>, Vec<u8>)> =
            self.outputs.iter().map(|end| (vec![0.0; end.len()], vec![0; end.len()])).collect();
        let mut best: Vec<LayerTime> = Vec::new();
        for _ in 0..runs.max(1) {
            let mut outputs: Vec<Sink<'_>> = self
                .outputs
                .iter()
                .zip(&mut made)
                .map(|(end, (numbers, bytes))| match end.element {
                    Element::F32 => Sink::Real(numbers),
                    Element::U8 | Element::I8 => Sink::Bytes(bytes),
                })
                .collect();
            let times = self.program.times(&mut self.workspace, &self.pool, &inputs, &mut outputs);
            if best.is_empty() {
                best = times;
            } else {
                best.iter_mut().zip(times).for_each(|(best, time)| best.seconds = best.seconds.min(time.seconds));
            }
        }
        best
    }
}

#[cfg(target_arch = "x86_64")]
const LOOPS: usize = 100_000;

/// Multiplications with addition that one core does a second in 8 bits, measured by a loop of nothing else; none for sets
/// without an instruction for it.
pub fn peak(isa: Isa) -> Option<f64> {
    if !isa.is_here() {
        return None;
    }
    match isa {
        // SAFETY: the processor has it.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512Vnni => best(64 * x86::SUMS, || unsafe { x86::vnni(LOOPS) }),
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => best(16 * x86::SUMS_AVX2, || unsafe { x86::avx2(LOOPS) }),
        _ => None,
    }
}

/// Of the shortest of 20 runs.
#[cfg(target_arch = "x86_64")]
fn best(products: usize, run: impl Fn()) -> Option<f64> {
    let times = (0..20).map(|_| {
        let start = std::time::Instant::now();
        run();
        start.elapsed().as_secs_f64()
    });
    Some((products * LOOPS) as f64 / times.fold(f64::INFINITY, f64::min))
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;
    use std::hint::black_box;

    /// Independent sums: more than the latency of an instruction.
    pub(super) const SUMS: usize = 24;
    pub(super) const SUMS_AVX2: usize = 12;

    #[target_feature(enable = "avx512f,avx512vnni")]
    pub(super) fn vnni(loops: usize) {
        let mut sums = [_mm512_setzero_si512(); SUMS];
        let (bytes, weights) = black_box((_mm512_set1_epi8(3), _mm512_set1_epi8(5)));
        for _ in 0..loops {
            for sum in &mut sums {
                *sum = _mm512_dpbusd_epi32(*sum, bytes, weights);
            }
        }
        black_box(sums);
    }

    /// Products of 16-bit pairs, and their sums, as the kernels do.
    #[target_feature(enable = "avx2")]
    pub(super) fn avx2(loops: usize) {
        let mut sums = [_mm256_setzero_si256(); SUMS_AVX2];
        let (mut bytes, weights) = black_box((_mm256_set1_epi16(3), _mm256_set1_epi16(5)));
        for _ in 0..loops {
            // Else the products are the same in every loop, and computed once.
            bytes = black_box(bytes);
            for sum in &mut sums {
                *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(bytes, weights));
            }
        }
        black_box(sums);
    }
}
