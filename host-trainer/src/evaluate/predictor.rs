use shared::manifest::ClassSpec;
use shared::mask::Mask;
use shared::pixel::PixelFrame;
use shared::postprocess::{Logits, LogitsDigest, segment};
use shared::preprocess::{PreprocessSpec, letterbox_frame};
use tch::{Kind, Tensor, no_grad};

use super::gate::{GateCase, best_gate};
use super::{EvaluateError, Reliability, TemperatureSearch, ThresholdSearch};
use crate::config::Config;
use crate::dataset::Sample;
use crate::net::{Mode, TorchNet};
use crate::train::upload::upload;

/// Computes the outputs of a normalised image `[1, 1, S, S]`: logits `[1, C, S, S]`, and perhaps the auxiliary head's
/// `[1, C, 1, 1]`.
type Forward<'a> = dyn Fn(&Tensor) -> Result<Vec<Tensor>, EvaluateError> + 'a;

/// A network with the device's own pre- and postprocessing around it.
pub struct Predictor<'a> {
    forward: Box<Forward<'a>>,
    device: tch::Device,
    preprocess: PreprocessSpec,
    classes: Vec<ClassSpec>,
    /// By class: no threshold below is fitted.
    least_thresholds: Vec<f32>,
    /// By class: the probability of presence below which its mask is emptied.
    gates: Vec<f32>,
}

/// What a network says of one image.
struct Answer {
    /// C × S × S.
    logits: Vec<f32>,
    /// Probability by class that it is there at all; none without an auxiliary head.
    presence: Option<Vec<f32>>,
}

/// What validation images say about a network's probabilities.
#[derive(Clone, Debug)]
pub struct Fitted {
    /// The IoU at every threshold.
    pub thresholds: ThresholdSearch,
    /// How far probabilities are what they say.
    pub reliability: Reliability,
}

impl<'a> Predictor<'a> {
    /// Around a network, with all thresholds at 0.5 and all gates open.
    pub fn new(config: &Config, net: TorchNet) -> Self {
        let device = net.device();
        Self::around(config, device, move |image| Ok(net.forward_all(image, Mode::Eval)?))
    }

    /// Around any forward pass that ends in logits on a CPU or on `device`.
    pub fn with_forward(
        config: &Config,
        device: tch::Device,
        forward: impl Fn(&Tensor) -> Result<Tensor, EvaluateError> + 'a,
    ) -> Self {
        Self::around(config, device, move |image| Ok(vec![forward(image)?]))
    }

    fn around(
        config: &Config,
        device: tch::Device,
        forward: impl Fn(&Tensor) -> Result<Vec<Tensor>, EvaluateError> + 'a,
    ) -> Self {
        Self {
            forward: Box::new(forward),
            device,
            preprocess: config.preprocess.clone(),
            classes: config.classes.iter().map(|class| class.spec(0.5)).collect(),
            least_thresholds: config.classes.iter().map(|class| class.min_threshold).collect(),
            gates: vec![0.0; config.classes.len()],
        }
    }

    /// With these thresholds; the classes are those of the configuration.
    #[must_use]
    pub fn with_classes(self, classes: Vec<ClassSpec>) -> Self {
        Self { classes, ..self }
    }

    /// The classes with their thresholds.
    pub fn classes(&self) -> &[ClassSpec] {
        &self.classes
    }

    /// Sets the thresholds that are best on these samples, and gives their IoU; classes that no sample
    /// annotates keep theirs. A network with an auxiliary head gets the gates that are best with them.
    pub fn fit_thresholds(&mut self, samples: &[Sample]) -> Result<Vec<Option<f64>>, EvaluateError> {
        let best = self.fit(samples)?.thresholds.best();
        Ok(best.into_iter().map(|found| found.map(|(_, iou)| iou)).collect())
    }

    /// Sets the temperatures that make probabilities on these samples what they say; classes that no sample shows keep
    /// theirs. Thresholds are of calibrated probabilities: fit them afterwards.
    pub fn fit_temperatures(&mut self, samples: &[Sample]) -> Result<(), EvaluateError> {
        let mut search = TemperatureSearch::new(self.classes.len());
        for sample in samples {
            search.add(
                sample,
                &self.answer(&sample.normalized(self.preprocess.mean, self.preprocess.std))?.logits,
            );
        }
        for (class, found) in self.classes.iter_mut().zip(search.best()) {
            class.temperature = found.unwrap_or(class.temperature);
        }
        Ok(())
    }

    /// The same, and gives all that the samples say.
    pub fn fit(&mut self, samples: &[Sample]) -> Result<Fitted, EvaluateError> {
        let classes = self.classes.len();
        let (mut thresholds, mut reliability) =
            (ThresholdSearch::new(self.least_thresholds.clone()), Reliability::new(classes));
        let mut answers = Vec::new();
        for sample in samples {
            let mut answer = self.answer(&sample.normalized(self.preprocess.mean, self.preprocess.std))?;
            let plane = answer.logits.len() / classes;
            for (class, logits) in self.classes.iter().zip(answer.logits.chunks_exact_mut(plane)) {
                logits.iter_mut().for_each(|logit| *logit /= class.temperature);
            }
            thresholds.add(sample, &answer.logits);
            reliability.add(sample, &answer.logits);
            // Kept only where gates are to be fitted.
            answers.extend(answer.presence.is_some().then_some((sample, answer)));
        }
        for (class, found) in self.classes.iter_mut().zip(thresholds.best()) {
            if let Some((threshold, _)) = found {
                class.threshold = threshold;
            }
        }
        for (class, gate) in self.gates.iter_mut().enumerate() {
            let level = logit(self.classes[class].threshold);
            let case = |(sample, answer): &(&Sample, Answer)| {
                let (truth, presence) = (sample.mask(class)?, answer.presence.as_ref()?[class]);
                let size = sample.size();
                let plane = &answer.logits[class * size * size..(class + 1) * size * size];
                let found =
                    Mask::from_data(size, size, plane.iter().map(|v| u8::from(*v >= level)).collect());
                Some(GateCase::new(presence, &truth, &found))
            };
            *gate = best_gate(&answers.iter().filter_map(case).collect::<Vec<_>>());
        }
        Ok(Fitted { thresholds, reliability })
    }

