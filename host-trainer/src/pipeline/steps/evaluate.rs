use std::path::Path;

use super::pictures::{choose_cases, create, draw_case, save, save_json};
use super::{Context, bar};
use crate::config::{Config, Stage};
use crate::dataset::{Split, load_annotated, load_samples};
use crate::evaluate::{Judge, Predictor, StoredCounts, count_images, write_counts};
use crate::net::TorchNet;
use crate::pipeline::{PipelineError, StudyRoles};

use crate::train::ModelFile;

/// Judges a segmenter on the test images at source resolution. Thresholds are those that are best on the validation
/// images; where there are none (cross-validation), on the expert masks that it learned from; where there are none
/// either, 0.5. `taught` are the places of the labels that it is taught: cases are chosen by these. Into `out`:
///
/// ```text
/// counts.json             pixels, from which all figures follow
/// thresholds.json         the IoU at every threshold ┐ on the validation images,
/// reliability.json        reliability diagrams       ┘ where there are some
/// overlays/RANK.png       best, median and worst case (radiographs!)
/// overlays/cases.json     which images those are
/// ```
pub fn evaluate_segmenter(
    context: &Context,
    config: &Config,
    model: &Path,
    taught: &[usize],
    StudyRoles { training, test }: &StudyRoles,
    out: &Path,
) -> Result<(), PipelineError> {
    let model = ModelFile::load_for(model, config, &Stage::SEGMENTERS)?;
    let net = TorchNet::from_params(&model.info.graph, &model.params, context.device)?;
    let mut predictor = Predictor::new(config, net);
    let labels = config.labels();
    let held_out = !training.validation.is_empty();
    let fitting = if held_out { &training.validation } else { &training.strong };
    if !fitting.is_empty() {
        let fitted = predictor.fit(&load_samples(fitting, &labels, &config.preprocess)?)?;
        // Curves over images that were learned from would flatter.
        if held_out {
            save_json(&fitted.thresholds.curves(&labels), &out.join("thresholds.json"))?;
            save_json(&fitted.reliability.diagrams(&labels), &out.join("reliability.json"))?;
        }
    }
    let judge = Judge::new(config);
    let progress = bar("evaluation", test.len());
    let split = test.first().map_or(Split::StrongTest, |record| record.split);
    let counts = count_images(&judge, &labels, split, test, |_, image| {
        progress.inc(1);
        predictor.masks(&image.frame, (image.frame.rows(), image.frame.cols()))
    })?;
    progress.finish_and_clear();

    // Masks of all images at once would not fit into memory, so these few are computed again.
    let overlays = out.join("overlays");
    create(&overlays)?;
    let mut shown = Vec::new();
    // The network's own classes; its masks of others are whatever it began with.
    let own: Vec<usize> = taught.iter().copied().filter(|&class| class < labels.len()).collect();
    for (place, case) in choose_cases(&counts, &own) {
        let image = load_annotated(&test[place], &labels)?;
        let masks = predictor.masks(&image.frame, (image.frame.rows(), image.frame.cols()))?;
        save(&draw_case(config, &image, &masks), &overlays.join(&case.file))?;
        shown.push(case);
    }
    save_json(&shown, &overlays.join("cases.json"))?;

    Ok(write_counts(&out.join("counts.json"), &StoredCounts::new(&judge, split, counts))?)
}
