//! The training loop around a [`Trainer`]: batches in, checkpoints, validations and history out.

use std::fs;
use std::path::{Path, PathBuf};

use tch::Device;

use super::checkpoint::BestSoFar;
use super::progress::{Progress, Window};
use super::validation::{Validation, ValidationSet};
use super::{
    Checkpoint, History, HistoryRow, ModelFile, ModelInfo, RunDir, StopFlag, TrainError, Trainer,
    TrainingData,
};
use crate::config::{Config, Stage, StageSpec};
use crate::dataset::Loader;
use crate::report::draw_curves;

/// A stage of training in a folder.
#[derive(Debug)]
pub struct Session<'a> {
    config: &'a Config,
    stage: Stage,
    run: RunDir,
    trainer: Trainer,
    history: History,
}

/// How a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All steps are done.
    Finished,
    /// Stopped after this many steps; a checkpoint is written.
    Stopped {
        /// Steps done.
        step: u64,
    },
}

/// What a session starts from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// Fresh weights, or those of a model file.
    New {
        /// The model file.
        init: Option<PathBuf>,
    },
    /// The checkpoint in the run's folder.
    Resume,
}

impl<'a> Session<'a> {
    /// Opens the folder: creates it for a new run (it must hold no run yet), or reads its checkpoint.
    pub fn open(
        config: &'a Config,
        stage: Stage,
        out: &Path,
        start: &Start,
        device: Device,
    ) -> Result<Self, TrainError> {
        let run = RunDir::new(out);
        let labels = config.labels();
        let (trainer, history) = match start {
            Start::Resume => {
                let checkpoint = read_checkpoint(config, stage, &run)?;
                let mut history = match run.history().exists() {
                    true => History::load(&run.history(), labels)?,
                    false => History::new(labels),
                };
                history.truncate(checkpoint.state.step);
                (Trainer::resume(config, stage, device, &checkpoint)?, history)
            }
            Start::New { init } => {
                if run.latest().exists() || run.best().exists() {
                    return Err(TrainError::Occupied { path: out.to_owned() });
                }
                let init = init.as_deref().map(ModelFile::load).transpose()?;
                let (trainer, fresh) = Trainer::new(config, stage, device, init.as_ref())?;
                if !fresh.is_empty() {
                    tracing::warn!(tensors = fresh.join(", "), "not in the given model, so they start fresh");
                }
                write_config(config, &run)?;
                (trainer, History::new(labels))
            }
        };
        Ok(Self { config, stage, run, trainer, history })
    }

    /// Trains until the last step or until `stop` is raised.
    pub fn run(
        &mut self,
        data: &TrainingData,
        stop: &StopFlag,
        workers: usize,
    ) -> Result<Outcome, TrainError> {
        let spec = self.config.stage(self.stage);
        let preprocess = &self.config.preprocess;
        let device = self.trainer.averaged().device();
        let validation = ValidationSet::new(&data.validation, preprocess.mean, preprocess.std, device)?;
        let mut loader = Loader::start(&data.plan, self.trainer.state().step..spec.steps, workers);
        let progress = Progress::start(&self.stage.to_string(), self.trainer.state().step, spec.steps);
        let mut window = Window::new();
        while let Some(batch) = loader.next_batch() {
            window.add(self.trainer.step(&batch?)?);
            let step = self.trainer.state().step;
            progress.advance(step);
            let stopping = stop.is_raised() && step < spec.steps;
            let due = |every: u64| step.is_multiple_of(every) || step == spec.steps;

            let judged = match due(spec.validate_every) {
                true => Some(self.validate(&validation, data.validation_name, &progress)?),
                false => None,
            };
            if due(spec.log_every) || judged.is_some() {
                self.log(&window, judged, spec, &progress);
                window = Window::new();
            }
            if due(spec.checkpoint_every) || stopping {
                self.save()?;
            }
            if stopping {
                progress
                    .say(&format!("stopped after step {step}; add --resume to the same command to go on"));
                return Ok(Outcome::Stopped { step });
            }
        }
        Ok(Outcome::Finished)
    }

    /// The run's folder.
    pub fn run_dir(&self) -> &RunDir {
        &self.run
    }

    /// The best validation so far.
    pub fn best(&self) -> Option<BestSoFar> {
        self.trainer.state().best
    }

    fn validate(
        &mut self,
        set: &ValidationSet,
        name: &str,
        progress: &Progress,
    ) -> Result<Validation, TrainError> {
        let step = self.trainer.state().step;
        let validation = set.validate(self.trainer.averaged())?;
        let mean_iou = validation.mean_iou().ok_or(TrainError::NothingToValidate)?;
        let better = self.best().is_none_or(|best| mean_iou > best.mean_iou);
        let classes: Vec<String> = self
            .config
            .classes
            .iter()
            .zip(&validation.class_iou)
            .filter_map(|(class, iou)| Some(format!("{} {:.4}", class.label, (*iou)?)))
            .collect();
        let mark = if better { " (best)" } else { "" };
        progress.say(&format!("step {step}: IoU on {name} {mean_iou:.4} [{}]{mark}", classes.join(", ")));
        if better {
            self.trainer.set_best(BestSoFar { step, mean_iou });
            self.model_file(&validation).save(&self.run.best())?;
        }
        Ok(validation)
    }

    fn log(&mut self, window: &Window, judged: Option<Validation>, spec: &StageSpec, progress: &Progress) {
        let step = self.trainer.state().step;
        let images_per_second = window.images_per_second(spec.batch);
        progress.show(step, window, images_per_second);
        self.history.push(HistoryRow {
            step,
            loss: window.loss(),
            learning_rate: window.learning_rate(),
            grad_norm: window.grad_norm(),
            images_per_second,
            mean_iou: judged.as_ref().and_then(Validation::mean_iou),
            class_iou: judged.map_or_else(Vec::new, |validation| validation.class_iou),
        });
    }

