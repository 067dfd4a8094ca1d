//! Integers for a network: activations' scales and zero points, weights and biases.

use std::collections::{BTreeMap, BTreeSet};

use super::error::QuantizeError;
use super::histogram::Range;
use super::plan::{QuantPlan, Ranges, Unit};
use crate::net::{Graph, NodeId, Op, Params};

/// value = (stored − zero_point) · scale, stored in 0..=255 (ONNX `DequantizeLinear`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Affine {
    /// Width of a level; positive and finite.
    pub scale: f32,
    /// What stands for 0.
    pub zero_point: u8,
}

impl Affine {
    /// Ranges narrower than this are an activation that is always 0: any scale stores it.
    const DEAD: f32 = 1e-10;

    /// 256 levels over a finite range; 0 is one of them.
    pub fn from_range(range: Range) -> Self {
        let Range { min, max } = Range::including_zero(range.min, range.max);
        // Halves, so that the width of the widest range does not overflow.
        let scale = (max / 255.0) - (min / 255.0);
        if scale * 255.0 < Self::DEAD {
            return Self { scale: 1.0, zero_point: 0 };
        }
        Self { scale, zero_point: (-min / scale).round_ties_even().clamp(0.0, 255.0) as u8 }
    }

    /// ONNX `QuantizeLinear`: nearest level, ties to even, saturating.
    pub fn quantize(&self, value: f32) -> u8 {
        ((value / self.scale).round_ties_even() + f32::from(self.zero_point)).clamp(0.0, 255.0) as u8
    }

    /// ONNX `DequantizeLinear`.
    pub fn dequantize(&self, stored: u8) -> f32 {
        (f32::from(stored) - f32::from(self.zero_point)) * self.scale
    }

    /// The value that comes back after storing.
    pub fn round_trip(&self, value: f32) -> f32 {
        self.dequantize(self.quantize(value))
    }
}

/// The integers of one convolution.
#[derive(Clone, Debug, PartialEq)]
pub struct QuantConv {
    /// `[out, in / groups, kernel rows, kernel cols]`, −127..=127.
    pub weight: Vec<i8>,
    /// By output channel; positive and finite.
    pub weight_scale: Vec<f32>,
    /// By output channel, at `bias_scale`; |bias| ≤ 2²⁴.
    pub bias: Vec<i32>,
    /// By output channel: input scale × weight scale.
    pub bias_scale: Vec<f32>,
}

impl QuantConv {
    /// The largest bias: exact as an f32, and far from where an s32 accumulator would overflow.
    const BIAS_LIMIT: f32 = (1 << 24) as f32;

    /// Quantizes a convolution that reads values at `input_scale`. `weight` is row-major with output channels first.
    fn new(weight: &[f32], bias: &[f32], input_scale: f32) -> Self {
        let taps = weight.len() / bias.len();
        let mut conv = Self {
            weight: Vec::with_capacity(weight.len()),
            weight_scale: Vec::with_capacity(bias.len()),
            bias: Vec::with_capacity(bias.len()),
            bias_scale: Vec::with_capacity(bias.len()),
        };
        for (weights, &bias) in weight.chunks_exact(taps).zip(bias) {
            let largest = weights.iter().fold(0f32, |a, w| a.max(w.abs()));
            // A channel that hardly weighs its input (all zero, or dead after folding) gets its scale from the bias,
            // which would overflow otherwise; its weights round towards 0, below what the bias can resolve.
            let scale = (largest / 127.0).max(bias.abs() / Self::BIAS_LIMIT / input_scale);
            let scale = if scale.is_normal() { scale } else { 1.0 };
            let bias_scale = (scale * input_scale).max(f32::MIN_POSITIVE);
            conv.weight
                .extend(weights.iter().map(|w| (w / scale).round_ties_even().clamp(-127.0, 127.0) as i8));
            conv.weight_scale.push(scale);
            let stored = (bias / bias_scale).round_ties_even();
            conv.bias.push(stored.clamp(-Self::BIAS_LIMIT, Self::BIAS_LIMIT) as i32);
            conv.bias_scale.push(bias_scale);
        }
        conv
    }

    /// The weights as the runtime sees them.
    pub fn dequantized_weight(&self) -> Vec<f32> {
        let taps = self.weight.len() / self.weight_scale.len();
        let channels = self.weight.chunks_exact(taps).zip(&self.weight_scale);
        channels.flat_map(|(ws, s)| ws.iter().map(move |w| f32::from(*w) * s)).collect()
    }

