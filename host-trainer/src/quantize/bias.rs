//! Bias correction (Nagel et al. 2019, arXiv:1906.04721, §4.2): rounded weights ŵ move the mean of what a convolution
//! writes by Σ(ŵ − w)·E\[x\]; the bias takes that back.

use std::collections::BTreeMap;

use super::scheme::QuantizedGraph;
use crate::net::{NodeId, Op};

/// By node that a convolution reads: the mean of each of its channels over images and pixels.
pub type ChannelMeans = BTreeMap<NodeId, Vec<f64>>;

/// Corrects the biases of all integer convolutions whose input's means are known. Zero padding is taken for an ordinary
/// pixel, so that the correction is a little too large at borders.
pub fn correct_bias(quantized: &mut QuantizedGraph, means: &ChannelMeans) {
    let QuantizedGraph { graph, params, scheme } = quantized;
    for (id, integers) in &mut scheme.convolutions {
        let node = graph.node(*id);
        let (Op::Conv2d(conv), Some(means)) = (&node.op, means.get(&node.inputs[0])) else { continue };
        let Some(weight) = params.get(&format!("{}.weight", node.name)) else { continue };
        let rounded = integers.dequantized_weight();
        let [outputs, of_group, rows, cols] = conv.weight_shape();
        let taps = rows * cols;
        let shift = |output: usize| -> f64 {
            let group = output / (outputs / conv.groups);
            let error = |input: usize| -> f64 {
                let first = (output * of_group + input) * taps;
                let pairs = rounded[first..first + taps].iter().zip(&weight.data[first..first + taps]);
                pairs.map(|(rounded, exact)| f64::from(*rounded) - f64::from(*exact)).sum()
            };
            -(0..of_group).map(|input| error(input) * means[group * of_group + input]).sum::<f64>()
        };
        integers.shift_bias(&(0..outputs).map(shift).collect::<Vec<_>>());
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::net::{Graph, GraphBuilder, Params, he_init};
    use crate::quantize::{QuantPlan, Range, quantize};

    fn net(groups: usize) -> (Graph, Params) {
        let (mut g, x) = GraphBuilder::new("g", 4);
        let x = g.conv("body", x, 4, 3, |c| {
            c.bias = true;
            c.groups = groups;
        });
        let x = g.relu("relu", x);
        let x = g.conv("head", x, 1, 1, |c| c.bias = true);
        let graph = g.finish(&[x]);
        let params = he_init(&graph, 5);
        (graph, params)
    }

    #[test]
    fn the_mean_of_a_constant_image_comes_back_for_every_grouping() {
        for groups in [1, 2, 4] {
            let (graph, params) = net(groups);
            let plan = QuantPlan::new(&graph).unwrap();
            let ranges = plan.groups().map(|(g, _)| (g, Range { min: 0.0, max: 8.0 })).collect();
            let mut quantized = quantize(&graph, &params, &ranges, &BTreeSet::new()).unwrap();
            let body = graph.find("body").unwrap();
            // Each channel of the image is one value, stored without error.
            let image = [1.0, 3.0, 0.5, 7.0];
            let output = |weight: &[f32], bias: &[f32]| -> Vec<f64> {
                let of_group = 4 / groups;
                (0..4)
                    .map(|o| {
                        let inputs = &image[o / of_group * of_group..][..of_group];
                        let taps = weight[o * of_group * 9..(o + 1) * of_group * 9].chunks(9);
                        let sum: f64 = taps
                            .zip(inputs)
                            .map(|(w, x)| w.iter().map(|w| f64::from(*w) * x).sum::<f64>())
                            .sum();
                        sum + f64::from(bias[o])
                    })
                    .collect()
            };
            let exact =
                output(&params.get("body.weight").unwrap().data, &params.get("body.bias").unwrap().data);
            let error = |quantized: &QuantizedGraph| -> f64 {
                let conv = &quantized.scheme.convolutions[&body];
                let rounded = output(&conv.dequantized_weight(), &conv.dequantized_bias());
                exact.iter().zip(rounded).map(|(a, b)| (a - b).abs()).sum()
            };
            let before = error(&quantized);
            correct_bias(&mut quantized, &ChannelMeans::from([(NodeId(0), image.to_vec())]));
            let after = error(&quantized);
            assert!(after < before / 20.0, "{groups} groups: {before} {after}");
        }
    }

    #[test]
    fn convolutions_without_means_keep_their_bias() {
        let (graph, params) = net(1);
        let plan = QuantPlan::new(&graph).unwrap();
        let ranges = plan.groups().map(|(g, _)| (g, Range { min: 0.0, max: 8.0 })).collect();
        let mut quantized = quantize(&graph, &params, &ranges, &BTreeSet::new()).unwrap();
        let before = quantized.scheme.clone();
        correct_bias(&mut quantized, &ChannelMeans::new());
        assert_eq!(quantized.scheme, before);
    }
}
