use comfy_table::Table;
use serde::{Deserialize, Serialize};
use shared::manifest::{ClassSpec, Quantization};
use tch::{Device, Tensor};

use super::ExportError;
use crate::config::Config;
use crate::dataset::Sample;
use crate::evaluate::Predictor;
use crate::net::{Graph, Params, TorchNet};
use crate::quantize::{Calibration, Method, QuantizedGraph, QuantizedNet, quantize};
use crate::train::upload::upload_samples;

/// The methods that are tried (design §6).
const METHODS: [Method; 4] =
    [Method::MinMax, Method::Percentile(0.9999), Method::Percentile(0.999), Method::Mse];

/// Arithmetic of the shipped graph.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
pub enum QuantizeChoice {
    /// 32-bit floats.
    None,
    /// 8-bit activations and weights, with the calibration that is best on validation.
    #[default]
    Int8,
}

/// The network in f32 and quantized by each method, with what each is worth on validation images.
#[derive(Debug)]
pub struct Ladder {
    rungs: Vec<Rung>,
    chosen: usize,
    /// What the validation images are.
    pub validation_name: &'static str,
}

/// One form of the network.
#[derive(Debug)]
pub struct Rung {
    form: Form,
    classes: Vec<ClassSpec>,
    iou: Vec<Option<f64>>,
}

#[derive(Debug)]
enum Form {
    F32(Graph, Params),
    Int8(Method, Box<QuantizedGraph>),
}

impl Ladder {
    /// Builds every form and fits its thresholds. `graph` and `params` are folded.
    pub fn climb(
        config: &Config,
        graph: &Graph,
        params: &Params,
        validation: &[Sample],
        choice: QuantizeChoice,
        device: Device,
    ) -> Result<Self, ExportError> {
        let mut forms = vec![Form::F32(graph.clone(), params.clone())];
        if choice == QuantizeChoice::Int8 {
            let net = TorchNet::from_params(graph, params, device)?;
            let images = validation.iter().map(|sample| normalised(config, sample, device));
            let images = images.collect::<Result<Vec<_>, _>>()?;
            let calibration = Calibration::collect(&net, images)?;
            for method in METHODS {
                let quantized = quantize(graph, params, &calibration.ranges(method)?)?;
                forms.push(Form::Int8(method, Box::new(quantized)));
            }
        }
        let rungs: Vec<Rung> = forms
            .into_iter()
            .map(|form| Rung::fit(config, form, validation, device))
            .collect::<Result<_, _>>()?;
        let first = rungs.len().min(2) - 1;
        let best = |a: &usize, b: &usize| rungs[*a].mean().total_cmp(&rungs[*b].mean());
        let chosen = (first..rungs.len()).max_by(best).unwrap_or(0);
        Ok(Self { rungs, chosen, validation_name: "" })
    }

    /// The f32 form.
    pub fn reference(&self) -> &Rung {
        &self.rungs[0]
    }

    /// The form to ship.
    pub fn chosen(&self) -> &Rung {
        &self.rungs[self.chosen]
    }

    /// For people: validation IoU of every form, and what it loses against f32.
    pub fn table(&self, labels: &[String]) -> Table {
        let mut header = vec!["form"];
        header.extend(labels.iter().map(String::as_str));
        header.extend(["mean IoU", "against f32", ""]);
        let mut table = crate::report::table(&header, 1);
        for (i, rung) in self.rungs.iter().enumerate() {
            let mut cells = vec![rung.name()];
            cells
                .extend(rung.iou.iter().map(|iou| iou.map_or_else(|| "–".into(), |iou| format!("{iou:.4}"))));
            cells.push(format!("{:.4}", rung.mean()));
            cells.push(format!("{:+.4}", rung.mean() - self.reference().mean()));
            cells.push(if i == self.chosen { "shipped".into() } else { String::new() });
            table.add_row(cells);
        }
        table
    }
}

impl Rung {
    fn fit(config: &Config, form: Form, validation: &[Sample], device: Device) -> Result<Self, ExportError> {
        let mut rung =
            Self { form, classes: config.classes.iter().map(|c| c.spec(0.5)).collect(), iou: Vec::new() };
        let mut predictor = rung.predictor(config, device)?;
        let iou = predictor.fit_thresholds(validation)?;
        let classes = predictor.classes().to_vec();
        (rung.iou, rung.classes) = (iou, classes);
        Ok(rung)
    }

    /// The form with pre- and postprocessing, at its thresholds.
    pub fn predictor(&self, config: &Config, device: Device) -> Result<Predictor<'static>, ExportError> {
        let predictor = match &self.form {
            Form::F32(graph, params) => Predictor::new(config, TorchNet::from_params(graph, params, device)?),
            Form::Int8(_, quantized) => {
                let net = QuantizedNet::new(quantized, device)?;
                Predictor::with_forward(config, device, move |image| Ok(net.forward(image)?))
            }
        };
        Ok(predictor.with_classes(self.classes.clone()))
    }

    /// How the form is named in tables.
    pub fn name(&self) -> String {
        match &self.form {
            Form::F32(..) => "f32".into(),
            Form::Int8(method, _) => format!("int8, {method}"),
        }
    }

    /// Its arithmetic.
    pub fn quantization(&self) -> Quantization {
        match &self.form {
            Form::F32(..) => Quantization::F32,
            Form::Int8(..) => Quantization::QdqInt8,
        }
    }

    /// The quantized network, if it is one.
    pub fn quantized(&self) -> Option<&QuantizedGraph> {
        match &self.form {
            Form::F32(..) => None,
            Form::Int8(_, quantized) => Some(quantized),
        }
    }

    /// Classes with fitted thresholds.
    pub fn classes(&self) -> &[ClassSpec] {
        &self.classes
    }

    /// Mean over classes of validation IoU at the fitted thresholds; 0 if nothing could be judged.
    pub fn mean(&self) -> f64 {
        let judged: Vec<f64> = self.iou.iter().flatten().copied().collect();
        judged.iter().sum::<f64>() / judged.len().max(1) as f64
    }
}

fn normalised(config: &Config, sample: &Sample, device: Device) -> Result<Tensor, tch::TchError> {
    upload_samples([sample], [config.preprocess.mean, config.preprocess.std], device)
}
