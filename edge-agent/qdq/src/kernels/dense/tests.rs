use proptest::prelude::*;

use super::*;

/// A window over random bytes with extremes, and what a row of it must be.
#[derive(Clone, Debug)]
struct Case {
    input: Vec<u8>,
    step: usize,
    /// Offset and quads of each, and quads of weights before its own that no segment reads.
    segments: Vec<(usize, usize, usize)>,
    outputs: usize,
    width: usize,
    weights: Vec<i8>,
    requant: Requant,
    out_step: usize,
}

fn extreme_or_any<T: Clone + std::fmt::Debug + 'static>(
    extremes: &'static [T],
    any: impl Strategy<Value = T> + 'static,
) -> BoxedStrategy<T> {
    prop_oneof![1 => prop::sample::select(extremes), 2 => any].boxed()
}

fn case() -> impl Strategy<Value = Case> {
    // Miri takes minutes for what takes milliseconds.
    let (most, outputs, width) = if cfg!(miri) { (3, 20, 7) } else { (5, 70usize, 30usize) };
    let segments = prop::collection::vec((0..40usize, 1..9usize, 0..3usize), 0..most);
    (segments, 1..outputs, 1..width, 0..40usize, 0..20usize).prop_flat_map(
        |(segments, outputs, width, step, gap)| {
            let reach = segments.iter().map(|(offset, quads, _)| offset + 4 * quads).max().unwrap_or(0);
            let quads: usize = segments.iter().map(|(_, quads, hole)| hole + quads).sum();
            let blocks = outputs.div_ceil(BLOCK) * BLOCK;
            let bytes = prop::collection::vec(
                extreme_or_any(&[0, 255], any::<u8>()),
                5 + reach + width.saturating_sub(1) * step,
            );
            let weights =
                prop::collection::vec(extreme_or_any(&[-128, 127], any::<i8>()), outputs * quads * 4);
            let bias = prop::collection::vec(
                extreme_or_any(&[-1_000_000_000, 1_000_000_000], -50_000..50_000),
                blocks,
            );
            let scale = prop::collection::vec(extreme_or_any(&[1.0, 0.5, 1e-9], 1e-5f32..0.02), blocks);
            let clamp = (any::<u8>(), any::<u8>()).prop_map(|(a, b)| (a.min(b), a.max(b)));
            let clamp = prop_oneof![Just((0, 255)), clamp];
            (bytes, weights, bias, scale, any::<u8>(), clamp).prop_map(
                move |(input, weights, bias, scale, zero, clamp)| Case {
                    input,
                    step,
                    segments: segments.clone(),
                    outputs,
                    width,
                    weights,
                    requant: Requant { bias, scale, zero, clamp },
                    out_step: outputs + gap,
                },
            )
        },
    )
}

/// Weights as they stand.
fn in_order(quads: usize) -> Vec<[u32; 4]> {
    (0..quads as u32).map(|quad| [0, 1, 2, 3].map(|byte| 4 * quad + byte)).collect()
}

impl Case {
    fn run(&self, isa: Isa, sums: bool) -> (Vec<u8>, Vec<i32>) {
        let mut quads = 0;
        let list = self.segments.iter().map(|(offset, count, hole)| {
            quads += hole;
            let segment = Segment { offset: *offset, quads: *count, weights: quads };
            quads += count;
            segment
        });
        let segments = Segments::new(list.collect());
        let panels = Panels::pack(self.outputs, &self.weights, &in_order(quads));
        let blocks = panels.blocks() * BLOCK;
        // What lies between pixels must stay.
        let mut bytes = vec![77; self.width * self.out_step];
        let mut all = vec![0; self.width * blocks];
        let output = match sums {
            true => Output::Sums { sums: &mut all, step: blocks },
            false => Output::Bytes { bytes: &mut bytes, step: self.out_step },
        };
        let mut job = Row {
            input: &self.input,
            at: 3,
            step: self.step,
            segments: &segments,
            weights: &panels,
            requant: &self.requant,
            width: self.width,
            blocks: 0..panels.blocks(),
            output,
        };
        row(isa, &mut job);
        (bytes, all)
    }

    /// Straight from the definition.
    fn expected(&self) -> (Vec<u8>, Vec<i32>) {
        let quads: usize = self.segments.iter().map(|(_, quads, hole)| hole + quads).sum();
        let blocks = self.outputs.div_ceil(BLOCK) * BLOCK;
        let mut bytes = vec![77; self.width * self.out_step];
        let mut sums = Vec::new();
        for x in 0..self.width {
            for output in 0..blocks {
                let window = self.segments.iter().flat_map(|(offset, quads, hole)| {
                    let bytes = &self.input[3 + x * self.step + offset..][..4 * quads];
                    std::iter::repeat_n(&0, 4 * hole).chain(bytes).copied()
                });
                let weights = if output < self.outputs { &self.weights[output * quads * 4..] } else { &[] };
                let sum = window.zip(weights).map(|(x, w)| i32::from(x) * i32::from(*w)).sum::<i32>()
                    + self.requant.bias[output];
                sums.push(sum);
                if output < self.outputs {
                    let steps = sum as f32 * self.requant.scale[output];
                    let byte = f64::from(steps.round_ties_even()) + f64::from(self.requant.zero);
                    let (least, most) = self.requant.clamp;
                    bytes[x * self.out_step + output] = byte.clamp(least.into(), most.into()) as u8;
                }
            }
        }
        (bytes, sums)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 4 } else { 256 }))]
    #[test]
    fn every_instruction_set_computes_the_definition_to_the_last_bit(case in case()) {
        let (bytes, sums) = case.expected();
        for isa in Isa::ALL.into_iter().filter(|isa| isa.is_here()) {
            prop_assert_eq!(&case.run(isa, false).0, &bytes, "{}", isa);
            prop_assert_eq!(&case.run(isa, true).1, &sums, "{}", isa);
        }
    }
}

#[test]
fn tiles_are_of_nearly_the_same_size() {
    assert_eq!(tiles(20, 12).collect::<Vec<_>>(), [(0, 10), (10, 10)]);
    assert_eq!(tiles(25, 12).map(|(_, n)| n).collect::<Vec<_>>(), [8, 8, 9]);
    assert_eq!(tiles(0, 12).count(), 0);
}

#[test]
#[should_panic(expected = "leaves its tensors")]
fn a_row_that_reads_past_its_input_is_refused() {
    let requant = Requant { bias: vec![0; 16], scale: vec![1.0; 16], zero: 0, clamp: (0, 255) };
    let panels = Panels::pack(16, &[1; 64], &in_order(1));
    let segments = Segments::new(vec![Segment { offset: 1, quads: 1, weights: 0 }]);
    let mut bytes = [0; 16];
    row(
        Isa::best(),
        &mut Row {
            input: &[0; 4],
            at: 0,
            step: 1,
            segments: &segments,
            weights: &panels,
            requant: &requant,
            width: 1,
            blocks: 0..1,
            output: Output::Bytes { bytes: &mut bytes, step: 16 },
        },
    );
}
