use tch::{Device, Kind, Reduction, TchError, Tensor, no_grad};

use super::upload::upload;
use super::{Teacher, TrainError};
use crate::config::{Config, DistillationSpec, Stage};
use crate::net::{Mode, TorchNet, TorchNetError};

/// An ensemble whose mean answer a student imitates (Hinton et al. 2015, arXiv:1503.02531; design §5.7).
#[derive(Debug)]
pub struct Teachers {
    spec: DistillationSpec,
    nets: Vec<TorchNet>,
    /// Of each network, 1 × C × 1 × 1: its share in the answer. The shares in a class add up to 1.
    shares: Vec<Tensor>,
    /// 1 × C × 1 × 1: 1 for a class that is imitated, else 0; none: all are.
    about: Option<Tensor>,
}

impl Teachers {
    /// Teachers from model files of the configuration's classes and preprocessing.
    ///
    /// # Errors
    /// If a model is of something else, names a class that there is not, or if nobody teaches a class that is to be
    /// imitated.
    pub fn new(config: &Config, teachers: &[Teacher], device: Device) -> Result<Self, TrainError> {
        for teacher in teachers {
            teacher.model.info.require(config, &Stage::SEGMENTERS)?;
        }
        let net =
            |Teacher { model, .. }: &Teacher| TorchNet::from_params(&model.info.graph, &model.params, device);
        let nets = teachers.iter().map(net).collect::<Result<_, _>>()?;
        let spec = config.distillation.clone();
        let plane = |of: &[f32]| upload(of, &[1, of.len() as i64, 1, 1], device);
        let shares = shares(config, teachers)?.iter().map(|of| plane(of)).collect::<Result<_, _>>()?;
        let about = match spec.classes.is_empty() {
            true => None,
            false => {
                let asked = config.classes.iter().map(|class| spec.classes.contains(&class.label));
                Some(plane(&asked.map(|asked| if asked { 1.0 } else { 0.0 }).collect::<Vec<f32>>())?)
            }
        };
        Ok(Self { spec, nets, shares, about })
    }

    /// Binary cross-entropy between σ(s/T) and the teachers' mean σ(t/T), times T² so that its gradient does not
    /// fade with the temperature.
    pub(super) fn loss(&self, images: &Tensor, student: &Tensor) -> Result<Tensor, TrainError> {
        let t = self.spec.temperature;
        let each = imitation(student, &self.answer(images, t)?, t)?;
        Ok(mean(&each, self.about.as_ref())?.f_mul_scalar(self.spec.weight)?)
    }

    /// Whether images without masks are imitated too.
    pub(super) fn advise_unlabeled(&self) -> bool {
        self.spec.unlabeled
    }

    /// As [`Teachers::loss`], with the teachers' answer given and the pixels of weight `inside` (N × 1 × S × S) alone.
    pub(super) fn loss_inside(
        &self,
        student: &Tensor,
        taught: &Tensor,
        inside: &Tensor,
    ) -> Result<Tensor, TchError> {
        let counted = match &self.about {
            None => inside.shallow_clone(),
            Some(about) => inside.f_mul(about)?,
        };
        let each = imitation(student, taught, self.spec.temperature)?;
        mean(&each, Some(&counted))?.f_mul_scalar(self.spec.weight)
    }

    /// What [`Teachers::loss_inside`] compares with.
    pub(super) fn advice(&self, images: &Tensor) -> Result<Tensor, TorchNetError> {
        self.answer(images, self.spec.temperature)
    }

    /// The mean of σ(t/T) over the teachers of each class.
    pub(crate) fn answer(&self, images: &Tensor, temperature: f64) -> Result<Tensor, TorchNetError> {
        no_grad(|| {
            let soft = |(net, share): (&TorchNet, &Tensor)| -> Result<Tensor, TorchNetError> {
                Ok(net.forward(images, Mode::Eval)?.f_div_scalar(temperature)?.f_sigmoid()?.f_mul(share)?)
            };
            let answers: Vec<Tensor> =
                self.nets.iter().zip(&self.shares).map(soft).collect::<Result<_, _>>()?;
            Ok(Tensor::f_stack(&answers, 0)?.f_sum_dim_intlist([0_i64].as_slice(), false, None)?)
        })
    }
}

