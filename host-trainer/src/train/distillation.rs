use tch::{Device, Kind, Reduction, TchError, Tensor, no_grad};

use super::upload::upload;
use super::{Teacher, TrainError};
use crate::config::{Config, DistillationSpec, Stage};
use crate::net::{Mode, TorchNet, TorchNetError};

/// An ensemble whose mean answer a student imitates (Hinton et al. 2015, arXiv:1503.02531; design §5.7).
#[derive(Debug)]
pub struct Teachers {
    spec: DistillationSpec,
    nets: Vec<Member>,
    /// 1 × C × 1 × 1: 1 for a class that is imitated, else 0; none: all are.
    about: Option<Tensor>,
}

#[derive(Debug)]
struct Member {
    net: TorchNet,
    /// Pixels a side of the images that it was trained on.
    size: i64,
    /// The output that is each of the configuration's classes; none: they are the same, in the same order.
    outputs: Option<Tensor>,
    /// 1 × C × 1 × 1: its share in the answer. The shares in a class add up to 1.
    share: Tensor,
}

impl Member {
    /// Its logits of the configuration's classes for images of any size, at that size.
    fn logits(&self, images: &Tensor) -> Result<Tensor, TorchNetError> {
        let (_, _, rows, columns) = images.size4()?;
        let logits = if (rows, columns) == (self.size, self.size) {
            self.net.forward(images, Mode::Eval)?
        } else {
            // Antialiased, as preprocessing scales radiographs.
            let own = images.f_internal_upsample_bilinear2d_aa([self.size; 2], false, None, None)?;
            let logits = self.net.forward(&own, Mode::Eval)?;
            logits.f_upsample_bilinear2d([rows, columns], false, None, None)?
        };
        match &self.outputs {
            Some(outputs) => Ok(logits.f_index_select(1, outputs)?),
            None => Ok(logits),
        }
    }
}

