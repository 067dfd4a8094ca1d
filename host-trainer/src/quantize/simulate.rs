//! Runs a quantized network with libtorch, rounding where the ONNX graph stores 8 bits.
//!
//! Convolutions are computed in f32 on the dequantized integers. Where f32 rounds a long sum and the result falls on
//! the edge between two levels, a value may be stored one level off an integer kernel's. Runtimes differ among
//! themselves in the same way. Such differences spread through a deep network, at most to about the size of the
//! quantization noise itself, so judge a method by its masks, not by equal logits.

use std::collections::BTreeMap;

use tch::{Device, TchError, Tensor, no_grad};

use super::scheme::{Affine, QuantizedGraph};
use crate::net::{Mode, NodeId, ParamTensor, Rounding, TorchNet, TorchNetError};

impl QuantizedGraph {
    /// What training must round to learn for these integers.
    pub fn rounding(&self) -> Rounding {
        let values = self.scheme.activations.iter().map(|(id, a)| (*id, (a.scale, a.zero_point)));
        Rounding { values: values.collect(), weights: self.scheme.convolutions.keys().copied().collect() }
    }
}

/// A quantized network on a device.
#[derive(Debug)]
pub struct QuantizedNet {
    net: TorchNet,
    activations: BTreeMap<NodeId, Affine>,
}

impl QuantizedNet {
    /// Puts the network on a device.
    ///
    /// # Errors
    /// If the graph and its parameters do not fit, or the device has no memory left.
    pub fn new(quantized: &QuantizedGraph, device: Device) -> Result<Self, TorchNetError> {
        let QuantizedGraph { graph, params, scheme } = quantized;
        let mut params = params.clone();
        for (id, conv) in &scheme.convolutions {
            let name = &graph.node(*id).name;
            let mut set = |suffix: &str, data: Vec<f32>| {
                if let Some(ParamTensor { data: old, .. }) = params.get_mut(&format!("{name}.{suffix}")) {
                    *old = data;
                }
            };
            set("weight", conv.dequantized_weight());
            set("bias", conv.dequantized_bias());
        }
        let net = TorchNet::from_params(graph, &params, device)?;
        Ok(Self { net, activations: scheme.activations.clone() })
    }

    /// Images `[N, C, H, W]` → logits, without gradients.
    ///
    /// # Errors
    /// As [`TorchNet::forward`].
    pub fn forward(&self, images: &Tensor) -> Result<Tensor, TorchNetError> {
        no_grad(|| {
            self.net.forward_mapped(images, Mode::Eval, &mut |id, value| match self.activations.get(&id) {
                Some(affine) => round_trip(&value, affine),
                None => Ok(value),
            })
        })
    }
}

/// Runs a quantized network once on the CPU. For many images make a [`QuantizedNet`].
///
/// # Errors
/// As [`QuantizedNet::new`] and [`QuantizedNet::forward`].
pub fn forward_quantized(quantized: &QuantizedGraph, images: &Tensor) -> Result<Tensor, TorchNetError> {
    QuantizedNet::new(quantized, Device::Cpu)?.forward(images)
}

/// [`Affine::round_trip`] of every element.
fn round_trip(value: &Tensor, affine: &Affine) -> Result<Tensor, TchError> {
    let zero = f64::from(affine.zero_point);
    value
        .f_div_scalar(f64::from(affine.scale))?
        .f_round_()?
        .f_clamp_(-zero, 255.0 - zero)?
        .f_mul_scalar_(f64::from(affine.scale))
}

#[cfg(test)]
mod tests {
    use tch::Kind;

    use super::*;
    use crate::net::{DeepLabConfig, Width, deeplab_v3_plus, fold_batch_norm, he_init};
    use crate::quantize::{Method, calibrate, quantize};

    #[test]
    fn rounding_with_libtorch_equals_rounding_by_hand() {
        let affine = Affine { scale: 0.0371, zero_point: 100 };
        let values = Tensor::linspace(-6.0, 8.0, 5003, (Kind::Float, Device::Cpu));
        let stored: Vec<f32> = Vec::try_from(round_trip(&values, &affine).unwrap()).unwrap();
        for (value, back) in Vec::<f32>::try_from(values).unwrap().into_iter().zip(stored) {
            assert_eq!(back, affine.round_trip(value));
        }
    }

    #[test]
    fn rounded_training_sees_what_the_integers_give() {
        let graph = deeplab_v3_plus(&DeepLabConfig { width: Width::Quarter, ..DeepLabConfig::default() });
        let (graph, params) = fold_batch_norm(&graph, &he_init(&graph, 1)).unwrap();
        let mut net = TorchNet::from_params(&graph, &params, Device::Cpu).unwrap();
        let x = (Tensor::arange(64 * 64, (Kind::Float, Device::Cpu)) * 0.11).sin().view([1, 1, 64, 64]);
        let ranges = calibrate(&net, [x.shallow_clone()], Method::MinMax).unwrap();
        let quantized = quantize(&graph, &params, &ranges, &Default::default()).unwrap();
        let exact = no_grad(|| net.forward(&x, Mode::Eval)).unwrap();
        net.round(quantized.rounding());
        let rounded = net.forward(&x, Mode::Train).unwrap();
        let stored = forward_quantized(&quantized, &x).unwrap();
        let far = |a: &Tensor, b: &Tensor| (a - b).square().mean(Kind::Double).sqrt().double_value(&[]);
        // Biases are not rounded in training: they hardly are in s32.
        assert!(far(&rounded, &stored) < 0.3 * far(&exact, &stored), "{}", far(&rounded, &stored));
        rounded.mean(Kind::Float).backward();
        assert!(net.trainable().iter().all(|(_, tensor)| tensor.grad().defined()));
    }

    #[test]
    fn logits_stay_close_to_those_in_f32() {
        let graph = deeplab_v3_plus(&DeepLabConfig { width: Width::Quarter, ..DeepLabConfig::default() });
        let (graph, params) = fold_batch_norm(&graph, &he_init(&graph, 1)).unwrap();
        let net = TorchNet::from_params(&graph, &params, Device::Cpu).unwrap();
        let x = (Tensor::arange(64 * 64, (Kind::Float, Device::Cpu)) * 0.11).sin().view([1, 1, 64, 64]);
        let ranges = calibrate(&net, [x.shallow_clone()], Method::MinMax).unwrap();
        let quantized = quantize(&graph, &params, &ranges, &Default::default()).unwrap();
        let exact = no_grad(|| net.forward(&x, crate::net::Mode::Eval)).unwrap();
        let stored = forward_quantized(&quantized, &x).unwrap();
        let error = (&stored - &exact).square().mean(Kind::Double).sqrt().double_value(&[]);
        let spread = exact.std(false).double_value(&[]);
        assert!(error > 0.0 && error < 0.1 * spread, "{error} against {spread}");
    }
}
