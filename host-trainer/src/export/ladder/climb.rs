use std::collections::BTreeSet;

use tch::{Device, Tensor};

use super::rung::Form;
use super::{Ladder, QuantizeChoice, Rung, finetune};
use crate::config::Config;
use crate::dataset::{Index, Sample};
use crate::export::ExportError;
use crate::net::{Graph, Params, TorchNet};
use crate::onnx::ModelInfo;
use crate::quantize::{
    Calibration, Method, QuantPlan, QuantizedGraph, Ranges, Unit, correct_bias, equalize, quantize,
    sensitivity,
};
use crate::train::ModelFile;
use crate::train::upload::upload_samples;

/// The methods that are tried (design §6).
const METHODS: [Method; 5] =
    [Method::MinMax, Method::Percentile(0.9999), Method::Percentile(0.999), Method::Mse, Method::Entropy];
/// Images that tell how much each unit suffers: a ranking needs fewer than a choice.
const SENSITIVITY_IMAGES: usize = 6;
/// Units that the card names.
const SENSITIVE_SHOWN: usize = 5;

/// What a ladder is made of.
#[derive(Debug)]
pub struct Climb<'a> {
    /// The experiment.
    pub config: &'a Config,
    /// The model that the network is of; its parameters are not folded.
    pub model: &'a ModelFile,
    /// The folded network.
    pub graph: &'a Graph,
    /// Its parameters.
    pub params: &'a Params,
    /// Images to calibrate with and to choose by.
    pub validation: &'a [Sample],
    /// Radiographs for fine-tuning; none: it is left out.
    pub index: Option<&'a Index>,
    /// What the ONNX files say about themselves.
    pub info: &'a ModelInfo,
    /// Where to compute.
    pub device: Device,
}

/// How a rung was quantized.
#[derive(Clone)]
struct Recipe {
    params: Params,
    method: Method,
    ranges: Ranges,
    kept: BTreeSet<Unit>,
    /// Whether biases are corrected.
    corrected: bool,
}

/// The best rung so far.
struct Best {
    rung: usize,
    recipe: Recipe,
    calibration: Calibration,
}

