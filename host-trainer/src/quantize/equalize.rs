//! Cross-layer equalization (Nagel et al. 2019, Data-Free Quantization Through Weight Equalization and Bias Correction,
//! arXiv:1906.04721, §4.1): a channel that one convolution writes large and the next one weighs little is made smaller
//! by the one and weightier by the other. The network computes the same, and a channel no longer drowns beside its
//! neighbours, which share its tensor's scale.

use crate::net::{Conv2d, Graph, NodeId, Op, Params};

/// Rounds over all pairs, at most: scales of a chain of convolutions settle geometrically.
const ROUNDS: usize = 40;
/// Factors this close to 1 end it.
const SETTLED: f32 = 1e-3;

/// A convolution whose channels one other convolution alone reads, through operations that let a positive factor pass.
#[derive(Clone, Copy, Debug)]
struct Pair<'a> {
    writer: (&'a str, &'a Conv2d),
    reader: (&'a str, &'a Conv2d),
}

/// Equalizes a folded network with parameters of its own; gives the new parameters and how many pairs there are.
pub fn equalize(graph: &Graph, params: &Params) -> (Params, usize) {
    let pairs = pairs(graph);
    let mut params = params.clone();
    for _ in 0..ROUNDS {
        let moved: Vec<f32> = pairs.iter().map(|pair| pair.equalize(&mut params)).collect();
        if moved.into_iter().all(|most| most < SETTLED) {
            break;
        }
    }
    (params, pairs.len())
}

fn pairs(graph: &Graph) -> Vec<Pair<'_>> {
    let consumers = graph.consumers();
    let is_output = |id: NodeId| graph.outputs.contains(&id);
    let pair = |(id, node): (NodeId, &'_ crate::net::Node)| {
        let Op::Conv2d(_) = &node.op else { return None };
        let mut at = id;
        loop {
            let &[reader] = &consumers[at.0][..] else { return None };
            if is_output(at) {
                return None;
            }
            match &graph.node(reader).op {
                Op::Conv2d(_) => return Some((id, reader)),
                // Of each channel by itself, and f(s·x) = s·f(x) for s > 0.
                Op::Relu | Op::MaxPool2d(_) | Op::AvgPool2d(_) | Op::GlobalAveragePool | Op::Resize(_) => {
                    at = reader;
                }
                _ => return None,
            }
        }
    };
    let conv = |id: NodeId| match graph.node(id) {
        crate::net::Node { name, op: Op::Conv2d(conv), .. } => Some((name.as_str(), conv)),
        _ => None,
    };
    let found = graph.iter().filter_map(pair);
    found.filter_map(|(w, r)| Some(Pair { writer: conv(w)?, reader: conv(r)? })).collect()
}

