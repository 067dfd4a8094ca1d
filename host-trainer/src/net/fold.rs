//! Rewrites a trained network for inference: batch normalization goes into the convolution before it
//! (Jacob et al. 2018, arXiv:1712.05877, §3.2), dropout goes away.

use super::graph::{Graph, GraphError, Node, NodeId};
use super::op::{Op, ParameterRole};
use super::params::{ParamTensor, Params, ParamsError};

/// Why a network cannot be folded.
#[derive(Debug, thiserror::Error)]
pub enum FoldError {
    /// The description is no network.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// The parameters are not the network's.
    #[error(transparent)]
    Params(#[from] ParamsError),
    /// Nothing to fold into.
    #[error("`{norm}` cannot be folded: `{input}` before it is not a convolution that it alone reads")]
    NoConvolution {
        /// The normalization.
        norm: String,
        /// What it reads.
        input: String,
    },
}

/// The same function of the image with running statistics as constants: every normalization's factor and offset in
/// the weights and bias of the convolution before it, every dropout gone. Convolutions keep their names.
///
/// # Errors
/// If the graph or the parameters are faulty, or a normalization does not follow a convolution of its own.
pub fn fold_batch_norm(graph: &Graph, params: &Params) -> Result<(Graph, Params), FoldError> {
    graph.validate()?;
    params.check(graph)?;
    let consumers = graph.consumers();
    let mut nodes: Vec<Node> = Vec::new();
    let mut folded = Params::new();
    // Where each node of the old graph went.
    let mut moved: Vec<NodeId> = Vec::with_capacity(graph.nodes.len());
    for (id, node) in graph.iter() {
        let own = |role| copy_of(params, &node.name, role);
        match &node.op {
            Op::Dropout { .. } => moved.push(moved[node.inputs[0].0]),
            Op::BatchNorm2d(norm) => {
                let input = node.inputs[0];
                let Node { name: conv, op: before, .. } = graph.node(input);
                // The old graph's input: a dropout or a normalization may have moved into a convolution's place.
                let foldable = matches!(before, Op::Conv2d(_))
                    && consumers[input.0] == [id]
                    && !graph.outputs.contains(&input);
                let target = moved[input.0];
                let (true, Op::Conv2d(op)) = (foldable, &mut nodes[target.0].op) else {
                    return Err(FoldError::NoConvolution { norm: node.name.clone(), input: conv.clone() });
                };
                let (gamma, beta) = (own(ParameterRole::Gamma), own(ParameterRole::Beta));
                let (mean, var) = (own(ParameterRole::RunningMean), own(ParameterRole::RunningVar));
                // In f64: the deviation of a dead channel may be tiny and its factor large.
                let factors: Vec<f64> = gamma
                    .data
                    .iter()
                    .zip(&var.data)
                    .map(|(&g, &v)| f64::from(g) / (f64::from(v) + norm.eps).sqrt())
                    .collect();
                let weight =
                    folded.get_mut(&parameter(conv, ParameterRole::Weight)).expect("copied with its node");
                let taps = weight.data.len() / factors.len();
                for (channel, factor) in weight.data.chunks_exact_mut(taps).zip(&factors) {
                    channel.iter_mut().for_each(|w| *w = (f64::from(*w) * factor) as f32);
                }
                let old_bias = folded.get(&parameter(conv, ParameterRole::Bias)).map(|b| b.data.clone());
                let bias = (0..factors.len()).map(|c| {
                    let offset = old_bias.as_ref().map_or(0.0, |b| f64::from(b[c])) - f64::from(mean.data[c]);
                    (f64::from(beta.data[c]) + offset * factors[c]) as f32
                });
                let bias = ParamTensor::new(vec![factors.len()], bias.collect());
                folded.insert(parameter(conv, ParameterRole::Bias), bias);
                op.bias = true;
                moved.push(target);
            }
            op => {
                for (role, _) in op.parameters() {
                    folded.insert(parameter(&node.name, role), own(role));
                }
                let inputs = node.inputs.iter().map(|i| moved[i.0]).collect();
                nodes.push(Node { name: node.name.clone(), op: op.with_size_source(&moved), inputs });
                moved.push(NodeId(nodes.len() - 1));
            }
        }
    }
    let outputs = graph.outputs.iter().map(|o| moved[o.0]).collect();
    Ok((Graph { name: graph.name.clone(), nodes, outputs }, folded))
}

fn parameter(node: &str, role: ParameterRole) -> String {
    format!("{node}.{}", role.suffix())
}

fn copy_of(params: &Params, node: &str, role: ParameterRole) -> ParamTensor {
    params.get(&parameter(node, role)).expect("checked against the graph").clone()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::{DeepLabConfig, GraphBuilder, deeplab_v3_plus, he_init};

    #[test]
    fn nothing_but_inference_remains_and_the_parameters_fit() {
        let graph = deeplab_v3_plus(&DeepLabConfig::default());
        let (folded, params) = fold_batch_norm(&graph, &he_init(&graph, 1)).unwrap();
        params.check(&folded).unwrap();
        assert!(!folded.nodes.iter().any(|n| matches!(n.op, Op::BatchNorm2d(_) | Op::Dropout { .. })));
        assert_eq!(folded.macs(96, 96).unwrap(), graph.macs(96, 96).unwrap());
        assert_eq!(folded.shapes(50, 70).unwrap().last(), Some(&[1, 50, 70]));
    }

    #[test]
    fn one_channel_by_hand() {
        let (mut g, x) = GraphBuilder::new("one", 1);
        let x = g.conv("c", x, 1, 1, |c| c.bias = true);
        let x = g.batch_norm("n", x);
        let graph = g.finish(&[x]);
        let values = [("c.weight", 3.0), ("c.bias", 0.5), ("n.weight", 4.0), ("n.bias", 7.0)];
        let mut params = he_init(&graph, 1);
        for (name, value) in
            values.into_iter().chain([("n.running_mean", 2.5), ("n.running_var", 4.0 - 1e-5)])
        {
            params.get_mut(name).unwrap().data[0] = value;
        }
        let (_, folded) = fold_batch_norm(&graph, &params).unwrap();
        // 4 · (3x + 0.5 − 2.5) / √4 + 7 = 6x + 3
        assert!((folded.get("c.weight").unwrap().data[0] - 6.0).abs() < 1e-5);
        assert!((folded.get("c.bias").unwrap().data[0] - 3.0).abs() < 1e-5);
    }

    #[test]
    fn a_normalization_without_a_convolution_of_its_own_is_named() {
        let (mut g, x) = GraphBuilder::new("shared", 1);
        let c = g.conv("c", x, 2, 1, |_| ());
        let n = g.batch_norm("n", c);
        let s = g.add("s", n, c);
        let graph = g.finish(&[s]);
        let fault = fold_batch_norm(&graph, &he_init(&graph, 1)).unwrap_err().to_string();
        assert!(fault.contains("`n`") && fault.contains("`c`"), "{fault}");
        let (mut g, x) = GraphBuilder::new("bare", 1);
        let n = g.batch_norm("n", x);
        let graph = g.finish(&[n]);
        assert!(matches!(fold_batch_norm(&graph, &he_init(&graph, 1)), Err(FoldError::NoConvolution { .. })));
        let (mut g, x) = GraphBuilder::new("twice", 1);
        let c = g.conv("c", x, 2, 1, |_| ());
        let n = g.batch_norm("first", c);
        let n = g.batch_norm("second", n);
        let graph = g.finish(&[n]);
        let fault = fold_batch_norm(&graph, &he_init(&graph, 1)).unwrap_err().to_string();
        assert!(fault.contains("`second`") && fault.contains("`first`"), "{fault}");
    }
}