impl Climb<'_> {
    /// Builds every form and fits its thresholds.
    ///
    /// # Errors
    /// If the network cannot be quantized, written or run.
    pub fn ladder(&self, choice: QuantizeChoice) -> Result<Ladder, ExportError> {
        let f32 = Form::F32(Box::new((self.graph.clone(), self.params.clone())));
        let mut ladder = Ladder {
            rungs: vec![self.rung("f32".into(), f32)?],
            chosen: 0,
            validation_name: "",
            sensitive: Vec::new(),
            remarks: Vec::new(),
        };
        if choice == QuantizeChoice::Int8 {
            let mut best = self.calibrated(&mut ladder)?;
            self.equalized(&mut ladder, &mut best)?;
            self.bias_corrected(&mut ladder, &mut best)?;
            self.partly_f32(&mut ladder, &mut best)?;
            self.finetuned(&mut ladder, &mut best)?;
            ladder.chosen = best.rung;
        }
        Ok(ladder)
    }

    /// One rung a calibration method.
    fn calibrated(&self, ladder: &mut Ladder) -> Result<Best, ExportError> {
        let calibration = self.calibrate(self.params)?;
        let first = ladder.rungs.len();
        for method in METHODS {
            let recipe = self.recipe(&calibration, method)?;
            ladder.rungs.push(self.int8(format!("int8, {method}"), &recipe, &calibration)?);
        }
        // The earliest of equals.
        let rung = (first..ladder.rungs.len())
            .rev()
            .max_by(|a, b| ladder.kept(*a).total_cmp(&ladder.kept(*b)))
            .expect("there are methods");
        let recipe = self.recipe(&calibration, METHODS[rung - first])?;
        Ok(Best { rung, recipe, calibration })
    }

    fn equalized(&self, ladder: &mut Ladder, best: &mut Best) -> Result<(), ExportError> {
        let (params, pairs) = equalize(self.graph, self.params);
        if pairs == 0 {
            return Ok(());
        }
        let calibration = self.calibrate(&params)?;
        let method = best.recipe.method;
        let recipe = Recipe { ranges: calibration.ranges(method)?, params, ..best.recipe.clone() };
        let rung = self.int8(format!("… {method}, {pairs} pairs equalized"), &recipe, &calibration)?;
        if ladder.add_and_compare(rung, best.rung, 0.0) {
            *best = Best { rung: ladder.rungs.len() - 1, recipe, calibration };
        }
        Ok(())
    }

    fn bias_corrected(&self, ladder: &mut Ladder, best: &mut Best) -> Result<(), ExportError> {
        let recipe = Recipe { corrected: true, ..best.recipe.clone() };
        let rung = self.int8("… biases corrected".into(), &recipe, &best.calibration)?;
        if ladder.add_and_compare(rung, best.rung, 0.0) {
            (best.rung, best.recipe) = (ladder.rungs.len() - 1, recipe);
        }
        Ok(())
    }

    /// With the worst 1, 2, 4 … units in f32, where that pays.
    fn partly_f32(&self, ladder: &mut Ladder, best: &mut Best) -> Result<(), ExportError> {
        let spec = &self.config.export.quantize;
        let images: Vec<Tensor> = self
            .validation
            .iter()
            .take(SENSITIVITY_IMAGES)
            .map(|sample| self.normalised(sample))
            .collect::<Result<_, _>>()?;
        let quantized = self.quantized(&best.recipe, &best.calibration)?;
        let suffering = sensitivity(&quantized, &images, self.device)?;
        let plan = QuantPlan::new(self.graph)?;
        let name = |unit: Unit| match unit {
            Unit::Weights(_) => format!("weights of {}", plan.name(self.graph, unit)),
            Unit::Values(_) => format!("values of {}", plan.name(self.graph, unit)),
        };
        let shown = suffering.iter().take(SENSITIVE_SHOWN);
        ladder.sensitive = shown.map(|(unit, error)| (name(*unit), *error)).collect();
        let mut most = 1;
        while most <= spec.keep_f32.min(suffering.len()) {
            let kept = suffering.iter().take(most).map(|(unit, _)| *unit).collect();
            let recipe = Recipe { kept, ..best.recipe.clone() };
            let rung = self.int8(format!("… the {most} worst in f32"), &recipe, &best.calibration)?;
            if ladder.add_and_compare(rung, best.rung, spec.keep_pays) {
                (best.rung, best.recipe) = (ladder.rungs.len() - 1, recipe);
            }
            most *= 2;
        }
        Ok(())
    }

    /// Fine-tuned under fake quantization, where 8 bits cost too much without.
    fn finetuned(&self, ladder: &mut Ladder, best: &mut Best) -> Result<(), ExportError> {
        let spec = &self.config.export.quantize;
        let lost = ladder.reference().mean() - ladder.kept(best.rung);
        if lost <= spec.finetune_above {
            return Ok(());
        }
        let Some(index) = self.index else {
            ladder.remarks.push(format!(
                "8 bits cost {:.2} points; there are no radiographs to fine-tune with",
                lost * 100.0
            ));
            return Ok(());
        };
        let quantized = self.quantized(&best.recipe, &best.calibration)?;
        let params = finetune::finetune(self, &quantized, index)?;
        // The ranges are those that it learned with, and its biases are its own.
        let recipe = Recipe { params, corrected: false, ..best.recipe.clone() };
        let rung =
            self.int8(format!("… fine-tuned, {} steps", spec.finetune_steps), &recipe, &best.calibration)?;
        if ladder.add_and_compare(rung, best.rung, 0.0) {
            (best.rung, best.recipe) = (ladder.rungs.len() - 1, recipe);
        }
        Ok(())
    }

    fn calibrate(&self, params: &Params) -> Result<Calibration, ExportError> {
        let net = TorchNet::from_params(self.graph, params, self.device)?;
        let images = self.validation.iter().map(|sample| self.normalised(sample));
        let images = images.collect::<Result<Vec<_>, _>>()?;
        Ok(Calibration::collect(&net, images)?)
    }

    fn recipe(&self, calibration: &Calibration, method: Method) -> Result<Recipe, ExportError> {
        let (params, ranges) = (self.params.clone(), calibration.ranges(method)?);
        Ok(Recipe { params, method, ranges, kept: BTreeSet::new(), corrected: false })
    }

    fn quantized(&self, recipe: &Recipe, calibration: &Calibration) -> Result<QuantizedGraph, ExportError> {
        let mut quantized = quantize(self.graph, &recipe.params, &recipe.ranges, &recipe.kept)?;
        if recipe.corrected {
            correct_bias(&mut quantized, calibration.means());
        }
        Ok(quantized)
    }

    fn int8(&self, name: String, recipe: &Recipe, calibration: &Calibration) -> Result<Rung, ExportError> {
        self.rung(name, Form::Int8(Box::new(self.quantized(recipe, calibration)?)))
    }

    fn rung(&self, name: String, form: Form) -> Result<Rung, ExportError> {
        tracing::info!(form = name, "judging");
        Rung::fit(self.config, name, form, self.validation, self.info, self.device)
    }

    fn normalised(&self, sample: &Sample) -> Result<Tensor, tch::TchError> {
        let spec = &self.config.preprocess;
        upload_samples([sample], [spec.mean, spec.std], self.device)
    }
}

