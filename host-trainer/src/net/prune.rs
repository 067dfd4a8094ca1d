use super::graph::{Graph, Node, NodeId};
use super::params::Params;

/// The part of a network that its first output needs: without the auxiliary head, for example.
pub fn first_output_only(graph: &Graph, params: &Params) -> (Graph, Params) {
    let mut needed = vec![false; graph.nodes.len()];
    let mut waiting: Vec<NodeId> = graph.outputs.iter().take(1).copied().collect();
    while let Some(id) = waiting.pop() {
        if !std::mem::replace(&mut needed[id.0], true) {
            let node = graph.node(id);
            waiting.extend(node.inputs.iter().copied().chain(node.op.size_source()));
        }
    }
    // Where each node goes; what is not needed goes nowhere and nobody asks.
    let mut moved = Vec::with_capacity(graph.nodes.len());
    let mut nodes: Vec<Node> = Vec::new();
    for (id, node) in graph.iter() {
        moved.push(NodeId(nodes.len()));
        if needed[id.0] {
            nodes.push(Node {
                name: node.name.clone(),
                op: node.op.with_size_source(&moved),
                inputs: node.inputs.iter().map(|input| moved[input.0]).collect(),
            });
        }
    }
    let outputs = graph.outputs.iter().take(1).map(|id| moved[id.0]).collect();
    let pruned = Graph { name: graph.name.clone(), nodes, outputs };
    let own = pruned.parameters().into_iter().map(|spec| spec.name);
    let params = own.filter_map(|name| Some((name.clone(), params.get(&name)?.clone()))).collect();
    (pruned, params)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::{DeepLabConfig, Width, deeplab_v3_plus, he_init};

    #[test]
    fn without_its_auxiliary_head_a_network_is_the_one_that_never_had_it() {
        let config =
            |auxiliary| DeepLabConfig { width: Width::Quarter, auxiliary, ..DeepLabConfig::default() };
        let (with, without) = (deeplab_v3_plus(&config(true)), deeplab_v3_plus(&config(false)));
        assert_eq!((with.outputs.len(), without.outputs.len()), (2, 1));
        let (graph, params) = first_output_only(&with, &he_init(&with, 1));
        assert_eq!(graph, without);
        assert_eq!(params, he_init(&without, 1));
    }
}
