use rand::RngCore;
use tch::{Device, TchError};

use super::checkpoint::BestSoFar;
use super::optimizer::{Optimizer, OptimizerSpec};
use super::{Checkpoint, Ema, Job, ModelFile, Nets, Schedule, Task, TrainError, TrainState};
use crate::dataset::{BatchSource, Named, Stream, stream_rng};
use crate::net::{Rounding, TorchNet, TorchNetError};

/// All state of a training: network, average, optimizer, step.
///
/// [`Trainer::step`] is deterministic: the same state and batch give the same next state, bit for bit, on the
/// same machine, libtorch and number of threads.
#[derive(Debug)]
pub struct Trainer {
    net: TorchNet,
    ema: Ema,
    optimizer: Optimizer,
    schedule: Schedule,
    state: TrainState,
    batch: usize,
    amp: bool,
}

/// In half precision the loss is multiplied by this before the backward pass, so that small gradients do not vanish;
/// the optimizer divides it out again. It is halved where gradients overflow.
const AMP_SCALE: f64 = 1024.0;

/// Numbers of one step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepReport {
    /// Loss.
    pub loss: f64,
    /// Norm of the gradient before clipping.
    pub grad_norm: f64,
    /// Learning rate.
    pub learning_rate: f64,
}

impl Trainer {
    /// A training at step 0. With `init`, weights that agree in name and shape come from there; the names of
    /// the others, which stay fresh, are returned.
    pub fn new(
        job: &Job,
        device: Device,
        init: Option<&ModelFile>,
    ) -> Result<(Self, Vec<String>), TrainError> {
        let spec = &job.spec;
        let mut net = TorchNet::new(&job.graph, device, job.seed)?;
        let fresh = init.map_or_else(|| Ok(Vec::new()), |model| net.load_params_partial(&model.params))?;
        // Heads may be for other classes; a body that does not fit is a mistake.
        let body: Vec<&str> =
            fresh.iter().map(String::as_str).filter(|name| name.starts_with("encoder.")).collect();
        if init.is_some() && !body.is_empty() {
            let shown = body.iter().take(3).copied().collect::<Vec<_>>().join(", ");
            return Err(TrainError::OtherNetwork { tensors: format!("{shown} ({} in all)", body.len()) });
        }
        if let Some(prefix) = job.frozen {
            net.freeze(prefix);
        }
        let optimizer = OptimizerSpec::new(spec.optimizer, spec.weight_decay, spec.clip_norm);
        // Half precision is for tensor cores; on a CPU libtorch has no use for it.
        let amp = spec.amp && device.is_cuda();
        let trainer = Self {
            ema: Ema::new(&net, spec.ema_decay)?,
            optimizer: Optimizer::new(optimizer, net.trainable(), if amp { AMP_SCALE } else { 1.0 }),
            schedule: Schedule {
                highest: spec.learning_rate,
                final_share: spec.final_share,
                warmup: spec.warmup,
                steps: spec.steps,
            },
            state: TrainState {
                stage: job.stage,
                step: 0,
                seed: job.seed,
                config_digest: job.digest.clone(),
                init_digest: init.map(|model| shared::bundle::sha256_hex(&model.params.to_bytes())),
                earlier_steps: init.map_or(0, |model| model.info.total_steps),
                best: Vec::new(),
            },
            batch: spec.batch,
            amp,
            net,
        };
        Ok((trainer, fresh))
    }

    /// A training where a checkpoint left it.
    pub fn resume(job: &Job, device: Device, from: &Checkpoint) -> Result<Self, TrainError> {
        let (mut trainer, _) = Self::new(job, device, None)?;
        trainer.net.load_params(&from.net)?;
        trainer.ema.net_mut().load_params(&from.ema)?;
        trainer.optimizer.load_moments(trainer.net.graph(), &from.first_moment, &from.second_moment)?;
        trainer.state = from.state.clone();
        Ok(trainer)
    }

    /// Trains and averages under rounding from now on.
    pub fn round(&mut self, rounding: &Rounding) {
        self.net.round(rounding.clone());
        self.ema.net_mut().round(rounding.clone());
    }