impl Ladder {
    /// Adds a rung and says whether it keeps more of f32's mean IoU than another, by more than `margin`.
    fn add_and_compare(&mut self, rung: Rung, than: usize, margin: f64) -> bool {
        self.rungs.push(rung);
        self.kept(self.rungs.len() - 1) > self.kept(than) + margin
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tiny;
    use crate::dataset::write_phantom_folder;
    use crate::export::tests::model;
    use crate::net::fold_batch_norm;
    use crate::train::validation_samples;

    /// What parts in f32 must gain.
    const MARGIN: f64 = 0.001;

    /// A ladder of untrained weights that is fine-tuned whatever 8 bits cost.
    fn ladder(index: Option<&Index>, extra: &str) -> Ladder {
        let mut config = tiny(&format!(
            "[phantom]\nsize = 128\n[train]\nbatch = 2\n[export.quantize]\nkeep_f32 = 2\nfinetune_steps = 2\n{extra}"
        ));
        config.export.quantize.finetune_above = -1.0;
        let model = model(&config);
        let (graph, params) = fold_batch_norm(&model.info.graph, &model.params).unwrap();
        let (mut validation, _) = validation_samples(&config, None).unwrap();
        validation.truncate(3);
        let climb = Climb {
            config: &config,
            model: &model,
            graph: &graph,
            params: &params,
            validation: &validation,
            index,
            info: &ModelInfo::default(),
            device: Device::Cpu,
        };
        climb.ladder(QuantizeChoice::Int8).unwrap()
    }

    #[test]
    fn every_step_is_tried_and_fine_tuning_moves_the_weights() {
        let dir = tempfile::tempdir().unwrap();
        let extra = "[data.p]\nformat = \"folder\"\npath = \"p\"\nimage = \"png/{filename}\"\n\
                     mask = \"mask/{class}/{filename}\"\npatient = \"{patient}\"\n\
                     classes = { left_lung = [\"left_lung\"], heart = [\"heart\"] }\n";
        let config = tiny(&format!("[phantom]\nsize = 128\n{extra}"));
        write_phantom_folder(&config.phantom, 3, &dir.path().join("p")).unwrap();
        let index = config.index(dir.path()).unwrap();
        let ladder = ladder(Some(&index), extra);
        let names: Vec<&str> = ladder.rungs.iter().map(|rung| rung.name.as_str()).collect();
        for part in ["f32", "entropy", "equalized", "biases", "the 1 worst", "the 2 worst", "fine-tuned"] {
            assert!(names.iter().any(|name| name.contains(part)), "{part}: {names:?}");
        }
        let [.., before, tuned] = &ladder.rungs[..] else { panic!("many rungs") };
        assert!(before.bytes != tuned.bytes && ladder.remarks.is_empty());
        assert!(!ladder.sensitive.is_empty() && ladder.sensitive.is_sorted_by(|a, b| a.1 >= b.1));
        // Only what beats the rungs before it goes on.
        let best = (1..ladder.rungs.len()).map(|rung| ladder.kept(rung)).fold(0.0, f64::max);
        assert!(ladder.chosen > 0 && ladder.kept(ladder.chosen) >= best - MARGIN);
    }

    #[test]
    fn without_radiographs_fine_tuning_is_left_out_and_said_so() {
        let ladder = ladder(None, "");
        assert!(ladder.rungs.iter().all(|rung| !rung.name.contains("fine-tuned")));
        assert!(ladder.remarks[0].contains("no radiographs"), "{:?}", ladder.remarks);
    }
}
