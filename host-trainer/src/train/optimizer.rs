use tch::{TchError, Tensor, no_grad};

use super::TrainError;
use crate::config::Method;
use crate::net::torch::{from_tensor, to_tensor};
use crate::net::{Graph, ParamTensor, Params, ParamsError};

/// Constants of an optimizer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OptimizerSpec {
    /// The method.
    pub method: Method,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment; AdamW only.
    pub beta2: f64,
    /// Added to the root of the second moment; AdamW only.
    pub epsilon: f64,
    /// Decoupled weight decay; acts on tensors of two or more dimensions (not on biases and normalization).
    pub weight_decay: f64,
    /// Largest norm of the whole gradient.
    pub clip_norm: f64,
}

impl OptimizerSpec {
    /// With the usual constants.
    pub fn new(method: Method, weight_decay: f64, clip_norm: f64) -> Self {
        Self { method, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay, clip_norm }
    }
}

/// An optimizer with gradient clipping by global norm. Own code because tch's optimizers cannot save their state.
#[derive(Debug)]
pub struct Optimizer {
    spec: OptimizerSpec,
    slots: Vec<Slot>,
    /// Gradients are this many times too large.
    loss_scale: f64,
}

#[derive(Debug)]
struct Slot {
    name: String,
    weight: Tensor,
    first: Tensor,
    second: Tensor,
}

impl Optimizer {
    /// An optimizer of these tensors, with moments of zero. Gradients come from losses that [`Optimizer::scaled`] has
    /// multiplied by `loss_scale`.
    pub fn new(spec: OptimizerSpec, trainable: Vec<(String, Tensor)>, loss_scale: f64) -> Self {
        let slots = trainable.into_iter().map(|(name, weight)| {
            let zeros = || no_grad(|| weight.zeros_like());
            Slot { first: zeros(), second: zeros(), name, weight }
        });
        Self { spec, slots: slots.collect(), loss_scale }
    }

    /// Forgets gradients, before a backward pass.
    pub fn zero_grad(&mut self) {
        for slot in &mut self.slots {
            slot.weight.zero_grad();
        }
    }

    /// The loss to take the gradient of.
    pub fn scaled(&self, loss: &Tensor) -> Result<Tensor, TchError> {
        if self.loss_scale == 1.0 { Ok(loss.shallow_clone()) } else { loss.f_mul_scalar(self.loss_scale) }
    }

    /// Makes gradients half as large from now on, if they are scaled at all; whether they were.
    pub fn halve_loss_scale(&mut self) -> bool {
        let scaled = self.loss_scale > 1.0;
        if scaled {
            self.loss_scale /= 2.0;
        }
        scaled
    }

    /// The norm of the whole gradient.
    pub fn grad_norm(&self) -> Result<f64, TchError> {
        let squares: Vec<Tensor> = self
            .gradients()
            .map(|(_, gradient)| gradient.f_square()?.f_sum(tch::Kind::Float))
            .collect::<Result<_, _>>()?;
        if squares.is_empty() {
            return Ok(0.0);
        }
        // In f64: the order of the sum is the order of the slots, the same in every run.
        let squares = Tensor::f_stack(&squares, 0)?.f_to_kind(tch::Kind::Double)?;
        Vec::<f64>::try_from(&squares).map(|values| values.iter().sum::<f64>().sqrt() / self.loss_scale)
    }

    /// One step with the gradients that stand in the tensors; `step` counts from 0. `grad_norm` is the norm
    /// that [`Optimizer::grad_norm`] gave.
    pub fn step(&mut self, step: u64, learning_rate: f64, grad_norm: f64) -> Result<(), TchError> {
        let clip = (self.spec.clip_norm / (grad_norm + 1e-6)).min(1.0) / self.loss_scale;
        no_grad(|| {
            for slot in &mut self.slots {
                let gradient = slot.weight.grad();
                if !gradient.defined() {
                    continue;
                }
                let gradient = gradient.f_mul_scalar(clip)?;
                if slot.weight.dim() >= 2 {
                    let kept = 1.0 - learning_rate * self.spec.weight_decay;
                    let _ = slot.weight.f_mul_scalar_(kept)?;
                }
                let update = match self.spec.method {
                    Method::AdamW => slot.adam(&gradient, step, learning_rate, &self.spec)?,
                    Method::Sgd => slot.momentum(&gradient, learning_rate, &self.spec)?,
                };
                let _ = slot.weight.f_sub_(&update)?;
            }
            Ok(())
        })
    }

