use rand::RngCore;
use tch::{Device, Tensor};

use super::adamw::{AdamW, AdamWSpec};
use super::checkpoint::BestSoFar;
use super::loss::{LossSpec, Targets, segmentation_loss};
use super::{Checkpoint, Ema, ModelFile, Schedule, TrainError, TrainState};
use crate::config::{Config, Stage};
use crate::dataset::{Batch, Stream, stream_rng};
use crate::net::{Mode, TorchNet};

/// All state of a training: network, average, optimizer, step.
///
/// [`Trainer::step`] is deterministic: the same state and batch give the same next state, bit for bit, on the
/// same machine, libtorch and number of threads.
#[derive(Debug)]
pub struct Trainer {
    net: TorchNet,
    ema: Ema,
    optimizer: AdamW,
    schedule: Schedule,
    loss: LossSpec,
    state: TrainState,
}

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
        config: &Config,
        stage: Stage,
        device: Device,
        init: Option<&ModelFile>,
    ) -> Result<(Self, Vec<String>), TrainError> {
        let spec = config.stage(stage);
        let mut net = TorchNet::new(&config.graph(), device, config.seed)?;
        let fresh = init.map_or_else(|| Ok(Vec::new()), |model| net.load_params_partial(&model.params))?;
        let adamw = AdamWSpec {
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            weight_decay: spec.weight_decay,
            clip_norm: spec.clip_norm,
        };
        let trainer = Self {
            ema: Ema::new(&net, spec.ema_decay)?,
            optimizer: AdamW::new(adamw, net.trainable()),
            schedule: Schedule {
                highest: spec.learning_rate,
                final_share: spec.final_share,
                warmup: spec.warmup,
                steps: spec.steps,
            },
            loss: LossSpec { bce: spec.bce_weight, dice: spec.dice_weight },
            state: TrainState {
                stage,
                step: 0,
                seed: config.seed,
                config_digest: config.digest(stage),
                init_digest: init.map(|model| shared::bundle::sha256_hex(&model.params.to_bytes())),
                earlier_steps: init.map_or(0, |model| model.info.total_steps),
                best: None,
            },
            net,
        };
        Ok((trainer, fresh))
    }

    /// A training where a checkpoint left it.
    pub fn resume(
        config: &Config,
        stage: Stage,
        device: Device,
        from: &Checkpoint,
    ) -> Result<Self, TrainError> {
        let (mut trainer, _) = Self::new(config, stage, device, None)?;
        trainer.net.load_params(&from.net)?;
        trainer.ema.net_mut().load_params(&from.ema)?;
        trainer.optimizer.load_moments(trainer.net.graph(), &from.first_moment, &from.second_moment)?;
        trainer.state = from.state.clone();
        Ok(trainer)
    }

    /// Step, seed, best so far.
    pub fn state(&self) -> &TrainState {
        &self.state
    }

    /// The averaged network: what is validated and exported.
    pub fn averaged(&self) -> &TorchNet {
        self.ema.net()
    }

    /// Remembers the best validation.
    pub fn set_best(&mut self, best: BestSoFar) {
        self.state.best = Some(best);
    }

    /// Learns from a batch.
    pub fn step(&mut self, batch: &Batch) -> Result<StepReport, TrainError> {
        let step = self.state.step;
        let learning_rate = self.schedule.at(step);
        self.net.set_step_seed(stream_rng(self.state.seed, Stream::Dropout, step).next_u64());
        let (images, targets) = self.upload(batch)?;

        self.optimizer.zero_grad();
        let logits = self.net.forward(&images, Mode::Train)?;
        let loss = segmentation_loss(&logits, &targets, self.loss)?;
        let value = self.finite("the loss", f64::try_from(&loss)?)?;
        loss.f_backward()?;
        let grad_norm = self.finite("the gradient's norm", self.optimizer.grad_norm()?)?;
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

    fn upload(&self, batch: &Batch) -> Result<(Tensor, Targets), TrainError> {
        let device = self.net.device();
        let (n, c, s) = (batch.len as i64, batch.classes as i64, batch.size as i64);
        let tensor =
            |values: &[f32], shape: &[i64]| Tensor::f_from_slice(values)?.f_view(shape)?.f_to_device(device);
        let targets = Targets {
            coverage: tensor(&batch.targets, &[n, c, s, s])?,
            valid: tensor(&batch.valid, &[n, c])?,
        };
        Ok((tensor(&batch.images, &[n, 1, s, s])?, targets))
    }

    fn finite(&self, what: &'static str, value: f64) -> Result<f64, TrainError> {
        if value.is_finite() {
            return Ok(value);
        }
        Err(TrainError::Diverged { what, value, step: self.state.step, stage: self.state.stage })
    }
}
