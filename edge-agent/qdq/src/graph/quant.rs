/// How bytes stand for real numbers: `real = scale × (byte − zero)`. Signed tensors are kept with 128 added to value and
/// zero point, so that all arithmetic is on 0..=255.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Quant {
    /// Above 0 and finite.
    pub(crate) scale: f32,
    pub(crate) zero: u8,
}

impl Quant {
    /// QuantizeLinear: `saturate(round(x / scale) + zero)`, halves to even (ONNX operator QuantizeLinear). A NaN becomes
    /// the zero point, which the standard leaves open.
    pub(crate) fn quantize(self, real: f32) -> u8 {
        let quotient = real / self.scale;
        let steps = if quotient.is_nan() { 0.0 } else { quotient.round_ties_even() };
        (steps + f32::from(self.zero)).clamp(0.0, 255.0) as u8
    }

    /// DequantizeLinear.
    pub(crate) fn dequantize(self, byte: u8) -> f32 {
        (f32::from(byte) - f32::from(self.zero)) * self.scale
    }

    /// What a function of real numbers makes of each byte, in the quantization `to`.
    pub(crate) fn table(self, to: Self, function: impl Fn(f32) -> f32) -> Box<[u8; 256]> {
        Box::new(std::array::from_fn(|byte| to.quantize(function(self.dequantize(byte as u8)))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_go_to_even_and_the_ends_saturate() {
        let quant = Quant { scale: 0.5, zero: 10 };
        assert_eq!([0.25, 0.75, -0.25].map(|x| quant.quantize(x)), [10, 12, 10]);
        assert_eq!([1e9, -1e9, f32::INFINITY, f32::NAN].map(|x| quant.quantize(x)), [255, 0, 255, 10]);
        assert!((0..=255).all(|byte| quant.quantize(quant.dequantize(byte)) == byte));
    }
}
