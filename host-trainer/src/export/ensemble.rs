//! Trained networks side by side as one model, for boxes with time to spare: its logits are the members' means.

use shared::manifest::{DataSource, TrainingRecord};

use super::ExportError;
use super::provenance::training_record;
use crate::config::{Config, Stage};
use crate::dataset::Index;
use crate::net::{self, DeepLabConfig, Graph, Member, Op, deeplab_v3_plus};
use crate::train::{Misfit, ModelFile, ModelInfo, Teacher, shares};

/// The members as one model of the configuration, whose `network.members` says how many there are. As with teachers, those
/// of a class share in it equally. A member whose file has no record of its own is told as trained with this configuration.
///
/// # Errors
/// If there are more or fewer members, one is of another network or preprocessing, or a class has none.
pub fn ensemble(
    config: &Config,
    members: &[Teacher],
    index: Option<&Index>,
) -> Result<ModelFile, ExportError> {
    let wanted = config.network.members;
    if members.len() != wanted {
        return Err(ExportError::Members { found: members.len(), wanted });
    }
    for member in members {
        member.model.info.require_input(config, &Stage::SEGMENTERS)?;
        require_network(config, &member.model.info)?;
    }
    let parts: Vec<Member<'_>> = members
        .iter()
        .zip(shares(config, members, &[])?)
        .map(|(Teacher { model, .. }, shares)| Member {
            params: &model.params,
            parts: model.info.planes_of(config).into_iter().zip(shares).collect(),
        })
        .collect();
    let graph = config.graph();
    let params = net::ensemble(&graph, &parts).map_err(ExportError::OtherMember)?;
    let records = members.iter().map(|member| training_record(config, &member.model, index));
    let record = joined(&graph.name, config.seed, &records.collect::<Result<Vec<_>, _>>()?);
    let info = ModelInfo {
        graph,
        labels: config.labels(),
        preprocess: config.preprocess.clone(),
        stage: Stage::Train,
        step: record.steps,
        total_steps: record.steps,
        seed: config.seed,
        teachers: 0,
        pseudo_masks: false,
        share: None,
        record: Some(record),
        validation: Vec::new(),
    };
    Ok(ModelFile { info, params })
}

/// Strides, dilations and how the parts are joined are in no tensor's shape. Dropout is of trainings alone.
fn require_network(config: &Config, info: &ModelInfo) -> Result<(), Misfit> {
    let classes = info.labels.len();
    let own = deeplab_v3_plus(&DeepLabConfig { classes, members: 1, ..config.network.clone() });
    let (found, expected) = (operators(&info.graph), operators(&own));
    if found == expected {
        return Ok(());
    }
    let differ = found.iter().zip(&expected).find(|(found, expected)| found != expected);
    let (found, expected) = match differ {
        Some((found, expected)) => (format!("{found:?}"), format!("{expected:?}")),
        None => (info.graph.name.clone(), own.name),
    };
    Err(Misfit { what: "network", found, expected })
}

fn operators(graph: &Graph) -> Vec<(&str, &Op)> {
    let nodes = graph.iter().map(|(_, node)| (node.name.as_str(), &node.op));
    nodes.filter(|(_, op)| !matches!(op, Op::Dropout { .. })).collect()
}