    /// Step, seed, best so far.
    pub fn state(&self) -> &TrainState {
        &self.state
    }

    /// The averaged network: what is validated and exported.
    pub fn averaged(&self) -> &TorchNet {
        self.ema.net()
    }

    /// Remembers the best validations, best first.
    pub fn set_best(&mut self, best: Vec<BestSoFar>) {
        self.state.best = best;
    }

    /// Learns from a batch.
    pub fn step<T: Task>(
        &mut self,
        task: &T,
        batch: &<T::Source as BatchSource>::Batch,
    ) -> Result<StepReport, TrainError> {
        self.learn(task, batch).map_err(|error| match error {
            TrainError::Torch(cause) if out_of_memory(&cause) => self.no_memory(cause),
            TrainError::Net(TorchNetError::Torch { source, .. } | TorchNetError::Other(source))
                if out_of_memory(&source) =>
            {
                self.no_memory(source)
            }
            other => other,
        })
    }

    fn learn<T: Task>(
        &mut self,
        task: &T,
        batch: &<T::Source as BatchSource>::Batch,
    ) -> Result<StepReport, TrainError> {
        let step = self.state.step;
        let learning_rate = self.schedule.at(step);
        let seed = stream_rng(self.state.seed, Stream::Dropout, step).next_u64();
        self.net.set_step_seed(seed);

        self.optimizer.zero_grad();
        let nets = Nets { student: &self.net, average: self.ema.net(), seed: self.state.seed, step };
        let loss = match self.amp {
            true => tch::autocast(true, || task.loss(nets, batch))?,
            false => task.loss(nets, batch)?,
        };
        let value = self.finite("the loss", f64::try_from(&loss)?, batch.ids())?;
        self.optimizer.scaled(&loss)?.f_backward()?;
        let grad_norm = self.optimizer.grad_norm()?;
        if !grad_norm.is_finite() && self.optimizer.halve_loss_scale() {
            // Half precision has overflowed, not the training: the batch is passed over.
            tracing::warn!(step, "a gradient beyond half precision: this batch teaches nothing");
            self.state.step += 1;
            return Ok(StepReport { loss: value, grad_norm: 0.0, learning_rate });
        }
        let grad_norm = self.finite("the gradient's norm", grad_norm, batch.ids())?;
        self.optimizer.step(step, learning_rate, grad_norm)?;
        self.ema.update(step)?;
        self.state.step += 1;
        Ok(StepReport { loss: value, grad_norm, learning_rate })
    }

    /// Everything, on the CPU.
    pub fn checkpoint(&self) -> Checkpoint {
        let (first_moment, second_moment) = self.optimizer.moments();
        Checkpoint {
            state: self.state.clone(),
            net: self.net.to_params(),
            ema: self.ema.net().to_params(),
            first_moment,
            second_moment,
        }
    }

    fn no_memory(&self, source: TchError) -> TrainError {
        TrainError::OutOfMemory {
            stage: self.state.stage,
            batch: self.batch,
            try_batch: self.batch / 2,
            source,
        }
    }

    fn finite(&self, what: &'static str, value: f64, images: &[String]) -> Result<f64, TrainError> {
        if value.is_finite() {
            return Ok(value);
        }
        // The step that could not be done, counted as those that are done.
        let (step, stage, images) = (self.state.step + 1, self.state.stage, images.join(", "));
        Err(TrainError::Diverged { what, value, step, stage, images })
    }
}

/// Whether libtorch ran out of memory; it says so in words only.
fn out_of_memory(error: &TchError) -> bool {
    let text = error.to_string();
    ["out of memory", "can't allocate memory", "not enough memory"].iter().any(|part| text.contains(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libtorchs_words_for_no_memory_are_known() {
        // Asking for 2^52 bytes fails on any machine, in the words of the CPU's allocator.
        let error = tch::Tensor::f_zeros([1_i64 << 50], (tch::Kind::Float, Device::Cpu)).unwrap_err();
        assert!(out_of_memory(&error), "{error}");
    }
}