/// By teacher and class: the teachers of a class share in it equally. In a class that nobody teaches and that is not to be
/// imitated all of them do.
fn shares(config: &Config, teachers: &[Teacher]) -> Result<Vec<Vec<f32>>, TrainError> {
    let labels = config.labels();
    for label in teachers.iter().flat_map(|teacher| &teacher.classes) {
        if !labels.contains(label) {
            return Err(TrainError::Taught { class: label.clone(), reason: "is none of the classes" });
        }
    }
    let teaches =
        |teacher: &Teacher, label: &String| teacher.classes.is_empty() || teacher.classes.contains(label);
    let mut shares = vec![Vec::new(); teachers.len()];
    for label in &labels {
        let mut taught: Vec<bool> = teachers.iter().map(|teacher| teaches(teacher, label)).collect();
        let imitated = &config.distillation.classes;
        if !taught.contains(&true) {
            if imitated.is_empty() || imitated.contains(label) {
                let reason = "has no teacher; name one, or leave it out of distillation.classes";
                return Err(TrainError::Taught { class: label.clone(), reason });
            }
            taught.fill(true);
        }
        let each = 1.0 / taught.iter().filter(|taught| **taught).count() as f32;
        for (share, taught) in shares.iter_mut().zip(taught) {
            share.push(if taught { each } else { 0.0 });
        }
    }
    Ok(shares)
}

/// Pixel by pixel.
fn imitation(student: &Tensor, taught: &Tensor, temperature: f64) -> Result<Tensor, TchError> {
    student
        .f_div_scalar(temperature)?
        .f_binary_cross_entropy_with_logits::<Tensor>(taught, None, None, Reduction::None)?
        .f_mul_scalar(temperature * temperature)
}