    fn save(&self) -> Result<(), TrainError> {
        self.trainer.checkpoint().save(&self.run.latest())?;
        self.history.save(&self.run.history())?;
        Ok(draw_curves(&self.history, &self.run.curves())?)
    }

    fn model_file(&self, validation: &Validation) -> ModelFile {
        let state = self.trainer.state();
        ModelFile {
            info: ModelInfo {
                graph: self.trainer.averaged().graph().clone(),
                labels: self.config.labels(),
                preprocess: self.config.preprocess.clone(),
                stage: self.stage,
                step: state.step,
                total_steps: state.earlier_steps + state.step,
                seed: state.seed,
                validation_iou: validation.class_iou.clone(),
            },
            params: self.trainer.averaged().to_params(),
        }
    }
}

fn read_checkpoint(config: &Config, stage: Stage, run: &RunDir) -> Result<Checkpoint, TrainError> {
    let path = run.latest();
    if !path.exists() {
        return Err(TrainError::NothingToResume { path });
    }
    let checkpoint = Checkpoint::load(&path)?;
    let found = checkpoint.state.stage;
    if found != stage {
        return Err(TrainError::OtherStage { path, found, expected: stage });
    }
    if checkpoint.state.config_digest != config.digest(stage) {
        return Err(TrainError::OtherConfig { path });
    }
    Ok(checkpoint)
}

fn write_config(config: &Config, run: &RunDir) -> Result<(), TrainError> {
    let io = |path: PathBuf| move |source| TrainError::Io { path, source };
    fs::create_dir_all(run.path()).map_err(io(run.path().to_owned()))?;
    let text =
        toml::to_string_pretty(config).expect("a configuration that was read from TOML goes back into it");
    fs::write(run.config(), text).map_err(io(run.config()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tiny;

    fn config() -> Config {
        tiny(
            "
            [phantom]
            pool = 5
            size = 128
            [pretrain]
            steps = 6
            batch = 2
            warmup = 2
            validate_every = 2
            checkpoint_every = 4
            log_every = 1
            ",
        )
    }

    fn session<'a>(config: &'a Config, out: &Path, start: &Start) -> Result<Session<'a>, TrainError> {
        Session::open(config, Stage::Pretrain, out, start, Device::Cpu)
    }

    #[test]
    fn a_resumed_run_equals_an_uninterrupted_one_bit_for_bit() {
        let (config, dir) = (config(), tempfile::tempdir().unwrap());
        let data = TrainingData::load(&config, Stage::Pretrain, None).unwrap();
        let (whole, parts) = (RunDir::new(dir.path().join("whole")), RunDir::new(dir.path().join("parts")));
        let fresh = Start::New { init: None };

        let outcome = session(&config, whole.path(), &fresh).unwrap().run(&data, &StopFlag::default(), 1);
        assert_eq!(outcome.unwrap(), Outcome::Finished);

        // Stopped after every single step, with another number of workers.
        let stop = StopFlag::default();
        stop.raise();
        for step in 1..6 {
            let start = if step == 1 { fresh.clone() } else { Start::Resume };
            let outcome = session(&config, parts.path(), &start).unwrap().run(&data, &stop, 2);
            assert_eq!(outcome.unwrap(), Outcome::Stopped { step });
        }
        let outcome = session(&config, parts.path(), &Start::Resume).unwrap().run(&data, &stop, 2);
        assert_eq!(outcome.unwrap(), Outcome::Finished);

        for file in [RunDir::latest, RunDir::best] {
            let (a, b) = (fs::read(file(&whole)).unwrap(), fs::read(file(&parts)).unwrap());
            assert!(a == b, "{} differs", file(&whole).display());
        }
        let steps = |run: &RunDir| -> Vec<u64> {
            let history = History::load(&run.history(), config.labels()).unwrap();
            history.rows().iter().map(|row| row.step).collect()
        };
        assert_eq!(steps(&whole), [1, 2, 3, 4, 5, 6]);
        assert_eq!(steps(&parts), [1, 2, 3, 4, 5, 6]);

        // The model file begins the next stage.
        let model = ModelFile::load(&whole.best()).unwrap();
        assert_eq!(model.info.labels, config.labels());
        let next = dir.path().join("next");
        let start = Start::New { init: Some(whole.best()) };
        let next = Session::open(&config, Stage::Train, &next, &start, Device::Cpu).unwrap();
        assert_eq!(next.trainer.averaged().to_params(), model.params);
    }

    #[test]
    fn wrong_folders_are_explained() {
        let (config, dir) = (config(), tempfile::tempdir().unwrap());
        let out = dir.path().join("run");
        let error = session(&config, &out, &Start::Resume).unwrap_err();
        assert!(matches!(error, TrainError::NothingToResume { .. }), "{error}");

        let fresh = Start::New { init: None };
        session(&config, &out, &fresh).unwrap().save().unwrap();
        let error = session(&config, &out, &fresh).unwrap_err();
        assert!(matches!(error, TrainError::Occupied { .. }), "{error}");

        let other = Config { seed: 18, ..config.clone() };
        let error = session(&other, &out, &Start::Resume).unwrap_err();
        assert!(matches!(error, TrainError::OtherConfig { .. }), "{error}");

        let error = Session::open(&config, Stage::Train, &out, &Start::Resume, Device::Cpu).unwrap_err();
        assert!(matches!(error, TrainError::OtherStage { .. }), "{error}");
    }
}
