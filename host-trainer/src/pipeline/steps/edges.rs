use std::path::Path;

use super::{Context, bar, train};
use crate::config::{Config, Gate, Stage};
use crate::dataset::{BatchPlan, PlanSpec, Pools, Record, in_parallel, load_samples};
use crate::irnet::{EdgeLearning, seeds};
use crate::pipeline::PipelineError;
use crate::pseudo::class_maps;
use crate::saliency::SaliencyMaps;
use crate::train::{Job, ModelFile, Outcome};

/// Trains IRNet's edges on the classifier's frozen features, from confident saliency.
pub fn learn_edges(
    context: &Context,
    config: &Config,
    gate: Gate,
    (classifier, saliency): (&Path, &Path),
    records: &[Record],
    digest: String,
    out: &Path,
) -> Result<Outcome, PipelineError> {
    ModelFile::load_for(classifier, config, &[Stage::Classifier])?;
    let maps = SaliencyMaps::load(saliency)?;
    maps.check(config, saliency)?;
    let samples = load_samples(records, &[], &config.preprocess)?;
    let bar = bar("seeds", records.len());
    let seeded = in_parallel(records.len(), |i| {
        let classes = class_maps(config, &records[i], &maps, gate);
        let seeded = seeds(&samples[i], &classes, &config.irnet);
        bar.inc(1);
        Ok(seeded)
    })?;
    bar.finish_and_clear();
    let pools = Pools { weak: seeded.into_iter().flatten().collect(), ..Pools::default() };
    if pools.weak.is_empty() {
        return Err(PipelineError::NoSeeds);
    }
    tracing::info!(images = pools.weak.len(), "seeds are ready");
    let spec = PlanSpec {
        seed: config.seed,
        batch: config.stage(Stage::Edges).batch,
        phantom_share: 0.0,
        strong_weight: 1.0,
        unlabeled: None,
        devices: None,
        mean: config.preprocess.mean,
        std: config.preprocess.std,
    };
    let plan = BatchPlan::new(spec, config.augment.clone(), pools)?;
    let task = EdgeLearning::new(plan, config.irnet.radius);
    train(context, Job { digest, ..Job::new(config, Stage::Edges) }, Some(classifier), &task, out)
}
