use std::collections::{BTreeMap, BTreeSet};

use tch::{Kind, TchError, Tensor};

use crate::net::NodeId;

/// Fake quantization (Jacob et al. 2018, arXiv:1712.05877, §3): forward passes see values and weights as integers would
/// hold them, gradients pass as if nothing were rounded, and stop where a value is clipped.
#[derive(Clone, Debug, Default)]
pub struct Rounding {
    /// Stored values, by node: scale and zero point of 0..=255.
    pub values: BTreeMap<NodeId, (f32, u8)>,
    /// Convolutions whose weights become −127..=127, one scale an output channel that follows the weights.
    pub weights: BTreeSet<NodeId>,
}

impl Rounding {
    pub(super) fn value(&self, id: NodeId, value: Tensor) -> Result<Tensor, TchError> {
        match self.values.get(&id) {
            Some(&(scale, zero)) => {
                value.f_fake_quantize_per_tensor_affine(f64::from(scale), i64::from(zero), 0, 255)
            }
            None => Ok(value),
        }
    }

    /// None: the weight as it is.
    pub(super) fn weight(&self, id: NodeId, weight: &Tensor) -> Result<Option<Tensor>, TchError> {
        if !self.weights.contains(&id) {
            return Ok(None);
        }
        let largest = weight.f_detach()?.f_abs()?.f_amax([1_i64, 2, 3].as_slice(), false)?;
        let scale = largest.f_div_scalar(127.0)?.f_clamp_min(f64::from(f32::MIN_POSITIVE))?;
        let zero = scale.f_zeros_like()?.f_to_kind(Kind::Int)?;
        weight.f_fake_quantize_per_channel_affine(&scale, &zero, 0, -127, 127).map(Some)
    }
}
