/// From sums of products to bytes: `clamp(round(sum × scale) + zero)`, halves to even.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Requant {
    /// Of each output, what is added to its sum; filled up to whole blocks.
    pub(crate) bias: Vec<i32>,
    /// Of each output, filled up alike.
    pub(crate) scale: Vec<f32>,
    pub(crate) zero: u8,
    /// The least and the greatest byte.
    pub(crate) clamp: (u8, u8),
}

impl Requant {
    /// The byte of an output's sum. The bounds are whole numbers, so that it does not matter whether one rounds or clamps
    /// first.
    #[inline(always)]
    pub(crate) fn byte(&self, output: usize, sum: i32) -> u8 {
        round(sum as f32 * self.scale[output], self.zero, self.clamp)
    }
}

/// Added to a number within ±2²² it leaves no bit behind the point: rounds to the nearest whole number, halves to even.
const WHOLE: f32 = 12_582_912.0; // 1.5 × 2²³

/// The byte nearest to `steps` above `zero`, halves to even, within bounds; NaN counts as the least.
///
/// Every operation of it is one of any instruction set, so that loops of it become vectors.
#[inline(always)]
pub(crate) fn round(steps: f32, zero: u8, (least, most): (u8, u8)) -> u8 {
    let offset = f32::from(zero);
    let (least, most) = (f32::from(least) - offset, f32::from(most) - offset);
    let steps = if steps > least { steps } else { least };
    let steps = if steps < most { steps } else { most };
    // The last bits of the sum are those of the whole number.
    ((steps + WHOLE).to_bits() as u8).wrapping_add(zero)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_go_to_even_and_bounds_hold() {
        for zero in [0, 7, 128, 255] {
            for at in -3000..3000 {
                let steps = at as f32 / 8.0;
                let plain = (f64::from(steps).round_ties_even() + f64::from(zero)).clamp(3.0, 250.0) as u8;
                assert_eq!(round(steps, zero, (3, 250)), plain, "{steps} above {zero}");
            }
            let ends = [f32::INFINITY, f32::NEG_INFINITY, f32::NAN, 1e30].map(|steps| round(steps, zero, (3, 250)));
            assert_eq!(ends, [250, 3, 3, 250]);
        }
    }
}
