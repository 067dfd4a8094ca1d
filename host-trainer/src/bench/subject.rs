use std::path::Path;
use std::time::Instant;

use tch::{Device, Tensor, no_grad};

use super::BenchError;
use crate::config::{Config, Stage};
use crate::dataset::{Batch, BatchSource as _, Loader, MaskSource, Record, load_samples_on};
use crate::net::torch::from_tensor;
use crate::net::{Mode, Params};
use crate::train::{Images, Job, Roles, Segmentation, Task as _, TrainError, Trainer, upload_batch};

/// A training of which single parts can be run against the clock.
///
/// It is the stage `train` on expert masks alone, without phantoms, pseudo-masks, consistency and validation, so that
/// another program can be given the very same images.
#[derive(Debug)]
pub struct Bench {
    config: Config,
    records: Vec<Record>,
    trainer: Trainer,
    task: Segmentation,
    loader: Loader<Batch>,
    batch: Batch,
    workers: usize,
}

impl Bench {
    /// Reads the images below `root` and starts `workers` threads that prepare batches.
    ///
    /// # Errors
    /// If there are no images, one cannot be read, or libtorch fails.
    pub fn new(config: &Config, root: &Path, workers: usize, device: Device) -> Result<Self, BenchError> {
        let mut config = config.clone();
        (config.train.phantom_share, config.consistency) = (0.0, None);
        let strong = Roles::of_splits(&config.index(root)?).strong;
        if strong.is_empty() {
            return Err(BenchError::NoImages);
        }
        let roles = Roles { strong, ..Roles::default() };
        let images = Images::load(&config, Stage::Train, &roles, None)?;
        let task = images.task(&config, Stage::Train, device)?;
        let (trainer, _) = Trainer::new(&Job::new(&config, Stage::Train), device, None)?;
        let loader = Loader::start(task.source(), 0..u64::MAX, workers);
        let batch = task.plan.batch(0);
        Ok(Self { config, records: roles.strong, trainer, task, loader, batch, workers })
    }

    /// Seconds a step on a batch that is ready: forward, loss, backward, optimizer, average.
    ///
    /// # Errors
    /// If libtorch fails or the training diverges.
    pub fn step(&mut self, count: u32) -> Result<f64, BenchError> {
        let began = Instant::now();
        for _ in 0..count {
            self.trainer.step(&self.task, &self.batch)?;
        }
        Ok(each(began, count))
    }

    /// Seconds a batch that the loader takes from the cache and varies.
    ///
    /// # Errors
    /// If a worker died.
    pub fn load(&mut self, count: u32) -> Result<f64, BenchError> {
        // What was prepared while nobody looked must not count.
        for _ in 0..self.loader.most_ahead() {
            self.next_batch()?;
        }
        let began = Instant::now();
        for _ in 0..count {
            self.next_batch()?;
        }
        Ok(each(began, count))
    }

    /// Seconds a step, batches coming from the loader.
    ///
    /// # Errors
    /// As [`Bench::step`] and [`Bench::load`].
    pub fn end_to_end(&mut self, count: u32) -> Result<f64, BenchError> {
        for _ in 0..self.loader.most_ahead() {
            self.next_batch()?;
        }
        let began = Instant::now();
        for _ in 0..count {
            let batch = self.next_batch()?;
            self.trainer.step(&self.task, &batch)?;
        }
        Ok(each(began, count))
    }

    /// Seconds an image that it takes to decode images and masks and bring them to the network's size: what the
    /// cache saves every epoch but the first.
    ///
    /// # Errors
    /// If an image cannot be read.
    pub fn first_pass(&self) -> Result<f64, BenchError> {
        let began = Instant::now();
        load_samples_on(self.workers, &self.records, &self.config.labels(), &self.config.preprocess)?;
        Ok(began.elapsed().as_secs_f64() / self.records.len() as f64)
    }

    /// Images in a batch.
    pub fn images_a_step(&self) -> usize {
        self.batch.len
    }

    /// What another program needs to train the same: settings, and where images and masks lie.
    pub fn description(&self) -> serde_json::Value {
        let image = |record: &Record| {
            let masks = record.masks.iter().map(|(label, source)| match source {
                MaskSource::Files(files) => (label.clone(), serde_json::json!(files)),
                MaskSource::Cut { of, without } => {
                    (label.clone(), serde_json::json!({ "of": of, "without": without }))
                }
                MaskSource::Codes(codes) => (label.clone(), serde_json::json!(codes)),
            });
            let masks: serde_json::Map<_, _> = masks.collect();
            serde_json::json!({ "image": record.image, "masks": masks })
        };
        serde_json::json!({
            "version": env!("CARGO_PKG_VERSION"),
            "threads": tch::get_num_threads(),
            "workers": self.workers,
            "labels": self.config.labels(),
            "train": self.config.train,
            "augment": self.config.augment,
            "preprocess": self.config.preprocess,
            "images": self.records.iter().map(image).collect::<Vec<_>>(),
        })
    }

    /// The averaged network's weights and, under `check.`, a batch with what the network (in evaluation) and the loss
    /// make of it, so that another program can show that it computes the same.
    ///
    /// # Errors
    /// If libtorch fails.
    pub fn check(&self) -> Result<Params, BenchError> {
        let net = self.trainer.averaged();
        let (images, targets) = upload_batch(&self.batch, net.device())?;
        let (logits, loss) = no_grad(|| -> Result<(Tensor, Tensor), TrainError> {
            let logits = net.forward(&images, Mode::Eval)?;
            let loss = crate::train::segmentation_loss(&logits, &targets, self.task.loss)?;
            Ok((logits, loss))
        })?;
        let mut params = net.to_params();
        let tensors = [("images", &images), ("targets", &targets.coverage), ("valid", &targets.valid)];
        for (name, tensor) in tensors.into_iter().chain([("logits", &logits), ("loss", &loss)]) {
            params.insert(format!("check.{name}"), from_tensor(tensor));
        }
        Ok(params)
    }

    fn next_batch(&mut self) -> Result<Batch, BenchError> {
        Ok(self.loader.next_batch().expect("the numbers of batches do not run out")?)
    }
}

fn each(began: Instant, count: u32) -> f64 {
    began.elapsed().as_secs_f64() / f64::from(count.max(1))
}
