use shared::manifest::ClassSpec;
use shared::mask::Mask;
use shared::pixel::PixelFrame;
use shared::postprocess::{Logits, segment};
use shared::preprocess::{PreprocessSpec, letterbox_frame};
use tch::{Kind, Tensor, no_grad};

use super::{EvaluateError, Reliability, ThresholdSearch};
use crate::config::Config;
use crate::dataset::Sample;
use crate::net::{Mode, TorchNet};

/// Computes logits `[1, C, S, S]` from a normalised image `[1, 1, S, S]`: a network, or a quantized one.
type Forward<'a> = dyn Fn(&Tensor) -> Result<Tensor, EvaluateError> + 'a;

/// A network with the device's own pre- and postprocessing around it.
pub struct Predictor<'a> {
    forward: Box<Forward<'a>>,
    device: tch::Device,
    preprocess: PreprocessSpec,
    classes: Vec<ClassSpec>,
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
    /// Around a network, with all thresholds at 0.5.
    pub fn new(config: &Config, net: TorchNet) -> Self {
        Self::with_forward(config, net.device(), move |image| Ok(net.forward(image, Mode::Eval)?))
    }

    /// Around any forward pass that ends in logits on a CPU or on `device`.
    pub fn with_forward(
        config: &Config,
        device: tch::Device,
        forward: impl Fn(&Tensor) -> Result<Tensor, EvaluateError> + 'a,
    ) -> Self {
        Self {
            forward: Box::new(forward),
            device,
            preprocess: config.preprocess.clone(),
            classes: config.classes.iter().map(|class| class.spec(0.5)).collect(),
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
    /// annotates keep theirs.
    pub fn fit_thresholds(&mut self, samples: &[Sample]) -> Result<Vec<Option<f64>>, EvaluateError> {
        let best = self.fit(samples)?.thresholds.best();
        Ok(best.into_iter().map(|found| found.map(|(_, iou)| iou)).collect())
    }

    /// The same, and gives all that the samples say.
    pub fn fit(&mut self, samples: &[Sample]) -> Result<Fitted, EvaluateError> {
        let classes = self.classes.len();
        let (mut thresholds, mut reliability) = (ThresholdSearch::new(classes), Reliability::new(classes));
        for sample in samples {
            let image = sample.normalized(self.preprocess.mean, self.preprocess.std);
            let logits = self.logits(&image)?;
            thresholds.add(sample, &logits);
            reliability.add(sample, &logits);
        }
        for (class, found) in self.classes.iter_mut().zip(thresholds.best()) {
            if let Some((threshold, _)) = found {
                class.threshold = threshold;
            }
        }
        Ok(Fitted { thresholds, reliability })
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
        let values = self.logits(&boxed.normalize(&self.preprocess))?;
        let size = self.preprocess.input_size;
        let logits = Logits::new(self.classes.len(), size, size, &values)?;
        let results = segment(&logits, &boxed.letterbox, &self.classes, grid)?;
        Ok(results.into_iter().map(|result| result.mask).collect())
    }

    /// C × S × S logits of a normalised image.
    fn logits(&self, image: &[f32]) -> Result<Vec<f32>, EvaluateError> {
        let size = self.preprocess.input_size as i64;
        no_grad(|| {
            let image = Tensor::f_from_slice(image)?.f_view([1, 1, size, size])?.f_to_device(self.device)?;
            let logits = (self.forward)(&image)?.f_to_device(tch::Device::Cpu)?.f_to_kind(Kind::Float)?;
            Ok(Vec::try_from(&logits.f_contiguous()?.f_view(-1)?)?)
        })
    }
}
