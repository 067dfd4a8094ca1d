use std::path::{Path, PathBuf};

use super::{Context, train};
use crate::config::{Config, Stage};
use crate::pipeline::PipelineError;
use crate::pseudo::PseudoMasks;
use crate::train::{Images, Job, ModelFile, Outcome, Roles, Teachers};

/// What a segmenter learns from beside images.
#[derive(Clone, Debug, Default)]
pub struct SegmenterInputs {
    /// Model file that its weights begin with.
    pub init: Option<PathBuf>,
    /// Pseudo-masks of the weak images.
    pub pseudo: Option<PathBuf>,
    /// Model files of its teachers.
    pub teachers: Vec<PathBuf>,
}

/// Trains a segmenter in a stage of the configuration.
pub fn train_segmenter(
    context: &Context,
    config: &Config,
    stage: Stage,
    roles: &Roles,
    inputs: &SegmenterInputs,
    digest: String,
    out: &Path,
) -> Result<Outcome, PipelineError> {
    let pseudo = inputs.pseudo.as_deref().map(PseudoMasks::load).transpose()?;
    let images = Images::load(config, stage, roles, pseudo.as_ref())?;
    let mut task = images.task(config, stage, context.device)?;
    if !inputs.teachers.is_empty() {
        let models: Vec<ModelFile> =
            inputs.teachers.iter().map(|path| ModelFile::load(path)).collect::<Result<_, _>>()?;
        task.teachers = Some(Teachers::new(config, &models, context.device)?);
    }
    let job = Job { digest, ..Job::new(config, stage) };
    train(context, job, inputs.init.as_deref(), &task, out)
}
