//! What a session makes of validations and losses, tried with a task that gives them by script.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;

use tch::{Device, Tensor};

use super::{
    Images, Job, Nets, Outcome, RunDir, Scores, Segmentation, Session, Start, StopFlag, Task, TrainError,
};
use crate::config::{Config, Stage, tiny};
use crate::dataset::{Batch, BatchPlan, Index};
use crate::net::TorchNet;

/// Phantoms to learn from, scores as they were written down.
struct Scripted {
    task: Segmentation,
    scores: RefCell<VecDeque<f64>>,
    nan_at: Option<u64>,
}

impl Task for Scripted {
    type Source = BatchPlan;

    fn source(&self) -> &Arc<BatchPlan> {
        self.task.source()
    }

    fn loss(&self, nets: Nets<'_>, batch: &Batch) -> Result<Tensor, TrainError> {
        let loss = self.task.loss(nets, batch)?;
        Ok(if self.nan_at == Some(nets.step) { loss.f_mul_scalar(f64::NAN)? } else { loss })
    }

    fn validate(&self, _: &TorchNet) -> Result<Option<Scores>, TrainError> {
        let score = self.scores.borrow_mut().pop_front().unwrap();
        Ok(Some(Scores { by_label: vec![Some(score), None] }))
    }
}

fn config(more: &str) -> Config {
    let text = "[phantom]\npool = 3\nsize = 128\n[pretrain]\nsteps = 20\nbatch = 2\nvalidate_every = 1\n";
    tiny(&format!("{text}{more}"))
}

fn scripted(config: &Config, scores: &[f64], nan_at: Option<u64>) -> Scripted {
    let images = Images::of_splits(config, Stage::Pretrain, &Index::default(), None).unwrap();
    let task = images.task(config, Stage::Pretrain, Device::Cpu).unwrap();
    Scripted { task, scores: RefCell::new(scores.iter().copied().collect()), nan_at }
}

fn run(
    config: &Config,
    task: &Scripted,
    out: &Path,
    start: &Start,
) -> (Result<Outcome, TrainError>, Session) {
    let mut session = Session::open(Job::new(config, Stage::Pretrain), out, start, Device::Cpu).unwrap();
    (session.run(task, &StopFlag::default(), 1), session)
}

const NEW: Start = Start::New { init: None };

#[test]
fn a_training_that_no_longer_improves_ends_early_and_stays_ended() {
    let (config, dir) = (config("patience = 2\n"), tempfile::tempdir().unwrap());
    let task = scripted(&config, &[0.5, 0.6, 0.55, 0.6, 0.9], None);
    let (outcome, session) = run(&config, &task, dir.path(), &NEW);
    assert_eq!(outcome.unwrap(), Outcome::Finished);
    // An equal score is no better one.
    assert_eq!(session.best().map(|best| best.step), Some(2));
    assert_eq!(task.scores.borrow().len(), 1, "steps 1 to 4 were judged");
    drop(session);
    let (outcome, _) = run(&config, &task, dir.path(), &Start::Resume);
    assert_eq!(outcome.unwrap(), Outcome::Finished);
    assert_eq!(task.scores.borrow().len(), 1, "nothing was left to do");
}

#[test]
fn the_best_few_models_are_kept_and_no_others() {
    let (mut config, dir) = (config("keep = 2\n"), tempfile::tempdir().unwrap());
    config.pretrain.steps = 5;
    let task = scripted(&config, &[0.5, 0.4, 0.7, 0.1, 0.6], None);
    let (outcome, session) = run(&config, &task, dir.path(), &NEW);
    assert_eq!(outcome.unwrap(), Outcome::Finished);
    assert_eq!(session.best().map(|best| best.step), Some(3));
    let run = RunDir::new(dir.path());
    let kept: Vec<u64> = (1..=5).filter(|step| run.kept(*step).exists()).collect();
    assert_eq!(kept, [3, 5]);
    assert_eq!(std::fs::read(run.best()).unwrap(), std::fs::read(run.kept(3)).unwrap());
    // The last step's weights are there beside the best ones'.
    let [end, fifth] =
        [run.final_model(), run.kept(5)].map(|path| crate::train::ModelFile::load(&path).unwrap());
    assert!(end.params == fifth.params && end.info.step == 5);
}

#[test]
fn a_loss_that_is_no_number_stops_with_the_batch_named() {
    let (config, dir) = (config(""), tempfile::tempdir().unwrap());
    let task = scripted(&config, &[0.5; 20], Some(2));
    let (outcome, _) = run(&config, &task, dir.path(), &NEW);
    let error = outcome.unwrap_err();
    assert!(matches!(error, TrainError::Diverged { step: 3, .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains("phantom/") && text.contains("pretrain.learning_rate"), "{text}");
}
