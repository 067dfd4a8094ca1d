//! Weights between those that a training began with and those that it ended with.

use super::{Misfit, ModelFile};
use crate::net::ParamTensor;

/// `share` of the weights that a training ended with and the rest of those that it began with (Wortsman et al. 2022, Robust
/// fine-tuning of zero-shot models, arXiv:2109.01903): what was learned first is forgotten less.
///
/// # Errors
/// If the two are of different networks, labels or preprocessing.
pub fn average(began: &ModelFile, ended: &ModelFile, share: f64) -> Result<ModelFile, Misfit> {
    let (a, b) = (&began.info, &ended.info);
    let misfit = |what, found: String, expected: String| Err(Misfit { what, found, expected });
    if a.graph != b.graph {
        return misfit("network", a.graph.name.clone(), b.graph.name.clone());
    }
    if a.labels != b.labels {
        return misfit("list of labels", a.labels.join(", "), b.labels.join(", "));
    }
    let size = |info: &super::ModelInfo| format!("for images of {} px", info.preprocess.input_size);
    if a.preprocess != b.preprocess {
        return misfit("preprocessing", size(a), size(b));
    }
    let mix = |name: &str, end: &ParamTensor| {
        let start = began.params.get(name).expect("both were checked against one graph");
        let pairs = start.data.iter().zip(&end.data);
        let mixed = pairs.map(|(a, b)| (f64::from(*a) * (1.0 - share) + f64::from(*b) * share) as f32);
        ParamTensor::new(end.shape.clone(), mixed.collect())
    };
    let params = ended.params.iter().map(|(name, end)| (name.to_owned(), mix(name, end))).collect();
    let info = super::ModelInfo { share: Some(share), validation: Vec::new(), ..b.clone() };
    Ok(ModelFile { info, params })
}

#[cfg(test)]
mod tests {
    use shared::preprocess::PreprocessSpec;

    use super::*;
    use crate::config::Stage;
    use crate::net::{GraphBuilder, he_init};
    use crate::train::ModelInfo;

    fn model(seed: u64) -> ModelFile {
        let (mut g, x) = GraphBuilder::new("tiny", 1);
        let y = g.conv("head", x, 1, 1, |c| c.bias = true);
        let graph = g.finish(&[y]);
        let params = he_init(&graph, seed);
        let info = ModelInfo {
            graph,
            labels: vec!["heart".into()],
            preprocess: PreprocessSpec::default(),
            stage: Stage::Train,
            step: 3,
            total_steps: 5,
            seed,
            teachers: 0,
            pseudo_masks: false,
            share: None,
            record: None,
            validation: vec![Some(0.25)],
        };
        ModelFile { info, params }
    }

    #[test]
    fn weights_lie_between_and_the_share_is_kept() {
        let (began, ended) = (model(1), model(2));
        let value = |model: &ModelFile| model.params.get("head.weight").unwrap().data[0];
        let mixed = average(&began, &ended, 0.25).unwrap();
        let expected = 0.75 * value(&began) + 0.25 * value(&ended);
        assert!((value(&mixed) - expected).abs() < 1e-6, "{} {expected}", value(&mixed));
        assert_eq!((mixed.info.share, mixed.info.seed, mixed.info.validation.len()), (Some(0.25), 2, 0));
        assert_eq!(average(&began, &ended, 1.0).unwrap().params, ended.params);
    }

    #[test]
    fn models_of_something_else_are_refused() {
        let (began, mut ended) = (model(1), model(2));
        ended.info.labels = vec!["rib".into()];
        assert_eq!(average(&began, &ended, 0.5).unwrap_err().what, "list of labels");
        let mut ended = model(2);
        ended.info.preprocess.input_size = 96;
        assert_eq!(average(&began, &ended, 0.5).unwrap_err().what, "preprocessing");
    }
}
