use proptest::prelude::*;

use super::*;
use crate::kernels::Requant;

#[derive(Clone, Debug)]
struct Case {
    /// Rows and columns of the input, and of the window.
    size: [usize; 2],
    kernel: [usize; 2],
    dilation: usize,
    pad: usize,
    stride: usize,
    channels: usize,
    gap: usize,
    /// Row of the window's top in the input, negative above it.
    top: isize,
    input: Vec<u8>,
    weights: Vec<i8>,
    requant: Requant,
    zero: u8,
}

fn case() -> impl Strategy<Value = Case> {
    // What nearly all have, which the kernels treat apart, is half of the cases.
    let kernel = prop_oneof![Just((3, 3)), (1..6usize, 1..6usize)];
    let mostly_one = || prop_oneof![Just(1), 1..4usize];
    let shape = ((1..6usize, 1..14usize), kernel, mostly_one(), 0..5usize, mostly_one());
    let channels = if cfg!(miri) { 40 } else { 150usize };
    (shape, 1..channels, 0..20usize, -4..6isize).prop_flat_map(
        |(((h, w), (kh, kw), dilation, pad, stride), channels, gap, top)| {
            let bytes = prop::collection::vec(
                prop_oneof![Just(0u8), Just(255), any::<u8>()],
                h * w * (channels + gap),
            );
            let weights =
                prop::collection::vec(prop_oneof![Just(-128i8), Just(127), any::<i8>()], channels * kh * kw);
            let bias = prop::collection::vec(-100_000..100_000, channels);
            let scale = prop::collection::vec(1e-5f32..0.02, channels);
            let bounds = any::<(u8, u8)>().prop_map(|(a, b)| (b, (a.min(b), a.max(b).max(200))));
            let bounds = prop_oneof![Just((0, (0, 255))), bounds];
            (bytes, weights, bias, scale, any::<u8>(), bounds).prop_map(
                move |(input, weights, bias, scale, zero, (to_zero, clamp))| Case {
                    size: [h, w],
                    kernel: [kh, kw],
                    dilation,
                    pad,
                    stride,
                    channels,
                    gap,
                    top,
                    input,
                    weights,
                    requant: Requant { bias, scale, zero: to_zero, clamp },
                    zero,
                },
            )
        },
    )
}

impl Case {
    fn width(&self) -> usize {
        let extent = (self.kernel[1] - 1) * self.dilation + 1;
        (self.size[1] + 2 * self.pad).checked_sub(extent).map_or(0, |room| room / self.stride + 1)
    }

    fn run(&self, isa: Isa) -> Vec<u8> {
        let [h, w] = self.size;
        let [kh, kw] = self.kernel;
        let pixel = self.channels + self.gap;
        let taps: Vec<Tap> = (0..kh * kw)
            .map(|tap| {
                let row = self.top + (tap / kw * self.dilation) as isize;
                let row = usize::try_from(row).ok().filter(|row| *row < h).map(|row| row * w * pixel);
                Tap { row, column: (tap % kw * self.dilation) as isize - self.pad as isize }
            })
            .collect();
        let weights = Weights::pack(isa, self.channels, kh * kw, &self.requant, |c, tap| {
            self.weights[c * kh * kw + tap]
        });
        let mut output = vec![77; self.width() * pixel];
        let mut job = Row {
            input: &self.input,
            blank: &vec![self.zero; w * pixel],
            columns: w,
            pixel,
            stride: self.stride,
            taps: &taps,
            weights: &weights,
            width: self.width(),
            output: &mut output,
            step: pixel,
        };
        row(isa, &mut job);
        output
    }

    fn expected(&self) -> Vec<u8> {
        let [h, w] = self.size.map(|side| side as isize);
        let [kh, kw] = self.kernel;
        let pixel = self.channels + self.gap;
        let mut output = vec![77; self.width() * pixel];
        for x in 0..self.width() {
            for channel in 0..self.channels {
                let mut sum = self.requant.bias[channel];
                for tap in 0..kh * kw {
                    let row = self.top + (tap / kw * self.dilation) as isize;
                    let column = (x * self.stride + tap % kw * self.dilation) as isize - self.pad as isize;
                    let byte = match (0..h).contains(&row) && (0..w).contains(&column) {
                        true => self.input[(row * w + column) as usize * pixel + channel],
                        false => self.zero,
                    };
                    sum += i32::from(byte) * i32::from(self.weights[channel * kh * kw + tap]);
                }
                output[x * pixel + channel] = self.requant.byte(channel, sum);
            }
        }
        output
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 4 } else { 256 }))]
    #[test]
    fn every_instruction_set_computes_the_definition_to_the_last_bit(case in case()) {
        for isa in Isa::ALL.into_iter().filter(|isa| isa.is_here()) {
            prop_assert_eq!(case.run(isa), case.expected(), "{}", isa);
        }
    }
}
