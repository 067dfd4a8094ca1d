//! The training loop around a [`Trainer`]: batches in, checkpoints, validations and history out.

use std::fs;
use std::path::{Path, PathBuf};

use tch::Device;

use super::checkpoint::BestSoFar;
use super::events::EventLog;
use super::progress::{Progress, Window};
use super::{
    Checkpoint, FolderLock, History, HistoryRow, Job, ModelFile, ModelInfo, RunDir, Scores, StopFlag, Task,
    TrainError, Trainer,
};
use crate::dataset::Loader;
use crate::report::draw_curves;

/// A stage of training in a folder.
#[derive(Debug)]
pub struct Session {
    job: Job,
    run: RunDir,
    trainer: Trainer,
    history: History,
    events: EventLog,
    /// Two trainings in one folder would overwrite each other's checkpoints.
    _lock: FolderLock,
}

/// The lock of a training's folder. The steps of a study hold another one, on everything that lies there.
const LOCK: &str = ".training.lock";

/// How a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All steps are done, or validations have stopped to improve.
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

impl Session {
    /// Opens the folder: creates it for a new run (it must hold no run yet), or reads its checkpoint. As long as the
    /// session lives, no other one opens the folder.
    pub fn open(job: Job, out: &Path, start: &Start, device: Device) -> Result<Self, TrainError> {
        let run = RunDir::new(out);
        if *start == Start::Resume && !run.latest().exists() {
            return Err(TrainError::NothingToResume { path: run.latest() });
        }
        let lock = FolderLock::take(out, LOCK).map_err(io_error(out))?;
        let lock = lock.ok_or_else(|| TrainError::Busy { path: out.to_owned() })?;
        let (metric, labels) = (job.metric, job.labels.clone());
        let (trainer, history) = match start {
            Start::Resume => {
                let checkpoint = read_checkpoint(&job, &run)?;
                let mut history = match run.history().exists() {
                    true => History::load(&run.history(), metric, labels)?,
                    false => History::new(metric, labels),
                };
                history.truncate(checkpoint.state.step);
                (Trainer::resume(&job, device, &checkpoint)?, history)
            }
            Start::New { init } => {
                if run.latest().exists() {
                    return Err(TrainError::Occupied { path: out.to_owned() });
                }
                // Models without a checkpoint are what a cut before the first checkpoint leaves.
                run.remove_models().map_err(io_error(run.path()))?;
                let init = init.as_deref().map(ModelFile::load).transpose()?;
                let (trainer, fresh) = Trainer::new(&job, device, init.as_ref())?;
                if !fresh.is_empty() {
                    tracing::warn!(tensors = fresh.join(", "), "not in the given model, so they start fresh");
                }
                write_config(&job, &run)?;
                (trainer, History::new(metric, labels))
            }
        };
        let events = EventLog::open(run.path()).map_err(io_error(run.path()))?;
        Ok(Self { job, run, trainer, history, events, _lock: lock })
    }

    /// Trains until the last step or until `stop` is raised.
    pub fn run<T: Task>(&mut self, task: &T, stop: &StopFlag, workers: usize) -> Result<Outcome, TrainError> {
        let spec = self.job.spec.clone();
        let end = if self.has_stalled() { self.trainer.state().step } else { spec.steps };
        let mut loader = Loader::start(task.source(), self.trainer.state().step..end, workers);
        let progress = Progress::start(&self.job.stage.to_string(), self.trainer.state().step, spec.steps);
        let mut window = Window::new();
        while let Some(batch) = loader.next_batch() {
            window.add(self.trainer.step(task, &batch?)?);
            let step = self.trainer.state().step;
            progress.advance(step);
            let stopping = stop.is_raised() && step < spec.steps;
            let due = |every: u64| step.is_multiple_of(every) || step == spec.steps;

            let judged = if due(spec.validate_every) { self.validate(task, &progress)? } else { None };
            let stalled = judged.is_some() && self.has_stalled();
            if due(spec.log_every) || judged.is_some() {
                self.log(&window, judged, &progress)?;
                window = Window::new();
            }
            if due(spec.checkpoint_every) || stopping || stalled {
                self.save()?;
            }
            if stalled {
                progress.say(&format!(
                    "step {step}: no better for {} validations, so this is the end",
                    spec.patience
                ));
                break;
            }
            if stopping {
                progress.say(&format!(
                    "stopped after step {step}; give the command again to go on (train: with --resume)"
                ));
                return Ok(Outcome::Stopped { step });
            }
        }
        self.model_file(&[]).save(&self.run.final_model())?;
        Ok(Outcome::Finished)
    }