    /// First and second moments by the names of the tensors.
    pub fn moments(&self) -> (Params, Params) {
        let of = |pick: fn(&Slot) -> &Tensor| -> Params {
            self.slots.iter().map(|slot| (slot.name.clone(), from_tensor(pick(slot)))).collect()
        };
        (of(|slot| &slot.first), of(|slot| &slot.second))
    }

    /// Sets the moments; they must be exactly those of the tensors.
    pub fn load_moments(&mut self, graph: &Graph, first: &Params, second: &Params) -> Result<(), TrainError> {
        for (what, moments) in [("first moment", first), ("second moment", second)] {
            let faults = self.faults(what, moments);
            if !faults.is_empty() {
                return Err(TrainError::Moments(ParamsError::Mismatch { graph: graph.name.clone(), faults }));
            }
        }
        let value = |params: &Params, name: &str| to_tensor(params.get(name).expect("checked above"));
        no_grad(|| {
            for slot in &mut self.slots {
                slot.first.f_copy_(&value(first, &slot.name)?)?;
                slot.second.f_copy_(&value(second, &slot.name)?)?;
            }
            Ok(())
        })
    }

    fn faults(&self, what: &str, moments: &Params) -> Vec<String> {
        let shape = |slot: &Slot| slot.weight.size().iter().map(|&n| n as usize).collect::<Vec<_>>();
        let fits = |slot: &Slot, found: Option<&ParamTensor>| found.is_some_and(|t| t.shape == shape(slot));
        let mut faults: Vec<String> = self
            .slots
            .iter()
            .filter(|slot| !fits(slot, moments.get(&slot.name)))
            .map(|slot| format!("{what} of `{}` is missing or of another shape", slot.name))
            .collect();
        if moments.len() > self.slots.len() {
            faults.push(format!("{what}: {} tensors for {}", moments.len(), self.slots.len()));
        }
        faults
    }

    fn gradients(&self) -> impl Iterator<Item = (&str, Tensor)> {
        self.slots.iter().map(|slot| (slot.name.as_str(), slot.weight.grad())).filter(|(_, g)| g.defined())
    }
}

impl Slot {
    fn adam(
        &mut self,
        gradient: &Tensor,
        step: u64,
        learning_rate: f64,
        spec: &OptimizerSpec,
    ) -> Result<Tensor, TchError> {
        let t = (step + 1) as f64;
        let (correction1, correction2) = (1.0 - spec.beta1.powf(t), 1.0 - spec.beta2.powf(t));
        let _ = self.first.f_lerp_(gradient, 1.0 - spec.beta1)?;
        let _ = self.second.f_lerp_(&gradient.f_square()?, 1.0 - spec.beta2)?;
        let scale = self.second.f_div_scalar(correction2)?.f_sqrt_()?.f_add_scalar_(spec.epsilon)?;
        self.first.f_div(&scale)?.f_mul_scalar_(learning_rate / correction1)
    }

    fn momentum(
        &mut self,
        gradient: &Tensor,
        learning_rate: f64,
        spec: &OptimizerSpec,
    ) -> Result<Tensor, TchError> {
        let _ = self.first.f_mul_scalar_(spec.beta1)?.f_add_(gradient)?;
        self.first.f_mul_scalar(learning_rate)
    }
}

#[cfg(test)]
mod tests {
    use tch::{Kind, Tensor};

    use super::*;

    fn spec(weight_decay: f64, clip_norm: f64) -> OptimizerSpec {
        OptimizerSpec::new(Method::AdamW, weight_decay, clip_norm)
    }

    /// A 1 × 2 weight whose loss is 3·a − 4·b.
    fn with_gradient(weight: &Tensor) {
        let slope = Tensor::from_slice(&[3.0_f32, -4.0]).view([1, 2]);
        (weight * slope).sum(Kind::Float).backward();
    }

    fn weight() -> Tensor {
        Tensor::from_slice(&[1.0_f32, 2.0]).view([1, 2]).set_requires_grad(true)
    }

    fn values(tensor: &Tensor) -> Vec<f32> {
        Vec::try_from(tensor.detach().view(-1)).unwrap()
    }