impl Pair<'_> {
    /// Evens out both; gives the largest |factor − 1|.
    fn equalize(&self, params: &mut Params) -> f32 {
        let channels = self.writer.1.out_channels;
        let mut written = vec![0f32; channels];
        let mut read = vec![0f32; channels];
        self.each_written(params, |channel, w| written[channel] = written[channel].max(w.abs()));
        self.each_read(params, |channel, w| read[channel] = read[channel].max(w.abs()));
        let factor = |(&w, &r): (&f32, &f32)| {
            let factor = (r / w).sqrt();
            // A channel that is not written or not read has nothing to even out.
            if factor.is_normal() { factor } else { 1.0 }
        };
        let factors: Vec<f32> = written.iter().zip(&read).map(factor).collect();
        self.each_written(params, |channel, w| *w *= factors[channel]);
        self.each_read(params, |channel, w| *w /= factors[channel]);
        if let Some(bias) = params.get_mut(&format!("{}.bias", self.writer.0)) {
            bias.data.iter_mut().zip(&factors).for_each(|(b, factor)| *b *= factor);
        }
        factors.iter().fold(0.0, |most, factor| most.max((factor - 1.0).abs()))
    }

    /// Visits the weights that write each channel.
    fn each_written(&self, params: &mut Params, mut visit: impl FnMut(usize, &mut f32)) {
        let Some(weight) = params.get_mut(&format!("{}.weight", self.writer.0)) else { return };
        let taps = weight.data.len() / self.writer.1.out_channels;
        for (channel, weights) in weight.data.chunks_exact_mut(taps).enumerate() {
            weights.iter_mut().for_each(|w| visit(channel, w));
        }
    }

    /// Visits the weights that read each channel.
    fn each_read(&self, params: &mut Params, mut visit: impl FnMut(usize, &mut f32)) {
        let (name, conv) = self.reader;
        let Some(weight) = params.get_mut(&format!("{name}.weight")) else { return };
        let [outputs, of_group, rows, cols] = conv.weight_shape();
        let outputs_of_group = outputs / conv.groups;
        for (i, weights) in weight.data.chunks_exact_mut(rows * cols).enumerate() {
            let (output, input) = (i / of_group, i % of_group);
            let channel = output / outputs_of_group * of_group + input;
            weights.iter_mut().for_each(|w| visit(channel, w));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::{
        DeepLabConfig, GraphBuilder, ParamTensor, Width, deeplab_v3_plus, fold_batch_norm, he_init,
    };

    fn largest(params: &Params, name: &str, channels: usize) -> Vec<f32> {
        let data = &params.get(name).unwrap().data;
        data.chunks(data.len() / channels).map(|c| c.iter().fold(0f32, |a, w| a.max(w.abs()))).collect()
    }

    #[test]
    fn both_sides_of_a_channel_become_equally_large_by_hand() {
        let (mut g, x) = GraphBuilder::new("g", 1);
        let x = g.conv("a", x, 2, 1, |c| c.bias = true);
        let x = g.relu("r", x);
        let x = g.conv("b", x, 1, 1, |_| ());
        let graph = g.finish(&[x]);
        let params: Params = [
            ("a.weight", vec![2, 1, 1, 1], vec![8.0, 0.5]),
            ("a.bias", vec![2], vec![4.0, 1.0]),
            ("b.weight", vec![1, 2, 1, 1], vec![0.5, 2.0]),
        ]
        .map(|(name, shape, data)| (name.to_owned(), ParamTensor::new(shape, data)))
        .into_iter()
        .collect();
        let (even, pairs) = equalize(&graph, &params);
        assert_eq!(pairs, 1);
        assert_eq!(even.get("a.weight").unwrap().data, [2.0, 1.0]);
        assert_eq!(even.get("a.bias").unwrap().data, [1.0, 2.0]);
        assert_eq!(even.get("b.weight").unwrap().data, [2.0, 1.0]);
    }

    #[test]
    fn channels_that_nobody_writes_or_reads_stay_as_they_are() {
        let (mut g, x) = GraphBuilder::new("g", 1);
        let x = g.conv("a", x, 3, 1, |_| ());
        let x = g.conv("b", x, 1, 1, |_| ());
        let graph = g.finish(&[x]);
        let params: Params = [
            ("a.weight", vec![3, 1, 1, 1], vec![0.0, 3.0, f32::MIN_POSITIVE]),
            ("b.weight", vec![1, 3, 1, 1], vec![2.0, 0.0, f32::MAX]),
        ]
        .map(|(name, shape, data)| (name.to_owned(), ParamTensor::new(shape, data)))
        .into_iter()
        .collect();
        let (even, _) = equalize(&graph, &params);
        assert_eq!(even.get("a.weight").unwrap().data[..2], [0.0, 3.0]);
        assert!(even.iter().all(|(_, tensor)| tensor.data.iter().all(|v| v.is_finite())));
    }

    #[test]
    fn depthwise_and_grouped_readers_find_their_channels() {
        for groups in [4, 2] {
            let (mut g, x) = GraphBuilder::new("g", 1);
            let x = g.conv("a", x, 4, 1, |_| ());
            let x = g.relu("r", x);
            let x = g.conv("b", x, 4, 3, |c| c.groups = groups);
            let graph = g.finish(&[x]);
            let mut params = he_init(&graph, 1);
            params.get_mut("a.weight").unwrap().data.copy_from_slice(&[100.0, 1.0, 0.01, 5.0]);
            let (even, _) = equalize(&graph, &params);
            let written = largest(&even, "a.weight", 4);
            // By input channel: transpose the groups' blocks.
            let weight = &even.get("b.weight").unwrap().data;
            let of_group = 4 / groups;
            let mut read = [0f32; 4];
            for (i, taps) in weight.chunks(9).enumerate() {
                let channel = (i / of_group) / of_group * of_group + i % of_group;
                read[channel] = taps.iter().fold(read[channel], |a, w| a.max(w.abs()));
            }
            for (w, r) in written.iter().zip(read) {
                assert!((w / r - 1.0).abs() < 1e-2, "{written:?} {read:?}");
            }
        }
    }

    #[test]
    fn residual_sums_and_concatenations_are_left_alone() {
        let graph = deeplab_v3_plus(&DeepLabConfig { width: Width::Quarter, ..DeepLabConfig::default() });
        let (graph, _) = fold_batch_norm(&graph, &he_init(&graph, 1)).unwrap();
        let found = pairs(&graph);
        let has = |writer: &str| found.iter().any(|pair| pair.writer.0 == writer);
        assert!(
            has("encoder.layer1.0.conv1") && has("decoder.aspp.0.convs.1.0.0") && has("decoder.block2.0.0")
        );
        assert!(!has("encoder.layer1.0.conv2") && !has("decoder.aspp.0.convs.0.0"), "{found:?}");
    }
}