    /// The run's folder.
    pub fn run_dir(&self) -> &RunDir {
        &self.run
    }

    /// The best validation so far; none without validation images.
    pub fn best(&self) -> Option<BestSoFar> {
        self.trainer.state().best.first().copied()
    }

    /// Whether as many validations as the patience allows have passed since the best one.
    fn has_stalled(&self) -> bool {
        let spec = &self.job.spec;
        let allowed = spec.patience * spec.validate_every;
        spec.patience > 0 && self.best().is_some_and(|best| self.trainer.state().step >= best.step + allowed)
    }

    fn validate<T: Task>(&mut self, task: &T, progress: &Progress) -> Result<Option<Scores>, TrainError> {
        let step = self.trainer.state().step;
        let Some(scores) = task.validate(self.trainer.averaged())? else {
            // Nothing to choose by: the last weights are the ones.
            self.model_file(&[]).save(&self.run.best())?;
            return Ok(None);
        };
        let score = scores.mean().ok_or(TrainError::NothingToValidate)?;
        let better = self.best().is_none_or(|best| score > best.score);
        let named = self.job.labels.iter().zip(&scores.by_label);
        let parts: Vec<String> =
            named.filter_map(|(label, score)| Some(format!("{label} {:.4}", (*score)?))).collect();
        let (metric, mark) = (self.job.metric, if better { " (best)" } else { "" });
        progress.say(&format!("step {step}: validation {metric} {score:.4} [{}]{mark}", parts.join(", ")));
        self.keep(BestSoFar { step, score }, &scores, better)?;
        Ok(Some(scores))
    }

    /// Keeps the model if it is among the best ones, and drops the file that falls out.
    fn keep(&mut self, found: BestSoFar, scores: &Scores, better: bool) -> Result<(), TrainError> {
        let keep = self.job.spec.keep;
        let mut best = self.trainer.state().best.clone();
        // Among equals the earlier one stays ahead.
        let at = best.iter().position(|b| found.score > b.score).unwrap_or(best.len());
        if at >= keep {
            return Ok(());
        }
        best.insert(at, found);
        let dropped = if best.len() > keep { best.pop() } else { None };
        self.trainer.set_best(best);
        let model = self.model_file(&scores.by_label);
        if keep > 1 {
            model.save(&self.run.kept(found.step))?;
        }
        if better {
            model.save(&self.run.best())?;
        }
        if let Some(dropped) = dropped.filter(|_| keep > 1) {
            let path = self.run.kept(dropped.step);
            fs::remove_file(&path).or_else(|error| match error.kind() {
                // A run that was cut between the two files.
                std::io::ErrorKind::NotFound => Ok(()),
                _ => Err(io_error(&path)(error)),
            })?;
        }
        Ok(())
    }

    fn log(
        &mut self,
        window: &Window,
        judged: Option<Scores>,
        progress: &Progress,
    ) -> Result<(), TrainError> {
        let step = self.trainer.state().step;
        let images_per_second = window.images_per_second(self.job.spec.batch);
        progress.show(step, window, images_per_second);
        let row = HistoryRow {
            step,
            loss: window.loss(),
            learning_rate: window.learning_rate(),
            grad_norm: window.grad_norm(),
            images_per_second,
            mean_score: judged.as_ref().and_then(Scores::mean),
            scores: judged.map_or_else(Vec::new, |scores| scores.by_label),
        };
        self.events.write(&self.job, &row).map_err(io_error(self.run.path()))?;
        self.history.push(row);
        Ok(())
    }

    fn save(&self) -> Result<(), TrainError> {
        // The history first: what it has too much after a cut, a resumed training takes out again.
        self.history.save(&self.run.history())?;
        self.trainer.checkpoint().save(&self.run.latest())?;
        Ok(draw_curves(&self.history, &self.run.curves())?)
    }

