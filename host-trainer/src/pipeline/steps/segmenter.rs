use std::path::{Path, PathBuf};

use super::{Context, train};
use crate::config::{Config, Stage};
use crate::pipeline::PipelineError;
use crate::pseudo::PseudoMasks;
use crate::train::{Images, Job, Outcome, Roles, Segmentation, TeacherFile, Teachers, TrainError};

/// What a segmenter learns from beside images.
#[derive(Clone, Debug, Default)]
pub struct SegmenterInputs {
    /// Model file that its weights begin with.
    pub init: Option<PathBuf>,
    /// Pseudo-masks of the weak images.
    pub pseudo: Option<PathBuf>,
    /// Its teachers.
    pub teachers: Vec<TeacherFile>,
}

impl SegmenterInputs {
    /// The job of learning from these in a stage; its digest does not know of them yet.
    pub fn job(&self, config: &Config, stage: Stage) -> Job {
        Job { teachers: self.teachers.len(), pseudo_masks: self.pseudo.is_some(), ..Job::new(config, stage) }
    }

    /// The task of learning from these and from what `images` reads; it is given the pseudo-masks.
    pub fn task(
        &self,
        context: &Context,
        config: &Config,
        stage: Stage,
        images: impl FnOnce(Option<&PseudoMasks>) -> Result<Images, TrainError>,
    ) -> Result<Segmentation, PipelineError> {
        let pseudo = self.pseudo.as_deref().map(PseudoMasks::load).transpose()?;
        let mut task = images(pseudo.as_ref())?.task(config, stage, context.device)?;
        if !self.teachers.is_empty() {
            let teachers = self.teachers.iter().map(TeacherFile::load).collect::<Result<Vec<_>, _>>()?;
            task.teachers = Some(Teachers::new(config, &teachers, context.device)?);
        }
        Ok(task)
    }
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
    let task = inputs.task(context, config, stage, |pseudo| Images::load(config, stage, roles, pseudo))?;
    let job = Job { digest, ..inputs.job(config, stage) };
    train(context, job, inputs.init.as_deref(), &task, out)
}
