use super::op::{Arithmetic, Binary};
use super::quant::Quant;

/// Steps of the output, cut to a range of bytes and rounded, halves to even.
pub(crate) fn to_byte(steps: f32, to: Quant, clamp: (u8, u8)) -> u8 {
    let zero = i32::from(to.zero);
    let [least, most] = [clamp.0, clamp.1].map(|end| f32::from(end) - f32::from(to.zero));
    (steps.max(least).min(most).round_ties_even() as i32 + zero) as u8
}

impl Binary {
    /// Sum: `(a − za) × (sa ÷ so) + (b − zb) × (sb ÷ so)`; product: `((a − za) × (b − zb)) × (sa × sb ÷ so)`; each
    /// operation rounded to f32.
    pub(crate) fn apply(&self, (a, qa): (u8, Quant), (b, qb): (u8, Quant), to: Quant) -> u8 {
        let (a, b) = (i32::from(a) - i32::from(qa.zero), i32::from(b) - i32::from(qb.zero));
        let steps = match self.arithmetic {
            Arithmetic::Add => a as f32 * (qa.scale / to.scale) + b as f32 * (qb.scale / to.scale),
            Arithmetic::Multiply => (a * b) as f32 * (qa.scale * qb.scale / to.scale),
        };
        to_byte(steps, to, self.clamp)
    }
}