    fn model_file(&self, validation: &[Option<f64>]) -> ModelFile {
        let state = self.trainer.state();
        ModelFile {
            info: ModelInfo {
                graph: self.trainer.averaged().graph().clone(),
                labels: self.job.labels.clone(),
                preprocess: self.job.preprocess.clone(),
                stage: self.job.stage,
                step: state.step,
                total_steps: state.earlier_steps + state.step,
                seed: state.seed,
                teachers: self.job.teachers,
                pseudo_masks: self.job.pseudo_masks,
                share: None,
                record: None,
                validation: validation.to_vec(),
            },
            params: self.trainer.averaged().to_params(),
        }
    }
}

fn read_checkpoint(job: &Job, run: &RunDir) -> Result<Checkpoint, TrainError> {
    let path = run.latest();
    let checkpoint = Checkpoint::load(&path)?;
    let found = checkpoint.state.stage;
    if found != job.stage {
        return Err(TrainError::OtherStage { path, found, expected: job.stage });
    }
    if checkpoint.state.config_digest != job.digest {
        return Err(TrainError::OtherConfig { path });
    }
    Ok(checkpoint)
}

fn write_config(job: &Job, run: &RunDir) -> Result<(), TrainError> {
    fs::create_dir_all(run.path()).map_err(io_error(run.path()))?;
    fs::write(run.config(), &job.config).map_err(io_error(&run.config()))
}

fn io_error(path: &Path) -> impl FnOnce(std::io::Error) -> TrainError {
    let path = path.to_owned();
    move |source| TrainError::Io { path, source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Stage, tiny};
    use crate::dataset::Index;
    use crate::train::Images;

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

    fn session(config: &Config, out: &Path, start: &Start) -> Result<Session, TrainError> {
        Session::open(Job::new(config, Stage::Pretrain), out, start, Device::Cpu)
    }

    #[test]
    fn a_resumed_run_equals_an_uninterrupted_one_bit_for_bit() {
        let (config, dir) = (config(), tempfile::tempdir().unwrap());
        let data = Images::of_splits(&config, Stage::Pretrain, &Index::default(), None)
            .unwrap()
            .task(&config, Stage::Pretrain, Device::Cpu)
            .unwrap();
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

        for file in [RunDir::latest, RunDir::best, RunDir::final_model] {
            let (a, b) = (fs::read(file(&whole)).unwrap(), fs::read(file(&parts)).unwrap());
            assert!(a == b, "{} differs", file(&whole).display());
        }
        let steps = |run: &RunDir| -> Vec<u64> {
            let history = History::load(&run.history(), "iou", config.labels()).unwrap();
            history.rows().iter().map(|row| row.step).collect()
        };
        assert_eq!(steps(&whole), [1, 2, 3, 4, 5, 6]);
        assert_eq!(steps(&parts), [1, 2, 3, 4, 5, 6]);

        // The model file begins the next stage.
        let model = ModelFile::load(&whole.best()).unwrap();
        assert_eq!(model.info.labels, config.labels());
        let next = dir.path().join("next");
        let start = Start::New { init: Some(whole.best()) };
        let next = Session::open(Job::new(&config, Stage::Train), &next, &start, Device::Cpu).unwrap();
        assert_eq!(next.trainer.averaged().to_params(), model.params);
    }

    #[test]
    fn two_sessions_do_not_share_a_folder() {
        let (config, dir) = (config(), tempfile::tempdir().unwrap());
        let fresh = Start::New { init: None };
        let first = session(&config, dir.path(), &fresh).unwrap();
        let error = session(&config, dir.path(), &fresh).unwrap_err();
        assert!(matches!(error, TrainError::Busy { .. }), "{error}");
        drop(first);
        session(&config, dir.path(), &fresh).unwrap();
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

        let error =
            Session::open(Job::new(&config, Stage::Train), &out, &Start::Resume, Device::Cpu).unwrap_err();
        assert!(matches!(error, TrainError::OtherStage { .. }), "{error}");
    }
}
