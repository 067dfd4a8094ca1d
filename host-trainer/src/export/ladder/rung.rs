use shared::manifest::{ClassSpec, Quantization};
use tch::Device;

use crate::config::Config;
use crate::dataset::Sample;
use crate::evaluate::{ClassReliability, Predictor};
use crate::export::ExportError;
use crate::net::{Graph, Params, TorchNet};
use crate::onnx::{ModelInfo, write_f32, write_qdq};
use crate::quantize::{QuantizedGraph, QuantizedNet};

/// One form of the network, with the temperatures and thresholds that are best for it on validation.
#[derive(Debug)]
pub struct Rung {
    /// How it is named in tables.
    pub name: String,
    /// The ONNX file.
    pub bytes: Vec<u8>,
    /// Milliseconds on the device's engine with one thread; none: not measured.
    pub latency_ms: Option<f64>,
    form: Form,
    classes: Vec<ClassSpec>,
    iou: Vec<Option<f64>>,
    reliability: [Vec<ClassReliability>; 2],
}

#[derive(Debug)]
pub(super) enum Form {
    F32(Box<(Graph, Params)>),
    Int8(Box<QuantizedGraph>),
}

impl Rung {
    pub(super) fn fit(
        config: &Config,
        name: String,
        form: Form,
        validation: &[Sample],
        info: &ModelInfo,
        device: Device,
    ) -> Result<Self, ExportError> {
        let size = [config.preprocess.input_size; 2];
        let bytes = match &form {
            Form::F32(net) => write_f32(&net.0, &net.1, size, info)?,
            Form::Int8(quantized) => write_qdq(quantized, size, info)?,
        };
        let classes = config.classes.iter().map(|c| c.spec(0.5)).collect();
        let mut rung = Self {
            name,
            bytes,
            latency_ms: None,
            form,
            classes,
            iou: Vec::new(),
            reliability: [Vec::new(), Vec::new()],
        };
        let labels = config.labels();
        let mut predictor = rung.predictor(config, device)?;
        let before = predictor.fit(validation)?.reliability.diagrams(&labels);
        predictor.fit_temperatures(validation)?;
        // Thresholds anew, to the calibrated probabilities.
        let fitted = predictor.fit(validation)?;
        let classes = predictor.classes().to_vec();
        rung.iou = fitted.thresholds.best().into_iter().map(|best| best.map(|(_, iou)| iou)).collect();
        rung.reliability = [before, fitted.reliability.diagrams(&labels)];
        rung.classes = classes;
        Ok(rung)
    }

    /// The form with pre- and postprocessing, at its thresholds.
    pub fn predictor(&self, config: &Config, device: Device) -> Result<Predictor<'static>, ExportError> {
        let predictor = match &self.form {
            Form::F32(net) => Predictor::new(config, TorchNet::from_params(&net.0, &net.1, device)?),
            Form::Int8(quantized) => {
                let net = QuantizedNet::new(quantized, device)?;
                Predictor::with_forward(config, device, move |image| Ok(net.forward(image)?))
            }
        };
        Ok(predictor.with_classes(self.classes.clone()))
    }

    /// Its arithmetic.
    pub fn quantization(&self) -> Quantization {
        match &self.form {
            Form::F32(..) => Quantization::F32,
            Form::Int8(..) => Quantization::QdqInt8,
        }
    }

    /// How far its probabilities on validation are what they say, before and after temperatures.
    pub fn reliability(&self) -> [&[ClassReliability]; 2] {
        [0, 1].map(|i| self.reliability[i].as_slice())
    }

    /// Classes with fitted temperatures and thresholds.
    pub fn classes(&self) -> &[ClassSpec] {
        &self.classes
    }

    /// Validation IoU by class at the fitted thresholds; none where no image shows the class.
    pub fn iou(&self) -> &[Option<f64>] {
        &self.iou
    }

    /// Mean over classes of validation IoU at the fitted thresholds; 0 if nothing could be judged.
    pub fn mean(&self) -> f64 {
        mean(self.iou.iter().flatten().copied())
    }

    /// As [`Rung::mean`], with no class counted above what it is in `reference`. Rounding teaches a network nothing:
    /// what it gains on a class of a few images is luck, and must not pay for what another class loses.
    pub fn kept(&self, reference: &Self) -> f64 {
        let both = self.iou.iter().zip(&reference.iou).filter_map(|(own, reference)| own.zip(*reference));
        mean(both.map(|(own, reference)| own.min(reference)))
    }
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0), |(sum, count), value| (sum + value, count + 1));
    sum / f64::from(count.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rung(iou: [Option<f64>; 3]) -> Rung {
        let nothing = Form::F32(Box::new((crate::config::tiny("").graph(), Params::default())));
        Rung {
            name: String::new(),
            bytes: Vec::new(),
            latency_ms: None,
            form: nothing,
            classes: Vec::new(),
            iou: iou.into(),
            reliability: Default::default(),
        }
    }

    #[test]
    fn a_gain_in_one_class_does_not_pay_for_a_loss_in_another() {
        let f32 = rung([Some(0.9), Some(0.2), None]);
        let lucky = rung([Some(0.8), Some(0.5), None]);
        let faithful = rung([Some(0.89), Some(0.2), None]);
        assert!(lucky.mean() > faithful.mean());
        assert!(lucky.kept(&f32) < faithful.kept(&f32));
        assert!((lucky.kept(&f32) - 0.5).abs() < 1e-9 && (f32.kept(&f32) - f32.mean()).abs() < 1e-9);
    }
}