    #[test]
    fn the_first_step_moves_by_the_learning_rate_against_the_sign() {
        let weight = weight();
        let mut adam = Optimizer::new(spec(0.0, 1e9), vec![("w".into(), weight.shallow_clone())], 1.0);
        with_gradient(&weight);
        let norm = adam.grad_norm().unwrap();
        assert!((norm - 5.0).abs() < 1e-6);
        adam.step(0, 0.1, norm).unwrap();
        let moved = values(&weight);
        assert!((moved[0] - 0.9).abs() < 1e-6 && (moved[1] - 2.1).abs() < 1e-6, "{moved:?}");
    }

    #[test]
    fn two_steps_agree_with_the_paper_computed_by_hand() {
        let weight = weight();
        let mut adam = Optimizer::new(spec(0.1, 1e9), vec![("w".into(), weight.shallow_clone())], 1.0);
        for step in 0..2 {
            adam.zero_grad();
            with_gradient(&weight);
            adam.step(step, 0.1, adam.grad_norm().unwrap()).unwrap();
        }
        // A constant gradient: both bias-corrected moments are exact, every step is lr·sign.
        let by_hand = |start: f64, sign: f64| {
            let first = start * (1.0 - 0.01) - 0.1 * sign;
            first * (1.0 - 0.01) - 0.1 * sign
        };
        let moved = values(&weight);
        assert!((f64::from(moved[0]) - by_hand(1.0, 1.0)).abs() < 1e-6, "{moved:?}");
        assert!((f64::from(moved[1]) - by_hand(2.0, -1.0)).abs() < 1e-6, "{moved:?}");
    }

    #[test]
    fn clipping_scales_the_first_moment() {
        let weight = weight();
        let mut adam = Optimizer::new(spec(0.0, 0.5), vec![("w".into(), weight.shallow_clone())], 1.0);
        with_gradient(&weight);
        adam.step(0, 0.1, adam.grad_norm().unwrap()).unwrap();
        let first = adam.moments().0.get("w").unwrap().data.clone();
        assert!((first[0] - 0.03).abs() < 1e-6 && (first[1] + 0.04).abs() < 1e-6, "{first:?}");
    }

    #[test]
    fn one_dimensional_tensors_do_not_decay() {
        let bias = Tensor::from_slice(&[1.0_f32]).set_requires_grad(true);
        let mut adam = Optimizer::new(spec(0.5, 1e9), vec![("b".into(), bias.shallow_clone())], 1.0);
        (&bias * 0.0).sum(Kind::Float).backward();
        adam.step(0, 0.1, 0.0).unwrap();
        assert_eq!(values(&bias), [1.0]);
    }

    #[test]
    fn momentum_gathers_speed() {
        let weight = weight();
        let spec = OptimizerSpec::new(Method::Sgd, 0.0, 1e9);
        let mut sgd = Optimizer::new(spec, vec![("w".into(), weight.shallow_clone())], 1.0);
        for step in 0..2 {
            sgd.zero_grad();
            with_gradient(&weight);
            sgd.step(step, 0.01, sgd.grad_norm().unwrap()).unwrap();
        }
        // Gradient 3 twice: 0.01 · (3 + (0.9 · 3 + 3)).
        let moved = values(&weight);
        assert!((moved[0] - (1.0 - 0.087)).abs() < 1e-6, "{moved:?}");
    }

    #[test]
    fn a_scaled_loss_makes_the_same_steps() {
        let after = |scale: f64| {
            let weight = weight();
            let spec = spec(0.1, 2.0);
            let mut adam = Optimizer::new(spec, vec![("w".into(), weight.shallow_clone())], scale);
            for step in 0..3 {
                adam.zero_grad();
                let loss = (&weight * Tensor::from_slice(&[3.0_f32, -4.0]).view([1, 2])).sum(Kind::Float);
                adam.scaled(&loss).unwrap().backward();
                let norm = adam.grad_norm().unwrap();
                assert!((norm - 5.0).abs() < 1e-6);
                adam.step(step, 0.1, norm).unwrap();
            }
            values(&weight)
        };
        let (plain, scaled) = (after(1.0), after(1024.0));
        assert!(plain.iter().zip(&scaled).all(|(a, b)| (a - b).abs() < 1e-6), "{plain:?} {scaled:?}");
    }
}
