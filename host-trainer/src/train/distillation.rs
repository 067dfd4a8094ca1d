use tch::{Device, Kind, Reduction, TchError, Tensor, no_grad};

use super::upload::upload;
use super::{ModelFile, TrainError};
use crate::config::{Config, DistillationSpec, Stage};
use crate::net::{Mode, TorchNet, TorchNetError};

/// An ensemble whose mean answer a student imitates (Hinton et al. 2015, arXiv:1503.02531; design §5.7).
#[derive(Debug)]
pub struct Teachers {
    spec: DistillationSpec,
    nets: Vec<TorchNet>,
    /// 1 × C × 1 × 1: 1 for a class that is imitated, else 0; none: all are.
    about: Option<Tensor>,
}

impl Teachers {
    /// Teachers from model files of the configuration's classes and preprocessing.
    pub fn new(config: &Config, models: &[ModelFile], device: Device) -> Result<Self, TrainError> {
        for model in models {
            model.info.require(config, &Stage::SEGMENTERS)?;
        }
        let net = |model: &ModelFile| TorchNet::from_params(&model.info.graph, &model.params, device);
        let nets = models.iter().map(net).collect::<Result<_, _>>()?;
        let spec = config.distillation.clone();
        let about = match spec.classes.is_empty() {
            true => None,
            false => {
                let asked = config.classes.iter().map(|class| spec.classes.contains(&class.label));
                let asked: Vec<f32> = asked.map(|asked| if asked { 1.0 } else { 0.0 }).collect();
                Some(upload(&asked, &[1, asked.len() as i64, 1, 1], device)?)
            }
        };
        Ok(Self { spec, nets, about })
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

    /// The mean over the teachers of σ(t/T).
    pub(crate) fn answer(&self, images: &Tensor, temperature: f64) -> Result<Tensor, TorchNetError> {
        no_grad(|| {
            let soft = |net: &TorchNet| -> Result<Tensor, TorchNetError> {
                Ok(net.forward(images, Mode::Eval)?.f_div_scalar(temperature)?.f_sigmoid()?)
            };
            let answers: Vec<Tensor> = self.nets.iter().map(soft).collect::<Result<_, _>>()?;
            Ok(Tensor::f_stack(&answers, 0)?.f_mean_dim([0_i64].as_slice(), false, None)?)
        })
    }
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
        Teachers { spec, nets: Vec::new(), about }
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