impl Teachers {
    /// Teachers from model files of the configuration's preprocessing, which may see images at another size and know other
    /// classes beside those that they teach.
    ///
    /// # Errors
    /// If a model is of something else, is to teach a class that it does not know, or if nobody teaches a class that is to
    /// be imitated.
    pub fn new(config: &Config, teachers: &[Teacher], device: Device) -> Result<Self, TrainError> {
        let spec = config.distillation.clone();
        let plane = |of: &[f32]| upload(of, &[1, of.len() as i64, 1, 1], device);
        let mut nets = Vec::with_capacity(teachers.len());
        for (Teacher { model, .. }, share) in teachers.iter().zip(shares(config, teachers, &spec.classes)?) {
            let mut sized = config.clone();
            sized.preprocess.input_size = model.info.preprocess.input_size;
            model.info.require_input(&sized, &Stage::SEGMENTERS)?;
            let net = TorchNet::from_params(&model.info.graph, &model.params, device)?;
            let outputs = match model.info.labels == config.labels() {
                true => None,
                false => {
                    let planes: Vec<i64> =
                        model.info.planes_of(config).into_iter().map(|plane| plane as i64).collect();
                    Some(upload(&planes, &[planes.len() as i64], device)?)
                }
            };
            nets.push(Member {
                net,
                size: sized.preprocess.input_size as i64,
                outputs,
                share: plane(&share)?,
            });
        }
        let about = match spec.classes.is_empty() {
            true => None,
            false => {
                let asked = config.classes.iter().map(|class| spec.classes.contains(&class.label));
                Some(plane(&asked.map(|asked| if asked { 1.0 } else { 0.0 }).collect::<Vec<f32>>())?)
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

    /// The mean of σ(t/T) over the teachers of each class.
    pub(crate) fn answer(&self, images: &Tensor, temperature: f64) -> Result<Tensor, TorchNetError> {
        no_grad(|| {
            let soft = |member: &Member| -> Result<Tensor, TorchNetError> {
                let logits = member.logits(images)?;
                Ok(logits.f_div_scalar(temperature)?.f_sigmoid()?.f_mul(&member.share)?)
            };
            let answers: Vec<Tensor> = self.nets.iter().map(soft).collect::<Result<_, _>>()?;
            Ok(Tensor::f_stack(&answers, 0)?.f_sum_dim_intlist([0_i64].as_slice(), false, None)?)
        })
    }
}

/// By teacher and class: the teachers of a class share in it equally. Every class of `imitated` (empty: every class) must have
/// one; in another that nobody teaches all who know it do.
pub(crate) fn shares(
    config: &Config,
    teachers: &[Teacher],
    imitated: &[String],
) -> Result<Vec<Vec<f32>>, TrainError> {
    let labels = config.labels();
    let knows = |teacher: &Teacher, label: &String| teacher.model.info.labels.contains(label);
    for teacher in teachers {
        for label in &teacher.classes {
            let reason = match (labels.contains(label), knows(teacher, label)) {
                (true, true) => continue,
                (false, _) => "is none of the classes",
                (true, false) => "is not known to the teacher that should teach it",
            };
            return Err(TrainError::Taught { class: label.clone(), reason });
        }
        if !labels.iter().any(|label| knows(teacher, label)) {
            let reason = "and the other classes are not known to one of them";
            return Err(TrainError::Taught { class: labels[0].clone(), reason });
        }
    }
    let teaches = |teacher: &Teacher, label: &String| {
        knows(teacher, label) && (teacher.classes.is_empty() || teacher.classes.contains(label))
    };
    let mut shares = vec![Vec::new(); teachers.len()];
    for label in &labels {
        let mut taught: Vec<bool> = teachers.iter().map(|teacher| teaches(teacher, label)).collect();
        if !taught.contains(&true) {
            if imitated.is_empty() || imitated.contains(label) {
                let reason = "has none; name one, or, for teachers, leave it out of distillation.classes";
                return Err(TrainError::Taught { class: label.clone(), reason });
            }
            taught = teachers.iter().map(|teacher| knows(teacher, label)).collect();
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
    use crate::train::{ModelFile, ModelInfo};

    fn info(config: &Config) -> ModelInfo {
        ModelInfo {
            graph: config.graph(),
            labels: config.labels(),
            preprocess: config.preprocess.clone(),
            stage: Stage::Train,
            step: 1,
            total_steps: 1,
            seed: 1,
            teachers: 0,
            pseudo_masks: false,
            share: None,
            record: None,
            validation: Vec::new(),
        }
    }

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
    fn the_teachers_of_a_class_share_in_it_equally() {
        let mut config = crate::config::tiny("");
        let info = info(&config);
        let teacher = |classes: &[&str]| Teacher {
            model: ModelFile { info: info.clone(), params: crate::net::Params::default() },
            classes: classes.iter().map(|class| (*class).to_owned()).collect(),
        };
        let of = |config: &Config, teachers: &[Teacher]| {
            shares(config, teachers, &config.distillation.classes).map_err(|error| error.to_string())
        };
        let three = [teacher(&[]), teacher(&["heart"]), teacher(&[])];
        assert_eq!(of(&config, &three).unwrap(), [[0.5, 1.0 / 3.0], [0.0, 1.0 / 3.0], [0.5, 1.0 / 3.0]]);
        let heart = [teacher(&["heart"])];
        assert!(of(&config, &heart).unwrap_err().contains("left_lung has none"));
        assert!(of(&config, &[teacher(&["cor"])]).unwrap_err().contains("cor is none"));
        config.distillation.classes = vec!["heart".into()];
        assert_eq!(of(&config, &heart).unwrap(), [[1.0, 1.0]]);
        // A teacher that does not know a class.
        let mut lungs = teacher(&[]);
        lungs.model.info.labels = vec!["rib".into(), "left_lung".into()];
        assert_eq!(of(&config, &[lungs.clone(), teacher(&[])]).unwrap(), [[0.5, 0.0], [0.5, 1.0]]);
        lungs.classes = vec!["heart".into()];
        assert!(of(&config, &[lungs]).unwrap_err().contains("heart is not known"));
    }

    #[test]
    fn teachers_of_another_size_answer_at_the_students() {
        let config = crate::config::tiny("");
        let net = TorchNet::new(&config.graph(), Device::Cpu, 1).unwrap();
        let teacher = || Teacher {
            model: ModelFile { info: info(&config), params: net.to_params() },
            classes: Vec::new(),
        };
        let mut large = config.clone();
        large.preprocess.input_size = 128;
        let teachers = Teachers::new(&large, &[teacher()], Device::Cpu).unwrap();
        let small = Tensor::rand([1, 1, 64, 64], (Kind::Float, Device::Cpu));
        let images = Tensor::rand([1, 1, 128, 128], (Kind::Float, Device::Cpu));
        let answer = teachers.answer(&images, 1.0).unwrap();
        let reduced = images.internal_upsample_bilinear2d_aa([64, 64], false, None, None);
        let logits = no_grad(|| net.forward(&reduced, Mode::Eval)).unwrap();
        let by_hand = logits.upsample_bilinear2d([128, 128], false, None, None).sigmoid();
        assert_eq!(answer.size(), [1, 2, 128, 128]);
        assert!((answer - by_hand).abs().max().double_value(&[]) < 1e-5);
        let own = Teachers::new(&config, &[teacher()], Device::Cpu).unwrap().answer(&small, 1.0).unwrap();

        // A teacher that knows one class more teaches the same.
        let mut more = teacher();
        more.model.info.labels = vec!["left_lung".into(), "rib".into(), "heart".into()];
        more.model.info.graph =
            Config { classes: vec![config.classes[0].clone(); 3], ..config.clone() }.graph();
        for name in ["segmentation_head.0.weight", "segmentation_head.0.bias"] {
            let head = more.model.params.get_mut(name).unwrap();
            let one = head.data.len() / 2;
            let (lung, heart) = head.data.split_at(one);
            head.data = [lung, &vec![0.0; one], heart].concat();
            head.shape[0] = 3;
        }
        let reordered = Teachers::new(&config, &[more], Device::Cpu).unwrap().answer(&small, 1.0).unwrap();
        assert!((reordered - &own).abs().max().double_value(&[]) < 1e-6);

        large.preprocess.mean = 0.4;
        assert!(Teachers::new(&large, &[teacher()], Device::Cpu).unwrap_err().to_string().contains("mean"));
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