    /// Moves the bias of each output channel by so much, to the nearest step that it can take.
    pub(super) fn shift_bias(&mut self, shifts: &[f64]) {
        for ((bias, scale), shift) in self.bias.iter_mut().zip(&self.bias_scale).zip(shifts) {
            let moved = f64::from(*bias) + (shift / f64::from(*scale)).round_ties_even();
            let limit = f64::from(Self::BIAS_LIMIT);
            *bias = moved.clamp(-limit, limit) as i32;
        }
    }

    /// The bias as the runtime sees it.
    pub fn dequantized_bias(&self) -> Vec<f32> {
        self.bias.iter().zip(&self.bias_scale).map(|(b, s)| *b as f32 * s).collect()
    }
}

/// Everything that quantization adds to a network.
#[derive(Clone, Debug, PartialEq)]
pub struct QuantScheme {
    /// The stored activations, by node.
    pub activations: BTreeMap<NodeId, Affine>,
    /// The convolutions with integer weights, by node. Others keep f32.
    pub convolutions: BTreeMap<NodeId, QuantConv>,
}

impl QuantScheme {
    /// Whether storing this ReLU's output already cuts off what is below 0, so that the runtime needs no ReLU.
    pub fn absorbs(&self, graph: &Graph, id: NodeId) -> bool {
        graph.node(id).op == Op::Relu && self.activations.get(&id).is_some_and(|a| a.zero_point == 0)
    }
}

/// A folded network with its integers.
#[derive(Clone, Debug)]
pub struct QuantizedGraph {
    /// The folded description.
    pub graph: Graph,
    /// Its f32 parameters, which the head still uses.
    pub params: Params,
    /// The integers.
    pub scheme: QuantScheme,
}

/// Quantizes a folded network with ranges from calibrating it, all of it but the units in `kept`.
///
/// # Errors
/// If the parameters are not the graph's or not finite, the graph is not folded, or a range is missing or not finite.
pub fn quantize(
    graph: &Graph,
    params: &Params,
    ranges: &Ranges,
    kept: &BTreeSet<Unit>,
) -> Result<QuantizedGraph, QuantizeError> {
    let plan = QuantPlan::new(graph)?;
    params.check(graph)?;
    let mut activations = BTreeMap::new();
    for (id, node) in graph.iter() {
        let Some(group) = plan.group(id).filter(|group| !kept.contains(&Unit::Values(*group))) else {
            continue;
        };
        let range = ranges.get(&group).ok_or_else(|| QuantizeError::NoData { node: node.name.clone() })?;
        if let Some(&value) = [range.min, range.max].iter().find(|v| !v.is_finite()) {
            return Err(QuantizeError::NotFinite { node: node.name.clone(), value });
        }
        activations.insert(id, Affine::from_range(*range));
    }
    let consumers = graph.consumers();
    let mut convolutions = BTreeMap::new();
    for (id, node) in graph.iter() {
        let Op::Conv2d(conv) = &node.op else { continue };
        if kept.contains(&Unit::Weights(id)) {
            continue;
        }
        // The head writes an output and is not taken in by a stored ReLU.
        let stored = activations.contains_key(&id)
            || consumers[id.0].iter().any(|c| activations.contains_key(c) && !is_conv(graph, *c));
        let (true, Some(input)) = (stored, activations.get(&node.inputs[0])) else { continue };
        let tensor = |suffix: &str| params.get(&format!("{}.{suffix}", node.name)).map(|t| t.data.as_slice());
        let weight = tensor("weight").expect("checked against the graph");
        let none = vec![0.0; conv.out_channels];
        convolutions.insert(id, QuantConv::new(weight, tensor("bias").unwrap_or(&none), input.scale));
    }
    let scheme = QuantScheme { activations, convolutions };
    Ok(QuantizedGraph { graph: graph.clone(), params: params.clone(), scheme })
}

