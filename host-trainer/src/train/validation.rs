//! Quality at a glance while training: dataset-level IoU at model size.

use tch::{Kind, Tensor, no_grad};

use super::Scores;
use super::upload::{upload, upload_samples};
use crate::dataset::Sample;
use crate::evaluate::threshold_logits;
use crate::net::{Mode, TorchNet, TorchNetError};

/// Images a forward pass.
const CHUNK: usize = 8;

/// Images on the device, ready to be judged again and again.
#[derive(Debug)]
pub struct ValidationSet {
    chunks: Vec<Chunk>,
    classes: usize,
    /// Pixels that experts have drawn of each class.
    drawn: Vec<usize>,
}

#[derive(Debug)]
struct Chunk {
    /// N × 1 × S × S, normalised.
    images: Tensor,
    /// N × C × S × S: 1 where half or more of the pixel is covered.
    truth: Tensor,
    /// N × C × 1 × 1: whether the class is annotated.
    valid: Tensor,
}

impl ValidationSet {
    /// Puts the samples on `device`.
    pub fn new(samples: &[Sample], mean: f32, std: f32, device: tch::Device) -> Result<Self, TorchNetError> {
        let classes = samples.first().map_or(0, |sample| sample.targets.len());
        let area = |class: usize| samples.iter().filter_map(|s| Some(s.mask(class)?.area())).sum();
        let chunk = |samples: &[Sample]| -> Result<Chunk, TorchNetError> {
            let (n, c, s) = (samples.len() as i64, classes as i64, samples[0].size() as i64);
            let (mut truth, mut valid) = (Vec::new(), Vec::new());
            for sample in samples {
                for class in 0..classes {
                    let mask = sample.mask(class);
                    valid.push(mask.is_some());
                    match mask {
                        Some(mask) => truth.extend(mask.data().iter().map(|&v| v != 0)),
                        None => truth.resize(truth.len() + (s * s) as usize, false),
                    }
                }
            }
            Ok(Chunk {
                images: upload_samples(samples, [mean, std], device)?,
                truth: upload(&truth, &[n, c, s, s], device)?,
                valid: upload(&valid, &[n, c, 1, 1], device)?,
            })
        };
        Ok(Self {
            chunks: samples.chunks(CHUNK).map(chunk).collect::<Result<_, _>>()?,
            classes,
            drawn: (0..classes).map(area).collect(),
        })
    }

    /// Judges a network: ΣI / ΣU of each class at the threshold that is best for it (design §5.6); none where experts
    /// have drawn no pixel of it.
    pub fn validate(&self, net: &TorchNet) -> Result<Scores, TorchNetError> {
        let levels = threshold_logits();
        let mut intersection = vec![vec![0_i64; self.classes]; levels.len()];
        let mut union = intersection.clone();
        no_grad(|| -> Result<(), TorchNetError> {
            for chunk in &self.chunks {
                let logits = net.forward(&chunk.images, Mode::Eval)?;
                for (level, (both_sums, either_sums)) in
                    levels.iter().zip(intersection.iter_mut().zip(&mut union))
                {
                    let found = logits.f_ge(*level)?.f_logical_and(&chunk.valid)?;
                    let both = found.f_logical_and(&chunk.truth)?;
                    let either = found.f_logical_or(&chunk.truth)?;
                    for (sums, pixels) in [(both_sums, both), (either_sums, either)] {
                        let counts =
                            pixels.f_sum_dim_intlist([0_i64, 2, 3].as_slice(), false, Kind::Int64)?;
                        for (sum, count) in sums.iter_mut().zip(Vec::<i64>::try_from(&counts)?) {
                            *sum += count;
                        }
                    }
                }
            }
            Ok(())
        })?;
        let iou = |class: usize| {
            let at = |level: usize| intersection[level][class] as f64 / union[level][class] as f64;
            (self.drawn[class] > 0).then(|| (0..levels.len()).map(at).fold(0.0, f64::max))
        };
        Ok(Scores { by_label: (0..self.classes).map(iou).collect() })
    }
}

#[cfg(test)]
mod tests {
    use shared::preprocess::Letterbox;
    use tch::Device;

    use super::*;
    use crate::net::{GraphBuilder, ParamTensor, Params};

    /// A network that is sure of every pixel above mid grey and of every other one, in both planes.
    fn thresholder() -> TorchNet {
        let (mut g, x) = GraphBuilder::new("threshold", 1);
        let y = g.conv("c", x, 2, 1, |c| c.bias = true);
        let graph = g.finish(&[y]);
        let params: Params = [
            ("c.weight".to_owned(), ParamTensor::full(&[2, 1, 1, 1], 40.0)),
            ("c.bias".to_owned(), ParamTensor::full(&[2], -20.0)),
        ]
        .into_iter()
        .collect();
        TorchNet::from_params(&graph, &params, Device::Cpu).unwrap()
    }

    #[test]
    fn iou_counts_pixels_over_all_images_and_skips_unknown_masks() {
        // Image 1: 2 of 4 pixels bright, truth covers 1 of them. Image 2: 1 bright, truth unknown for class 0.
        let sample = |bright: [u16; 4], truth: Option<[u8; 4]>| Sample {
            id: "x".into(),
            letterbox: Letterbox::new(2, 2, 2),
            image: bright.map(|v| v * 65535).into(),
            targets: vec![truth.map(|t| t.map(|v| v * 255).into()), None],
        };
        let samples = [sample([1, 1, 0, 0], Some([1, 0, 0, 1])), sample([1, 0, 0, 0], None)];
        let set = ValidationSet::new(&samples, 0.0, 1.0, Device::Cpu).unwrap();
        let validation = set.validate(&thresholder()).unwrap();
        assert_eq!(validation.by_label, [Some(1.0 / 3.0), None]);
        assert_eq!(validation.mean(), Some(1.0 / 3.0));
        // Grey of 0.49 has a probability of 0.4: found at the best threshold, not at 0.5.
        let faint = Sample { image: [32_113, 0, 0, 0].into(), ..sample([0; 4], Some([1, 0, 0, 0])) };
        let set = ValidationSet::new(&[faint], 0.0, 1.0, Device::Cpu).unwrap();
        assert_eq!(set.validate(&thresholder()).unwrap().by_label, [Some(1.0), None]);
    }
}
