use std::path::Path;

use super::{Context, bar};
use crate::config::{Config, Saliency};
use crate::dataset::Record;
use crate::net::TorchNet;
use crate::pipeline::PipelineError;
use crate::saliency::{SaliencyError, SaliencyMaps};
use crate::train::ModelFile;

/// Writes where the classifier sees each finding in the images.
pub fn look(
    context: &Context,
    config: &Config,
    method: Saliency,
    classifier: &Path,
    records: &[Record],
    out: &Path,
) -> Result<(), PipelineError> {
    let model = ModelFile::load(classifier)?;
    if model.info.labels != config.finding_labels() {
        let (found, expected) = (model.info.labels.join(", "), config.finding_labels().join(", "));
        return Err(SaliencyError::OtherFindings { path: classifier.to_owned(), found, expected }.into());
    }
    let net = TorchNet::from_params(&model.info.graph, &model.params, context.device)?;
    let bar = bar("saliency", records.len());
    let maps = SaliencyMaps::compute(config, &net, records, method, |done| bar.set_position(done as u64))?;
    bar.finish_and_clear();
    Ok(maps.save(out)?)
}
