//! Gives a folded network its batch normalizations back, so that training can go on from what was exported.

use std::collections::BTreeMap;

use super::fold::FoldError;
use super::graph::Graph;
use super::op::{Op, ParameterRole};
use super::params::{ParamTensor, Params};

/// Mean and variance of each channel of a folded convolution's output over some images.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ChannelMoments {
    /// By output channel.
    pub mean: Vec<f64>,
    /// By output channel; not negative.
    pub variance: Vec<f64>,
}

/// Parameters of `graph` under which it is the function that [`fold_batch_norm`](super::fold_batch_norm) made of it:
/// `folded` are those of the folded network, `moments` what its convolutions gave, by name.
///
/// Infinitely many parameters fold into the same ones. These have running statistics that are the images', so that the
/// first batch of a training sees what was seen before, and weights as long as fresh ones, so that a learning rate means
/// what it does for these.
///
/// # Errors
/// If a normalization does not follow a convolution, or if the parameters or moments are another network's.
pub fn unfold_batch_norm(
    graph: &Graph,
    folded: &Params,
    moments: &BTreeMap<String, ChannelMoments>,
) -> Result<Params, FoldError> {
    graph.validate()?;
    let mut params = Params::new();
    for (_, node) in graph.iter() {
        let Op::BatchNorm2d(norm) = &node.op else {
            for (role, shape) in node.op.parameters() {
                let name = format!("{}.{}", node.name, role.suffix());
                let tensor = folded.get(&name).cloned().unwrap_or_else(|| ParamTensor::full(&shape, 0.0));
                params.insert(name, tensor);
            }
            continue;
        };
        let before = graph.node(node.inputs[0]);
        let of = |role: ParameterRole| format!("{}.{}", before.name, role.suffix());
        let (weight, bias) = (of(ParameterRole::Weight), of(ParameterRole::Bias));
        let none = || FoldError::NoConvolution { norm: node.name.clone(), input: before.name.clone() };
        let (Some(weights), Some(biases)) = (params.get_mut(&weight), folded.get(&bias)) else {
            return Err(none());
        };
        let found = moments.get(&before.name).ok_or_else(none)?;
        let channels = norm.channels;
        if [biases.data.len(), found.mean.len(), found.variance.len(), weights.shape[0]] != [channels; 4] {
            return Err(none());
        }
        let taps = weights.data.len() / channels;
        let [mut gamma, mut beta, mut mean, mut var] = [(); 4].map(|()| Vec::with_capacity(channels));
        for (c, row) in weights.data.chunks_exact_mut(taps).enumerate() {
            let length = row.iter().map(|&w| f64::from(w).powi(2)).sum::<f64>().sqrt();
            // he_init's rows are about √2 long. A channel that weighs nothing stays as it is.
            let scale = if length > 0.0 { length / 2f64.sqrt() } else { 1.0 };
            row.iter_mut().for_each(|w| *w = (f64::from(*w) / scale) as f32);
            let variance = found.variance[c].max(0.0) / (scale * scale);
            // The statistics are of weights alone: the bias is the normalization's.
            let centre = (found.mean[c] - f64::from(biases.data[c])) / scale;
            mean.push(centre as f32);
            var.push(variance as f32);
            gamma.push((scale * (f64::from(variance as f32) + norm.eps).sqrt()) as f32);
            beta.push((f64::from(biases.data[c]) + scale * f64::from(centre as f32)) as f32);
        }
        let values = [
            (ParameterRole::Gamma, gamma),
            (ParameterRole::Beta, beta),
            (ParameterRole::RunningMean, mean),
            (ParameterRole::RunningVar, var),
        ];
        // Where the convolution has a bias of its own, the normalization has taken it over.
        if let Some(own) = params.get_mut(&bias) {
            own.data.fill(0.0);
        }
        for (role, data) in values {
            params.insert(format!("{}.{}", node.name, role.suffix()), ParamTensor::new(vec![channels], data));
        }
    }
    params.check(graph)?;
    Ok(params)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::{DeepLabConfig, GraphBuilder, Width, deeplab_v3_plus, fold_batch_norm, he_init};

    /// Moments that differ from channel to channel, with a dead one.
    fn moments(graph: &Graph) -> BTreeMap<String, ChannelMoments> {
        let convolutions = graph.nodes.iter().filter_map(|node| match &node.op {
            Op::Conv2d(conv) => Some((node.name.clone(), conv.out_channels)),
            _ => None,
        });
        let of = |channels: usize| ChannelMoments {
            mean: (0..channels).map(|c| (c as f64).sin()).collect(),
            variance: (0..channels).map(|c| if c == 1 { 0.0 } else { 0.1 + c as f64 }).collect(),
        };
        convolutions.map(|(name, channels)| (name, of(channels))).collect()
    }

    #[test]
    fn what_is_unfolded_folds_into_the_same_network() {
        let config = DeepLabConfig { width: Width::Quarter, classes: 3, ..DeepLabConfig::default() };
        let graph = deeplab_v3_plus(&config);
        let (folded_graph, mut folded) = fold_batch_norm(&graph, &he_init(&graph, 3)).unwrap();
        folded.get_mut("encoder.conv1.bias").unwrap().data[3] = -0.7;
        // A dead channel that weighs nothing.
        folded.get_mut("encoder.conv1.weight").unwrap().data[49..98].fill(0.0);
        let params = unfold_batch_norm(&graph, &folded, &moments(&folded_graph)).unwrap();
        let (_, again) = fold_batch_norm(&graph, &params).unwrap();
        for (name, tensor) in folded.iter() {
            let found = &again.get(name).unwrap().data;
            let far = tensor.data.iter().zip(found).map(|(a, b)| (a - b).abs()).fold(0f32, f32::max);
            assert!(far < 2e-5, "{name}: {far}");
        }
        let row = &params.get("encoder.conv1.weight").unwrap().data[..49];
        let length = row.iter().map(|w| w * w).sum::<f32>();
        assert!((length - 2.0).abs() < 1e-4, "{length}");
    }

    #[test]
    fn another_networks_parameters_are_refused() {
        let (mut g, x) = GraphBuilder::new("tiny", 1);
        let x = g.conv("conv", x, 2, 3, |_| ());
        let x = g.batch_norm("bn", x);
        let graph = g.finish(&[x]);
        let (_, folded) = fold_batch_norm(&graph, &he_init(&graph, 1)).unwrap();
        let none = unfold_batch_norm(&graph, &folded, &BTreeMap::new()).unwrap_err().to_string();
        assert!(none.contains("`bn`") && none.contains("`conv`"), "{none}");
        let wide = BTreeMap::from([(
            "conv".to_owned(),
            ChannelMoments { mean: vec![0.0; 3], variance: vec![1.0; 3] },
        )]);
        assert!(unfold_batch_norm(&graph, &folded, &wide).is_err());
        let two = ChannelMoments { mean: vec![0.0; 2], variance: vec![1.0; 2] };
        let moments = BTreeMap::from([("conv".to_owned(), two)]);
        unfold_batch_norm(&graph, &folded, &moments).unwrap();
        assert!(unfold_batch_norm(&graph, &Params::new(), &moments).is_err());
    }
}
