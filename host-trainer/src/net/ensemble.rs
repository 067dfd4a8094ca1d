//! The parameters of several networks as those of one that holds them side by side.

use super::deeplab::{HEAD, member_prefix};
use super::graph::Graph;
use super::params::{ParamTensor, Params, ParamsError};

/// A network that takes part in an ensemble.
#[derive(Clone, Debug)]
pub struct Member<'a> {
    /// Its parameters.
    pub params: &'a Params,
    /// For each class of the ensemble, the member's own output plane of that class and its share in the answer, 0..=1.
    pub parts: Vec<(usize, f32)>,
}

/// Parameters under which `graph`, an ensemble's, gives the members' logits weighted by their shares and added up: the
/// head reads all features, each member's with its own head's weights times its shares.
///
/// # Errors
/// If there are other than the graph's members, or one is of another network.
pub fn ensemble(graph: &Graph, members: &[Member<'_>]) -> Result<Params, ParamsError> {
    let mut whole = Params::new();
    let (mut weights, mut biases) = (Vec::new(), Vec::new());
    let (weight, bias) = (format!("{HEAD}.weight"), format!("{HEAD}.bias"));
    let no_plane = |fault| ParamsError::Mismatch { graph: graph.name.clone(), faults: vec![fault] };
    for (i, member) in members.iter().enumerate() {
        for (name, tensor) in member.params.iter() {
            if name != weight && name != bias {
                whole.insert(format!("{}{name}", member_prefix(i)), tensor.clone());
            }
        }
        weights.push(planes(member, &weight).map_err(no_plane)?);
        biases.push(planes(member, &bias).map_err(no_plane)?);
    }
    let classes = members.first().map_or(0, |member| member.parts.len());
    let weights: Vec<f32> =
        (0..classes).flat_map(|class| weights.iter().flat_map(move |of| of[class].clone())).collect();
    let biases: Vec<f32> =
        (0..classes).map(|class| biases.iter().map(|of| of[class].iter().sum::<f32>()).sum()).collect();
    let features = weights.len() / classes.max(1);
    whole.insert(weight, ParamTensor::new(vec![classes, features, 1, 1], weights));
    whole.insert(bias, ParamTensor::new(vec![classes], biases));
    whole.check(graph)?;
    Ok(whole)
}

/// A tensor of the member's head, the planes in the ensemble's order and times their shares; an error names what it lacks.
fn planes(member: &Member<'_>, name: &str) -> Result<Vec<Vec<f32>>, String> {
    let tensor = member.params.get(name).ok_or_else(|| format!("missing {name}"))?;
    let rows: Vec<&[f32]> = tensor.data.chunks((tensor.data.len() / tensor.shape[0].max(1)).max(1)).collect();
    let plane = |&(row, share): &(usize, f32)| {
        let row = rows.get(row).ok_or_else(|| format!("{name} has no plane {row}"))?;
        Ok(row.iter().map(|w| w * share).collect())
    };
    member.parts.iter().map(plane).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::{DeepLabConfig, Width, deeplab_v3_plus, he_init};

    fn graph(classes: usize, members: usize) -> Graph {
        deeplab_v3_plus(&DeepLabConfig {
            width: Width::Quarter,
            classes,
            members,
            ..DeepLabConfig::default()
        })
    }

    #[test]
    fn members_keep_their_weights_and_the_head_joins_their_planes() {
        let (two, one) = (he_init(&graph(2, 1), 1), he_init(&graph(1, 1), 2));
        let members = [
            Member { params: &two, parts: vec![(1, 0.25), (0, 1.0)] },
            Member { params: &one, parts: vec![(0, 0.75), (0, 0.0)] },
        ];
        let whole = ensemble(&graph(2, 2), &members).unwrap();
        let conv = "encoder.layer1.0.conv1.weight";
        assert_eq!(whole.get(&format!("members.0.{conv}")), two.get(conv));
        assert_eq!(whole.get(&format!("members.1.{conv}")), one.get(conv));
        let head = &whole.get("segmentation_head.0.weight").unwrap().data;
        let of = |params: &Params| params.get("segmentation_head.0.weight").unwrap().data.clone();
        let n = of(&one).len();
        assert_eq!(head.len(), 4 * n);
        assert_eq!(
            [head[0], head[n], head[2 * n], head[3 * n]],
            [of(&two)[n] * 0.25, of(&one)[0] * 0.75, of(&two)[0], 0.0]
        );
    }

    #[test]
    fn other_numbers_of_members_other_networks_and_planes_that_are_none_are_refused() {
        let (one, wide) = (he_init(&graph(1, 1), 1), {
            let config = DeepLabConfig { width: Width::Half, classes: 1, ..DeepLabConfig::default() };
            he_init(&deeplab_v3_plus(&config), 1)
        });
        let member = |params, row| Member { params, parts: vec![(row, 0.5)] };
        let fault = |members: &[Member<'_>]| ensemble(&graph(1, 2), members).unwrap_err().to_string();
        assert!(fault(&[member(&one, 0)]).contains("missing"));
        assert!(fault(&[member(&one, 0), member(&wide, 0)]).contains("members.1.decoder"));
        assert!(
            fault(&[member(&one, 0), member(&one, 3)]).contains("segmentation_head.0.weight has no plane 3")
        );
        assert!(fault(&[]).contains("missing"));
    }
}
