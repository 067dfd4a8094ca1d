use std::path::Path;

use super::{Context, bar};
use crate::config::Config;
use crate::dataset::{Record, Split, load_annotated, load_samples};
use crate::evaluate::{EvaluateError, Judge, Predictor, StoredCounts, write_counts};
use crate::net::TorchNet;
use crate::pipeline::PipelineError;
use crate::train::ModelFile;

/// Judges a segmenter on `test` images at source resolution and writes the counts. Thresholds are those that are best
/// on `validation`, or 0.5 if there is none.
pub fn evaluate_segmenter(
    context: &Context,
    config: &Config,
    model: &Path,
    validation: &[Record],
    test: &[Record],
    out: &Path,
) -> Result<(), PipelineError> {
    let model = ModelFile::load(model)?;
    let net = TorchNet::from_params(&model.info.graph, &model.params, context.device)?;
    let mut predictor = Predictor::new(config, net);
    let labels = config.labels();
    if !validation.is_empty() {
        let samples = load_samples(validation, &labels, &config.preprocess)?;
        predictor.fit_thresholds(&samples)?;
    }
    let judge = Judge::new(config);
    let progress = bar("evaluation", test.len());
    let counts = test.iter().map(|record| {
        let image = load_annotated(record, &labels)?;
        let masks = predictor.masks(&image.frame, (image.frame.rows(), image.frame.cols()))?;
        progress.inc(1);
        judge.judge(&image, &masks)
    });
    let counts = counts.collect::<Result<Vec<_>, EvaluateError>>()?;
    progress.finish_and_clear();
    let split = test.first().map_or(Split::StrongTest, |record| record.split);
    Ok(write_counts(out, &StoredCounts::new(&judge, split, counts))?)
}
