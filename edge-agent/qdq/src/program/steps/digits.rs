//! Weights that are real numbers, as digits of 8 bits.
//!
//! A weight becomes a whole number of 21 bits of its output's greatest, and that three digits to the base 128. Their sums of
//! products with bytes are exact, in the same kernels as any, so that the result is the same on every processor and nearer
//! to the exact one than a sum of f32 mostly is: a weight is off by 2⁻²¹ of the greatest at most.

use std::sync::Arc;

use crate::graph::{Convolution, RealConvolution};

/// Digits of a weight.
pub(super) const DIGITS: usize = 3;
/// The base is even, and digits lie around 0: −64 to 63, the first one up to 64.
const BASE: i64 = 128;
/// The greatest number.
const GREATEST: f64 = ((1 << 20) - 1) as f64;

#[derive(Debug)]
pub(super) struct Digits {
    /// `[outputs][inputs × taps]`
    numbers: Vec<i64>,
    /// Of each output, what 1 is.
    step: Vec<f64>,
    bias: Vec<f32>,
}

impl Digits {
    /// For bytes of a scale.
    pub(super) fn of(convolution: &RealConvolution, scale: f32) -> Self {
        let size = convolution.weights.len() / convolution.outputs.max(1);
        let (mut numbers, mut step) = (Vec::with_capacity(convolution.weights.len()), Vec::new());
        for weights in convolution.weights.chunks_exact(size.max(1)) {
            let greatest = weights.iter().map(|weight| f64::from(weight.abs())).fold(0.0, f64::max);
            let unit = if greatest > 0.0 { greatest / GREATEST } else { 1.0 };
            numbers.extend(weights.iter().map(|weight| (f64::from(*weight) / unit).round_ties_even() as i64));
            step.push(unit * f64::from(scale));
        }
        Self { numbers, step, bias: convolution.bias.clone() }
    }

    /// The convolution that sums up every digit.
    pub(super) fn convolution(&self, real: &RealConvolution) -> Convolution {
        let size = real.weights.len() / real.outputs.max(1);
        let outputs = DIGITS * real.outputs;
        let of = |numbers: &[i64], digit: usize| -> Vec<i8> {
            numbers.iter().map(|number| digits(*number)[digit] as i8).collect()
        };
        let rows = self.numbers.chunks_exact(size.max(1));
        Convolution {
            window: real.window,
            groups: real.groups,
            outputs,
            inputs: real.inputs,
            weights: Arc::new(
                rows.flat_map(|numbers| (0..DIGITS).flat_map(move |digit| of(numbers, digit))).collect(),
            ),
            bias: vec![0; outputs],
            scale: vec![0.0; outputs],
            clamp: (0, 255),
            matrix: false,
        }
    }

    /// An output from the sums of its digits.
    pub(super) fn join(&self, output: usize, sums: [i32; DIGITS]) -> f32 {
        // Whole numbers below 2⁴⁷: each step is exact.
        let sum = sums.iter().fold(0.0, |sum, digit| sum * BASE as f64 + f64::from(*digit));
        (sum * self.step[output] + f64::from(self.bias[output])) as f32
    }
}

/// The highest first.
fn digits(number: i64) -> [i64; DIGITS] {
    let mut rest = number;
    let mut digits = [0; DIGITS];
    for digit in digits.iter_mut().skip(1).rev() {
        *digit = (rest + BASE / 2).rem_euclid(BASE) - BASE / 2;
        rest = (rest - *digit) / BASE;
    }
    digits[0] = rest;
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_small_and_make_up_the_number() {
        let greatest = GREATEST as i64;
        for number in (-greatest..=greatest).step_by(97).chain([greatest, -greatest, 0, 63, 64, -64, -65]) {
            let digits = digits(number);
            assert!(digits.iter().all(|digit| (-64..=64).contains(digit)), "{number} {digits:?}");
            assert_eq!(digits.iter().fold(0, |sum, digit| sum * BASE + digit), number);
        }
    }
}
