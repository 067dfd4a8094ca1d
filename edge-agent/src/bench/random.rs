use tract_onnx::prelude::*;

use crate::engine::{EngineError, OnnxGraph};

/// Pseudo-random values for every input: floats in −1..1, integers 0 or 1 (valid as indices and as flags of
/// any length).
pub(super) fn inputs(graph: &OnnxGraph) -> Result<TVec<TValue>, EngineError> {
    let mut noise = Noise(0x9E37_79B9_7F4A_7C15);
    graph
        .inputs()?
        .into_iter()
        .map(|(name, kind, shape)| {
            let failed = |e: TractError| EngineError::Run(format!("input '{name}': {e}"));
            let count = shape.iter().product();
            let floats = kind.is_float();
            let values: Vec<f32> =
                (0..count).map(|_| if floats { noise.unit() } else { (noise.unit() > 0.0).into() }).collect();
            let tensor = Tensor::from_shape(&shape, &values).map_err(failed)?;
            Ok(tensor.cast_to_dt(kind).map_err(failed)?.into_owned().into_tvalue())
        })
        .collect()
}

/// xorshift64 (Marsaglia 2003): the same values on every run, without a generator among the dependencies.
struct Noise(u64);

impl Noise {
    /// In −1..1.
    fn unit(&mut self) -> f32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 40) as f32 / (1_u32 << 23) as f32 - 1.0
    }
}