/// Over the pixels of weight 1, of a weight (0 or 1) that fits by repetition.
fn mean(each: &Tensor, weight: Option<&Tensor>) -> Result<Tensor, TchError> {
    let Some(weight) = weight else { return each.f_mean(Kind::Float) };
    let counted = each.f_mul(weight)?.f_mean(Kind::Float)?;
    counted.f_div(&weight.f_expand_as(each)?.f_mean(Kind::Float)?.f_clamp_min(1e-6)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn teachers(about: Option<Tensor>) -> Teachers {
        let spec = DistillationSpec { weight: 3.0, temperature: 2.0, unlabeled: true, classes: Vec::new() };
        Teachers { spec, nets: Vec::new(), shares: Vec::new(), about }
    }

    fn plane(values: [f32; 4]) -> Tensor {
        Tensor::from_slice(&values).view([1, 1, 2, 2])
    }

    #[test]
    fn padding_is_not_imitated_and_pixels_inside_are_as_by_the_plain_loss() {
        let teachers = teachers(None);
        let taught = (plane([1.0, -2.0, 0.5, 9.0]) / 2.0).sigmoid();
        let inside = plane([1.0, 1.0, 1.0, 0.0]);
        let loss = |student: [f32; 4]| teachers.loss_inside(&plane(student), &taught, &inside).unwrap();
        let (one, other) = (loss([0.0, 1.0, 2.0, -7.0]), loss([0.0, 1.0, 2.0, 5.0]));
        assert_eq!(one.double_value(&[]), other.double_value(&[]));
        let cut = |t: &Tensor| t.view(4).narrow(0, 0, 3);
        let each = imitation(&cut(&plane([0.0, 1.0, 2.0, 0.0])), &cut(&taught), 2.0).unwrap();
        let plain = mean(&each, None).unwrap() * 3.0;
        assert!((one.double_value(&[]) - plain.double_value(&[])).abs() < 1e-5);
    }

    #[test]
    fn classes_left_out_are_not_imitated_and_the_others_as_if_alone() {
        let both = |a: [f32; 4], b: [f32; 4]| Tensor::cat(&[plane(a), plane(b)], 1);
        let (one, other) = ([0.0, 1.0, 2.0, -7.0], [3.0, -4.0, 0.1, 5.0]);
        let taught = (both([1.0, -2.0, 0.5, 9.0], [0.3, 0.2, -3.0, 1.0]) / 2.0).sigmoid();
        let inside = plane([1.0, 1.0, 1.0, 0.0]);
        let first = teachers(Some(Tensor::from_slice(&[1.0_f32, 0.0]).view([1, 2, 1, 1])));
        let loss = |b| first.loss_inside(&both(one, b), &taught, &inside).unwrap().double_value(&[]);
        assert_eq!(loss(other), loss(one));
        let alone = teachers(None).loss_inside(&plane(one), &taught.narrow(1, 0, 1), &inside).unwrap();
        assert!((loss(other) - alone.double_value(&[])).abs() < 1e-5);
    }

    #[test]
    fn the_teachers_of_a_class_share_in_it_equally() {
        let mut config = crate::config::tiny("");
        let info = crate::train::ModelInfo {
            graph: config.graph(),
            labels: config.labels(),
            preprocess: config.preprocess.clone(),
            stage: Stage::Train,
            step: 1,
            total_steps: 1,
            seed: 2,
            teachers: 0,
            pseudo_masks: false,
            validation: Vec::new(),
        };
        let teacher = |classes: &[&str]| Teacher {
            model: crate::train::ModelFile { info: info.clone(), params: crate::net::Params::default() },
            classes: classes.iter().map(|class| (*class).to_owned()).collect(),
        };
        let of = |config: &Config, teachers: &[Teacher]| {
            shares(config, teachers).map_err(|error| error.to_string())
        };
        let three = [teacher(&[]), teacher(&["heart"]), teacher(&[])];
        assert_eq!(of(&config, &three).unwrap(), [[0.5, 1.0 / 3.0], [0.0, 1.0 / 3.0], [0.5, 1.0 / 3.0]]);
        let heart = [teacher(&["heart"])];
        assert!(of(&config, &heart).unwrap_err().contains("left_lung has no teacher"));
        assert!(of(&config, &[teacher(&["cor"])]).unwrap_err().contains("cor is none"));
        config.distillation.classes = vec!["heart".into()];
        assert_eq!(of(&config, &heart).unwrap(), [[1.0, 1.0]]);
    }

    #[test]
    fn the_gradient_vanishes_where_the_student_agrees_and_keeps_its_size_with_the_temperature() {
        let logit = |v: f32| Tensor::from_slice(&[v]).set_requires_grad(true);
        for temperature in [1.0, 4.0] {
            let taught = (Tensor::from_slice(&[1.5_f32]) / temperature).sigmoid();
            let agreeing = logit(1.5);
            imitation(&agreeing, &taught, temperature).unwrap().sum(Kind::Float).backward();
            assert!(agreeing.grad().double_value(&[0]).abs() < 1e-6);
        }
        let slope = |temperature: f64| {
            let student = logit(0.0);
            let taught = (Tensor::from_slice(&[1.0_f32]) / temperature).sigmoid();
            imitation(&student, &taught, temperature).unwrap().sum(Kind::Float).backward();
            student.grad().double_value(&[0])
        };
        // d/ds = T·(σ(s/T) − σ(t/T)), which tends to (s − t)/4.
        assert!((slope(1.0) + 0.2311).abs() < 1e-3, "{}", slope(1.0));
        assert!((slope(8.0) + 0.25).abs() < 1e-2, "{}", slope(8.0));
    }
}