    /// By class: the probability of presence below which its mask is emptied; 0: never.
    pub fn gates(&self) -> &[f32] {
        &self.gates
    }

    /// Sets one threshold for all classes.
    pub fn set_threshold(&mut self, threshold: f32) {
        for class in &mut self.classes {
            class.threshold = threshold;
        }
    }

    /// Masks of a radiograph on a grid of (rows, columns) over it, a class each.
    pub fn masks(&self, frame: &PixelFrame, grid: (usize, usize)) -> Result<Vec<Mask>, EvaluateError> {
        let boxed = letterbox_frame(frame, &self.preprocess);
        let answer = self.answer(&boxed.normalize(&self.preprocess))?;
        let size = self.preprocess.input_size;
        let logits = Logits::new(self.classes.len(), size, size, &answer.logits)?;
        let results = segment(&logits, &boxed.letterbox, &self.classes, grid)?;
        let mut masks: Vec<Mask> = results.into_iter().map(|result| result.mask).collect();
        for (class, presence) in answer.presence.iter().flatten().enumerate() {
            if *presence < self.gates[class] {
                masks[class] = Mask::empty(grid.0, grid.1);
            }
        }
        Ok(masks)
    }

    /// The planes of logits of a radiograph, each as its digest.
    pub fn logits(&self, frame: &PixelFrame) -> Result<Vec<LogitsDigest>, EvaluateError> {
        let answer = self.answer(&letterbox_frame(frame, &self.preprocess).normalize(&self.preprocess))?;
        let size = self.preprocess.input_size;
        Ok(LogitsDigest::of(&Logits::new(self.classes.len(), size, size, &answer.logits)?))
    }

    fn answer(&self, image: &[f32]) -> Result<Answer, EvaluateError> {
        let size = self.preprocess.input_size as i64;
        no_grad(|| {
            let image = upload(image, &[1, 1, size, size], self.device)?;
            let flat = |tensor: &Tensor| -> Result<Vec<f32>, EvaluateError> {
                let tensor = tensor.f_to_device(tch::Device::Cpu)?.f_to_kind(Kind::Float)?;
                Ok(Vec::try_from(&tensor.f_contiguous()?.f_view(-1)?)?)
            };
            let outputs = (self.forward)(&image)?;
            let presence = outputs.get(1).map(|head| flat(&head.f_sigmoid()?)).transpose()?;
            Ok(Answer { logits: flat(&outputs[0])?, presence })
        })
    }
}

/// The logit of a probability.
fn logit(p: f32) -> f32 {
    (p / (1.0 - p)).ln()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tiny;
    use crate::dataset::Annotated;

    #[test]
    fn the_auxiliary_head_empties_masks_of_what_is_not_there() {
        let config = tiny("");
        // Everything is foreground; the second head says that classes are there on bright images.
        let forward = |image: &Tensor| -> Result<Vec<Tensor>, EvaluateError> {
            let bright = image.f_mean(Kind::Float)?.double_value(&[]) > 0.0;
            let presence = if bright { 4.0 } else { -4.0 };
            let full = |value: f64, size: i64| {
                Tensor::f_full([1, 2, size, size], value, (Kind::Float, tch::Device::Cpu))
            };
            Ok(vec![full(3.0, 64)?, full(presence, 1)?])
        };
        let frame = |bright: bool| {
            // Both have the same range, so that windowing leaves them different.
            let white = |i: usize| i.is_multiple_of(8) != bright;
            let pixels = (0..64 * 64).map(|i| if white(i) { 60_000 } else { 5000 }).collect();
            PixelFrame::new(64, 64, pixels).unwrap()
        };
        let sample = |bright: bool| {
            let mask = Mask::from_fn(64, 64, |_, _| bright);
            let annotated = Annotated {
                id: bright.to_string(),
                source: "s".into(),
                patient: "p".into(),
                frame: frame(bright),
                masks: vec![Some(mask.clone()), Some(mask)],
            };
            annotated.to_sample(&config.preprocess)
        };
        let mut predictor = Predictor::around(&config, tch::Device::Cpu, forward);
        predictor.fit(&[sample(true), sample(false)]).unwrap();
        let areas = |bright| -> Vec<usize> {
            predictor.masks(&frame(bright), (64, 64)).unwrap().iter().map(Mask::area).collect()
        };
        assert_eq!(areas(true), [64 * 64; 2]);
        assert_eq!(areas(false), [0; 2], "gates {:?}", predictor.gates());
    }
}
