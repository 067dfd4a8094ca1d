use tch::{Device, Kind, Reduction, TchError, Tensor, no_grad};

use super::{ModelFile, TrainError};
use crate::config::{Config, DistillationSpec, Stage};
use crate::net::{Mode, TorchNet, TorchNetError};

/// An ensemble whose mean answer a student imitates (Hinton et al. 2015, arXiv:1503.02531; design §5.7).
#[derive(Debug)]
pub struct Teachers {
    spec: DistillationSpec,
    nets: Vec<TorchNet>,
}

impl Teachers {
    /// Teachers from model files of the configuration's classes and preprocessing.
    pub fn new(config: &Config, models: &[ModelFile], device: Device) -> Result<Self, TrainError> {
        for model in models {
            model.info.require(config, &Stage::SEGMENTERS)?;
        }
        let net = |model: &ModelFile| TorchNet::from_params(&model.info.graph, &model.params, device);
        let nets = models.iter().map(net).collect::<Result<_, _>>()?;
        Ok(Self { spec: config.distillation.clone(), nets })
    }

    /// Binary cross-entropy between σ(s/T) and the teachers' mean σ(t/T), times T² so that its gradient does not
    /// fade with the temperature.
    pub(super) fn loss(&self, images: &Tensor, student: &Tensor) -> Result<Tensor, TrainError> {
        let t = self.spec.temperature;
        Ok(imitation(student, &self.answer(images, t)?, t)?.f_mul_scalar(self.spec.weight)?)
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
        let t = self.spec.temperature;
        let each = student.f_div_scalar(t)?.f_binary_cross_entropy_with_logits::<Tensor>(
            taught,
            None,
            None,
            Reduction::None,
        )?;
        let mean = each
            .f_mul(inside)?
            .f_mean(Kind::Float)?
            .f_div(&inside.f_mean(Kind::Float)?.f_clamp_min(1e-6)?)?;
        mean.f_mul_scalar(t * t * self.spec.weight)
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

fn imitation(student: &Tensor, taught: &Tensor, temperature: f64) -> Result<Tensor, TchError> {
    student
        .f_div_scalar(temperature)?
        .f_binary_cross_entropy_with_logits::<Tensor>(taught, None, None, Reduction::Mean)?
        .f_mul_scalar(temperature * temperature)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_is_not_imitated_and_pixels_inside_are_as_by_the_plain_loss() {
        let spec = DistillationSpec { weight: 3.0, temperature: 2.0, unlabeled: true };
        let teachers = Teachers { spec, nets: Vec::new() };
        let plane = |values: [f32; 4]| Tensor::from_slice(&values).view([1, 1, 2, 2]);
        let taught = (plane([1.0, -2.0, 0.5, 9.0]) / 2.0).sigmoid();
        let inside = plane([1.0, 1.0, 1.0, 0.0]);
        let loss = |student: [f32; 4]| teachers.loss_inside(&plane(student), &taught, &inside).unwrap();
        let (one, other) = (loss([0.0, 1.0, 2.0, -7.0]), loss([0.0, 1.0, 2.0, 5.0]));
        assert_eq!(one.double_value(&[]), other.double_value(&[]));
        let cut = |t: &Tensor| t.view(4).narrow(0, 0, 3);
        let plain = imitation(&cut(&plane([0.0, 1.0, 2.0, 0.0])), &cut(&taught), 2.0).unwrap() * 3.0;
        assert!((one.double_value(&[]) - plain.double_value(&[])).abs() < 1e-5);
    }

    #[test]
    fn the_gradient_vanishes_where_the_student_agrees_and_keeps_its_size_with_the_temperature() {
        let logit = |v: f32| Tensor::from_slice(&[v]).set_requires_grad(true);
        for temperature in [1.0, 4.0] {
            let taught = (Tensor::from_slice(&[1.5_f32]) / temperature).sigmoid();
            let agreeing = logit(1.5);
            imitation(&agreeing, &taught, temperature).unwrap().backward();
            assert!(agreeing.grad().double_value(&[0]).abs() < 1e-6);
        }
        let slope = |temperature: f64| {
            let student = logit(0.0);
            let taught = (Tensor::from_slice(&[1.0_f32]) / temperature).sigmoid();
            imitation(&student, &taught, temperature).unwrap().backward();
            student.grad().double_value(&[0])
        };
        // d/ds = T·(σ(s/T) − σ(t/T)), which tends to (s − t)/4.
        assert!((slope(1.0) + 0.2311).abs() < 1e-3, "{}", slope(1.0));
        assert!((slope(8.0) + 0.25).abs() < 1e-2, "{}", slope(8.0));
    }
}
