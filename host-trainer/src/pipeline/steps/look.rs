use std::path::Path;

use super::{Context, bar};
use crate::config::{Config, Saliency, Stage};
use crate::dataset::Record;
use crate::net::TorchNet;
use crate::pipeline::PipelineError;
use crate::saliency::{SALIENCY_CHUNK, SaliencyMaps};
use crate::train::{ModelFile, Outcome};

/// Writes where the classifier sees each finding in the images.
pub fn look(
    context: &Context,
    config: &Config,
    method: Saliency,
    classifier: &Path,
    records: &[Record],
    out: &Path,
) -> Result<Outcome, PipelineError> {
    let model = ModelFile::load_for(classifier, config, &[Stage::Classifier])?;
    let net = TorchNet::from_params(&model.info.graph, &model.params, context.device)?;
    let progress = bar("saliency", records.len());
    let mut maps = SaliencyMaps::new(config.finding_labels());
    for chunk in records.chunks(SALIENCY_CHUNK) {
        if context.stop.is_raised() {
            // Nothing is kept: it is a matter of minutes.
            return Ok(Outcome::Stopped { step: 0 });
        }
        maps.add(config, &net, chunk, method)?;
        progress.inc(chunk.len() as u64);
    }
    progress.finish_and_clear();
    maps.save(out)?;
    Ok(Outcome::Finished)
}
