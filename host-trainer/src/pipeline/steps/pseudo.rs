use std::path::Path;

use shared::mask::Mask;

use super::pictures::{Preview, create, draw_preview, save, save_json};
use super::{Context, bar};
use crate::config::{Config, Gate, PseudoSpec, Stage};
use crate::dataset::{Record, Sample, load_samples};
use crate::irnet::{EDGES_CHUNK, refine};
use crate::net::TorchNet;
use crate::pipeline::{PipelineError, PseudoQuality};
use crate::pseudo::{ClassMap, PseudoMasks, class_maps, threshold};
use crate::saliency::SaliencyMaps;
use crate::train::{ModelFile, Outcome};

/// Images that are shown in a report.
const PREVIEWS: usize = 8;

/// Writes `masks.json`, the pseudo-masks of the weak images, and `quality.json`: how well pseudo-masks made in the
/// same way, gate included, agree with the experts' masks of `judged` images. Nothing is chosen by the latter.
/// `previews/` gets pictures of a few weak images with their pseudo-masks.
pub fn make_pseudo_masks(
    context: &Context,
    config: &Config,
    spec: &PseudoSpec,
    (saliency, edges): (&Path, Option<&Path>),
    (weak, judged): (&[Record], &[Record]),
    out: &Path,
) -> Result<Outcome, PipelineError> {
    let maps = SaliencyMaps::load(saliency)?;
    maps.check(config, saliency)?;
    let net = edges
        .map(|path| -> Result<TorchNet, PipelineError> {
            let model = ModelFile::load_for(path, config, &[Stage::Edges])?;
            Ok(TorchNet::from_params(&model.info.graph, &model.params, context.device)?)
        })
        .transpose()?;
    let labels = config.labels();
    let maker = Maker { config, maps: &maps, net: net.as_ref() };

    let mut masks = PseudoMasks::new(config.preprocess.input_size);
    let progress = bar("pseudo-masks", weak.len() + judged.len());
    for chunk in weak.chunks(EDGES_CHUNK) {
        if context.stop.is_raised() {
            return Ok(Outcome::Stopped { step: 0 });
        }
        let samples = load_samples(chunk, &[], &config.preprocess)?;
        for (record, made) in chunk.iter().zip(maker.make(chunk, &samples, spec.gate)?) {
            for (label, mask) in labels.iter().zip(made) {
                if let Some(mask) = mask {
                    masks.insert(&record.id, label, &mask);
                }
            }
        }
        progress.inc(chunk.len() as u64);
    }
    masks.save(&out.join("masks.json"))?;
    draw_previews(config, weak, &masks, &out.join("previews"))?;

    let mut quality = PseudoQuality::new(&labels);
    for chunk in judged.chunks(EDGES_CHUNK) {
        if context.stop.is_raised() {
            return Ok(Outcome::Stopped { step: 0 });
        }
        let samples = load_samples(chunk, &labels, &config.preprocess)?;
        for (sample, made) in samples.iter().zip(maker.make(chunk, &samples, spec.gate)?) {
            for (class, mask) in made.iter().enumerate() {
                if let (Some(truth), Some(mask)) = (sample.mask(class), mask) {
                    quality.add(class, &truth, mask);
                }
            }
        }
        progress.inc(chunk.len() as u64);
    }
    progress.finish_and_clear();
    save_json(&quality, &out.join("quality.json"))?;
    Ok(Outcome::Finished)
}

/// Draws a few images from the beginning to the end of those that have a pseudo-mask.
fn draw_previews(
    config: &Config,
    weak: &[Record],
    masks: &PseudoMasks,
    out: &Path,
) -> Result<(), PipelineError> {
    let labels = config.labels();
    let with: Vec<&Record> = weak.iter().filter(|record| masks.images.contains_key(&record.id)).collect();
    let shown = PREVIEWS.min(with.len());
    let chosen: Vec<Record> = (0..shown).map(|i| with[i * with.len() / shown].clone()).collect();
    create(out)?;
    let mut previews = Vec::new();
    for (i, sample) in load_samples(&chosen, &[], &config.preprocess)?.iter().enumerate() {
        let masks: Vec<Option<Mask>> =
            labels.iter().map(|label| masks.mask(&sample.id, label)).collect::<Result<_, _>>()?;
        let file = format!("{}.png", i + 1);
        save(&draw_preview(config, sample, &masks)?, &out.join(&file))?;
        let named = labels.iter().zip(&masks).filter(|(_, mask)| mask.is_some());
        let classes = named.map(|(label, _)| label.clone()).collect();
        previews.push(Preview { file, id: sample.id.clone(), classes });
    }
    save_json(&previews, &out.join("previews.json"))
}

struct Maker<'a> {
    config: &'a Config,
    maps: &'a SaliencyMaps,
    net: Option<&'a TorchNet>,
}

impl Maker<'_> {
    fn make(
        &self,
        records: &[Record],
        samples: &[Sample],
        gate: Gate,
    ) -> Result<Vec<Vec<Option<Mask>>>, PipelineError> {
        let seen: Vec<(&Sample, Vec<ClassMap>)> = samples
            .iter()
            .zip(records)
            .map(|(sample, record)| (sample, class_maps(self.config, record, self.maps, gate)))
            .collect();
        let Some(net) = self.net else {
            let cut = |(sample, maps): &(&Sample, Vec<ClassMap>)| {
                maps.iter().map(|map| threshold(map, sample, self.config.compat_paper)).collect()
            };
            return Ok(seen.iter().map(cut).collect());
        };
        let mean_std = [self.config.preprocess.mean, self.config.preprocess.std];
        Ok(refine(net, &seen, mean_std, &self.config.irnet)?)
    }
}
