use std::path::Path;

use super::{Context, train};
use crate::classify::Classification;
use crate::config::{Config, Stage};
use crate::pipeline::PipelineError;
use crate::train::{Job, Outcome, Roles};

/// Trains the classifier on the weak images' labels.
pub fn classify(
    context: &Context,
    config: &Config,
    roles: &Roles,
    digest: String,
    out: &Path,
) -> Result<Outcome, PipelineError> {
    let task = Classification::load(config, &roles.weak, &roles.validation)?;
    train(context, Job { digest, ..Job::new(config, Stage::Classifier) }, None, &task, out)
}
