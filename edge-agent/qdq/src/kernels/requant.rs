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

/// The byte nearest to `steps` above `zero`, within bounds.
#[inline(always)]
pub(crate) fn round(steps: f32, zero: u8, (least, most): (u8, u8)) -> u8 {
    let offset = f32::from(zero);
    let steps = steps.max(f32::from(least) - offset).min(f32::from(most) - offset);
    // Within 255 of 0, so that the sum below is exact.
    (steps.round_ties_even() + offset) as u8
}