fn is_conv(graph: &Graph, id: NodeId) -> bool {
    matches!(graph.node(id).op, Op::Conv2d(_))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::net::{GraphBuilder, he_init};

    proptest! {
        #[test]
        fn a_value_in_range_comes_back_within_half_a_level_and_zero_exactly(
            min in -1e4f32..0.0, max in 0f32..1e4, at in 0f32..=1.0
        ) {
            let a = Affine::from_range(Range { min, max });
            let value = min + (max - min) * at;
            // The zero point's own rounding moves the ends by up to half a level more.
            prop_assert!((a.round_trip(value) - value).abs() <= a.scale * 1.001);
            prop_assert_eq!(a.round_trip(0.0), 0.0);
        }

        #[test]
        fn weights_come_back_within_half_a_level(weight in prop::collection::vec(-3f32..3.0, 18), bias in -5f32..5.0) {
            let q = QuantConv::new(&weight, &[bias, -bias], 0.02);
            for (i, (w, d)) in weight.iter().zip(q.dequantized_weight()).enumerate() {
                prop_assert!((w - d).abs() <= q.weight_scale[i / 9] * 0.5001);
            }
            for (b, d, s) in [(bias, 0), (-bias, 1)].map(|(b, i)| (b, q.dequantized_bias()[i], q.bias_scale[i])) {
                prop_assert!((b - d).abs() <= s * 0.5001 + b.abs() * 1e-6);
            }
        }
    }

    #[test]
    fn ranges_without_width_and_the_widest_have_usable_scales() {
        for (min, max) in [(0.0, 0.0), (0.0, 1e-12), (-1e-40, 1e-40), (f32::MIN, f32::MAX)] {
            let a = Affine::from_range(Range { min, max });
            assert!(a.scale.is_normal(), "{min} {max}: {a:?}");
            assert_eq!(a.round_trip(0.0), 0.0);
        }
        assert_eq!(Affine::from_range(Range { min: 0.0, max: 2.55 }).zero_point, 0);
        assert_eq!(Affine::from_range(Range { min: -3.0, max: 0.0 }).zero_point, 255);
    }

    #[test]
    fn storing_rounds_ties_to_even_and_saturates() {
        let a = Affine { scale: 0.5, zero_point: 10 };
        assert_eq!([0.25, 0.75, -0.25, 1e9, -1e9].map(|v| a.quantize(v)), [10, 12, 10, 255, 0]);
    }

    #[test]
    fn a_constant_channel_keeps_its_bias_and_no_channel_overflows() {
        let q = QuantConv::new(&[0.0, 0.0, 1e-30, -1e-30, 0.0, 0.0], &[3.7, -250.0, 0.0], 1e-4);
        for (bias, back) in [3.7, -250.0, 0.0].iter().zip(q.dequantized_bias()) {
            assert!((bias - back).abs() <= bias.abs() * 1e-6, "{bias} {back}");
        }
        assert!(q.bias.iter().all(|b| b.abs() <= 1 << 24));
        assert!(q.weight_scale.iter().chain(&q.bias_scale).all(|s| s.is_normal()));
    }

    fn net() -> (Graph, Params, Ranges) {
        let (mut g, x) = GraphBuilder::new("g", 1);
        let x = g.conv("body", x, 2, 3, |c| c.bias = true);
        let x = g.relu("relu", x);
        let x = g.conv("head", x, 1, 1, |c| c.bias = true);
        let graph = g.finish(&[x]);
        let params = he_init(&graph, 1);
        let plan = QuantPlan::new(&graph).unwrap();
        let ranges = plan.groups().map(|(g, _)| (g, Range { min: 0.0, max: 4.0 })).collect();
        (graph, params, ranges)
    }

    #[test]
    fn the_body_is_quantized_and_the_head_is_not() {
        let (graph, params, ranges) = net();
        let q = quantize(&graph, &params, &ranges, &BTreeSet::new()).unwrap();
        let id = |name| graph.find(name).unwrap();
        assert_eq!(q.scheme.activations.keys().copied().collect::<Vec<_>>(), [id("image"), id("relu")]);
        assert_eq!(q.scheme.convolutions.keys().copied().collect::<Vec<_>>(), [id("body")]);
        assert!(q.scheme.absorbs(&graph, id("relu")));
    }

    #[test]
    fn what_is_kept_stays_f32_and_so_does_who_would_need_it_stored() {
        let (graph, params, ranges) = net();
        let id = |name| graph.find(name).unwrap();
        let plan = QuantPlan::new(&graph).unwrap();
        let keep = |unit| quantize(&graph, &params, &ranges, &BTreeSet::from([unit])).unwrap().scheme;
        let weights = keep(Unit::Weights(id("body")));
        assert!(weights.convolutions.is_empty() && weights.activations.len() == 2);
        let values = keep(Unit::Values(plan.group(id("image")).unwrap()));
        assert!(values.convolutions.is_empty() && values.activations.len() == 1);
    }

    #[test]
    fn nan_weights_missing_and_infinite_ranges_are_named() {
        let (graph, mut params, mut ranges) = net();
        let none = BTreeSet::new();
        let missing = quantize(&graph, &params, &Ranges::new(), &none).unwrap_err().to_string();
        assert!(missing.contains("`image`") && missing.contains("calibrate"), "{missing}");
        ranges.values_mut().next().unwrap().max = f32::INFINITY;
        assert!(matches!(quantize(&graph, &params, &ranges, &none), Err(QuantizeError::NotFinite { .. })));
        params.get_mut("body.weight").unwrap().data[3] = f32::NAN;
        let nan = quantize(&graph, &params, &ranges, &none).unwrap_err().to_string();
        assert!(nan.contains("`body.weight` holds NaN"), "{nan}");
    }
}
