use std::path::Path;

use shared::mask::Mask;

use super::{Context, bar};
use crate::config::{Config, Gate, PseudoSpec};
use crate::dataset::{Record, Sample, load_samples};
use crate::irnet::{EDGES_CHUNK, refine};
use crate::net::TorchNet;
use crate::pipeline::{PipelineError, PseudoQuality};
use crate::pseudo::{ClassMap, PseudoMasks, class_maps, threshold};
use crate::saliency::SaliencyMaps;
use crate::train::{ModelFile, atomic};

/// Writes `masks.json`, the pseudo-masks of the weak images, and `quality.json`: how well pseudo-masks made in the
/// same way agree with the experts' masks of `judged` images. Nothing is chosen by the latter.
pub fn make_pseudo_masks(
    context: &Context,
    config: &Config,
    spec: &PseudoSpec,
    (saliency, edges): (&Path, Option<&Path>),
    (weak, judged): (&[Record], &[Record]),
    out: &Path,
) -> Result<(), PipelineError> {
    let maps = SaliencyMaps::load(saliency)?;
    let net = edges
        .map(|path| -> Result<TorchNet, PipelineError> {
            let model = ModelFile::load(path)?;
            Ok(TorchNet::from_params(&model.info.graph, &model.params, context.device)?)
        })
        .transpose()?;
    let labels = config.labels();
    let maker = Maker { config, maps: &maps, net: net.as_ref() };

    let mut masks = PseudoMasks::new(config.preprocess.input_size);
    let progress = bar("pseudo-masks", weak.len() + judged.len());
    for chunk in weak.chunks(EDGES_CHUNK) {
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

    let mut quality = PseudoQuality::new(&labels);
    for chunk in judged.chunks(EDGES_CHUNK) {
        let samples = load_samples(chunk, &labels, &config.preprocess)?;
        for (sample, made) in samples.iter().zip(maker.make(chunk, &samples, Gate::None)?) {
            for (class, mask) in made.iter().enumerate() {
                if let (Some(truth), Some(mask)) = (sample.mask(class), mask) {
                    quality.add(class, &truth, mask);
                }
            }
        }
        progress.inc(chunk.len() as u64);
    }
    progress.finish_and_clear();
    let path = out.join("quality.json");
    let json = serde_json::to_vec_pretty(&quality).expect("plain data with text keys");
    atomic::write(&path, &json).map_err(|source| PipelineError::Io { path, source })
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
