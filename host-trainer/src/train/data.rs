use std::path::Path;
use std::sync::Arc;

use super::TrainError;
use crate::config::{Config, Stage};
use crate::dataset::{
    BatchPlan, DatasetError, Index, PhantomSpec, PlanSpec, Sample, Split, data_root, load_samples,
    phantom_pool,
};

/// Phantoms to validate on where no radiograph can be had.
const VALIDATION_PHANTOMS: usize = 32;

/// The images of a stage, in memory.
#[derive(Debug)]
pub struct TrainingData {
    /// The sequence of batches.
    pub plan: Arc<BatchPlan>,
    /// Images to validate on: `strong_val` radiographs, else phantoms that are not in the pool.
    pub validation: Vec<Sample>,
    /// What `validation` is.
    pub validation_name: &'static str,
}

impl TrainingData {
    /// Reads radiographs and renders phantoms. `root` is the data folder (default: [`data_root`]).
    /// Pretraining does without radiographs if the data folder is missing; it validates on phantoms then.
    pub fn load(config: &Config, stage: Stage, root: Option<&Path>) -> Result<Self, TrainError> {
        let labels = config.labels();
        let spec = config.stage(stage);
        let index = match root.map_or_else(data_root, |root| Ok(root.to_owned())) {
            _ if config.data.is_empty() => None,
            Ok(root) => Some(config.index(&root)?),
            Err(DatasetError::NoRoot { .. }) if stage == Stage::Pretrain => {
                tracing::warn!("no data folder found: validating on phantoms");
                None
            }
            Err(error) => return Err(error.into()),
        };
        let radiographs = |split| match &index {
            Some(index) => load_samples(&index.of(split), &labels, &config.preprocess),
            None => Ok(Vec::new()),
        };
        let phantom_share = if stage == Stage::Pretrain { 1.0 } else { spec.phantom_share };
        let real = if phantom_share < 1.0 { radiographs(Split::StrongTrain)? } else { Vec::new() };
        let phantoms = if phantom_share > 0.0 {
            tracing::info!(count = config.phantom.pool, "rendering phantoms");
            phantom_pool(&config.phantom, &labels, &config.preprocess)?
        } else {
            Vec::new()
        };
        let (validation, validation_name) = validation_samples(config, index.as_ref())?;
        let (radiographs, phantom_count) = (real.len(), phantoms.len());
        tracing::info!(
            radiographs,
            phantoms = phantom_count,
            validation = validation.len(),
            "images are ready"
        );
        let plan = PlanSpec {
            seed: config.seed,
            batch: spec.batch,
            phantom_share,
            mean: config.preprocess.mean,
            std: config.preprocess.std,
        };
        let plan = Arc::new(BatchPlan::new(plan, config.augment.clone(), real, phantoms)?);
        Ok(Self { plan, validation, validation_name })
    }
}

/// The images that thresholds, selection and calibration use, and what they are: `strong_val`, else phantoms
/// that no training saw.
pub fn validation_samples(
    config: &Config,
    index: Option<&Index>,
) -> Result<(Vec<Sample>, &'static str), DatasetError> {
    let labels = config.labels();
    let radiographs = index.map_or_else(Vec::new, |index| index.of(Split::StrongVal));
    if !radiographs.is_empty() {
        return Ok((load_samples(&radiographs, &labels, &config.preprocess)?, "strong_val"));
    }
    // Another seed: none of the training's phantoms.
    let seed = config.phantom.seed ^ 0x5EED_0F0F;
    let held_out = PhantomSpec { pool: VALIDATION_PHANTOMS, seed, ..config.phantom.clone() };
    Ok((phantom_pool(&held_out, &labels, &config.preprocess)?, "held-out phantoms"))
}