/// What is known of all members: every set of images once, steps added up.
fn joined(network: &str, seed: u64, records: &[TrainingRecord]) -> TrainingRecord {
    let mut sources: Vec<DataSource> = Vec::new();
    for source in records.iter().flat_map(|record| &record.sources) {
        if !sources.contains(source) {
            sources.push(source.clone());
        }
    }
    let mut method = format!("The mean of the logits of {} networks.", records.len());
    for (i, record) in records.iter().enumerate() {
        method += &format!(" ({}) {} Seed {}.", i + 1, record.method, record.seed);
    }
    let steps = records.iter().map(|record| record.steps).sum();
    TrainingRecord { method, network: network.to_owned(), seed, steps, sources }
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind, Tensor};

    use super::*;
    use crate::config::tiny;
    use crate::export::tests::model;
    use crate::net::{Mode, TorchNet, he_init};

    fn pair() -> Config {
        let mut config = tiny("");
        config.network.members = 2;
        config
    }

    fn member(config: &Config, seed: u64, classes: &[&str]) -> Teacher {
        let mut model = model(config);
        model.params = he_init(&model.info.graph, seed);
        Teacher { model, classes: classes.iter().map(|&class| class.to_owned()).collect() }
    }

    #[test]
    fn the_answer_is_the_mean_of_those_that_answer_for_a_class() {
        let single = tiny("");
        let members = [member(&single, 1, &[]), member(&single, 2, &["heart"])];
        let whole = ensemble(&pair(), &members, None).unwrap();
        let images = Tensor::rand([2, 1, 64, 64], (Kind::Float, Device::Cpu));
        let logits = |model: &ModelFile| {
            let net = TorchNet::from_params(&model.info.graph, &model.params, Device::Cpu).unwrap();
            net.forward(&images, Mode::Eval).unwrap()
        };
        let (found, first, second) = (logits(&whole), logits(&members[0].model), logits(&members[1].model));
        let far =
            |plane: i64, expected: &Tensor| (found.select(1, plane) - expected).abs().max().double_value(&[]);
        let plane = |of: &Tensor, label: &str| {
            let at = single.labels().iter().position(|l| l == label).unwrap() as i64;
            (at, of.select(1, at))
        };
        let ((lung, alone), (heart, a), (_, b)) =
            (plane(&first, "left_lung"), plane(&first, "heart"), plane(&second, "heart"));
        assert!(far(lung, &alone) < 1e-4);
        assert!(far(heart, &((a + b) / 2.0)) < 1e-4);
    }

    #[test]
    fn the_record_names_every_member_and_each_source_once() {
        let record = |seed, source: &str| TrainingRecord {
            method: format!("Seen {source}."),
            network: "n".into(),
            seed,
            steps: 5,
            sources: ["phantom", source]
                .map(|name| DataSource {
                    name: name.into(),
                    usage: "training".into(),
                    images: 1,
                    license: String::new(),
                    sha256: None,
                })
                .into(),
        };
        let joined = joined("n-x2", 9, &[record(1, "a"), record(2, "b")]);
        assert_eq!(
            joined.method,
            "The mean of the logits of 2 networks. (1) Seen a. Seed 1. (2) Seen b. Seed 2."
        );
        assert_eq!((joined.steps, joined.seed, joined.sources.len()), (10, 9, 3));
    }

    #[test]
    fn other_numbers_of_members_and_other_networks_are_refused() {
        let (pair, mut other) = (pair(), tiny(""));
        let one = member(&other, 1, &[]);
        let error = ensemble(&pair, std::slice::from_ref(&one), None).unwrap_err();
        assert!(error.to_string().contains("network.members = 2"), "{error}");
        let refused = |other: &Config| {
            let members = [one.clone(), member(other, 1, &[])];
            ensemble(&pair, &members, None).unwrap_err().to_string()
        };
        // The same tensors, in another network.
        other.network.aspp_rates = [2, 4, 6];
        assert!(refused(&other).contains("the model's network is"), "{}", refused(&other));
        other.network.separable = false;
        assert!(refused(&other).contains("the model's network is"), "{}", refused(&other));
    }

    #[test]
    fn a_class_that_no_member_knows_is_refused_whatever_is_imitated() {
        let mut pair = pair();
        pair.distillation.classes = vec!["heart".into()];
        let member = || {
            let mut member = member(&tiny(""), 1, &["heart"]);
            member.model.info.labels = vec!["rib".into(), "heart".into()];
            member
        };
        let error = ensemble(&pair, &[member(), member()], None).unwrap_err();
        assert!(error.to_string().contains("left_lung has none"), "{error}");
    }
}
