use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::steps::{SegmenterInputs, train_segmenter};
use super::{
    Artifact, Context, Machine, PipelineError, Plan, Step, StepKind, StudyResults, StudyRoles, classify,
    data_digest, evaluate_segmenter, learn_edges, look, make_pseudo_masks, taught,
};
use crate::config::{Config, Init, Stage};
use crate::dataset::{Index, Record, Split};
use crate::train::{Outcome, Roles, RunDir, TeacherFile};

/// How long to wait before asking again whether another process has finished a step.
const PATIENCE: Duration = Duration::from_secs(5);

/// Does the steps of an experiment.
#[derive(Debug)]
pub struct Runner<'a> {
    config: &'a Config,
    index: &'a Index,
    plan: Plan,
    root: PathBuf,
    context: Context,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finished {
    /// Every step is done.
    All,
    /// A signal stopped it; the same command goes on.
    Stopped,
}

impl<'a> Runner<'a> {
    /// A run of `config` with folders below `root`.
    pub fn new(
        config: &'a Config,
        index: &'a Index,
        root: &Path,
        context: Context,
    ) -> Result<Self, PipelineError> {
        let root = root.join(&config.name);
        let plan = Plan::new(config, index, data_digest(index, &root)?)?;
        let runner = Self { config, index, plan, root, context };
        runner.check_roles()?;
        Ok(runner)
    }

    /// Whether the data have the images that every training and judgement asks for: better now than in the night.
    fn check_roles(&self) -> Result<(), PipelineError> {
        for step in &self.plan.steps {
            match &step.kind {
                StepKind::Evaluation { budget, fold, .. } => {
                    self.roles(*budget, *fold, step.seed)?;
                }
                StepKind::Segmenter { arm, budget, fold } => {
                    let strong = |seed: u64| -> Result<BTreeSet<String>, PipelineError> {
                        let roles = self.roles(*budget, *fold, seed)?.training;
                        Ok(roles.strong.into_iter().map(|record| record.id).collect())
                    };
                    let own = strong(step.seed)?;
                    if arm.teachers.is_some() {
                        for &seed in &self.plan.study.seeds {
                            if strong(seed)? != own {
                                let (arm, budget) = (arm.name.clone(), *budget);
                                return Err(PipelineError::TeachersKnowMore { arm, budget });
                            }
                        }
                    }
                }
                _ => (),
            }
        }
        Ok(())
    }

    /// The steps.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The folder of a step.
    pub fn artifact(&self, step: &Step) -> Artifact {
        Artifact::new(&self.root, &step.name, &step.key)
    }

    /// Does what is missing; `say` gets a line when a step begins. Steps that another process works on are left to it,
    /// and waited for when nothing else is left to do. A step that fails does not stop those that do not read it; all
    /// failures are told in the end.
    pub fn run(&self, mut say: impl FnMut(&str)) -> Result<Finished, PipelineError> {
        self.warn();
        let steps = &self.plan.steps;
        let mut failed: BTreeMap<usize, Option<String>> = BTreeMap::new();
        let mut waiting = false;
        loop {
            let mut left = 0;
            let mut progressed = false;
            for (place, step) in steps.iter().enumerate() {
                let artifact = self.artifact(step);
                if failed.contains_key(&place) || artifact.is_done()? {
                    continue;
                }
                if step.inputs.iter().any(|input| failed.contains_key(input)) {
                    // Cannot be done for want of what it reads.
                    failed.insert(place, None);
                    continue;
                }
                left += 1;
                let mut ready = true;
                for &input in &step.inputs {
                    ready &= self.artifact(&steps[input]).is_done()?;
                }
                if !ready {
                    continue;
                }
                let Some(held) = artifact.lock()? else { continue };
                // Another process may have finished it between the two looks.
                if artifact.is_done()? {
                    continue;
                }
                say(&format!("[{}/{}] {}", place + 1, steps.len(), step.name));
                let began = Instant::now();
                match self.perform(step, artifact.dir()) {
                    Ok(Outcome::Finished) => (),
                    Ok(Outcome::Stopped { .. }) => return Ok(Finished::Stopped),
                    Err(error) => {
                        tracing::error!("{}: {error}", step.name);
                        failed.insert(place, Some(format!("{}: {error}", step.name)));
                        // Something was done, so there is nothing to wait for yet.
                        progressed = true;
                        continue;
                    }
                }
                let keys = step.inputs.iter().map(|&input| steps[input].key.clone()).collect();
                let seconds = began.elapsed().as_secs();
                let machine = Machine::here(self.context.device);
                artifact.finish(&step.name, step.settings.clone(), keys, seconds, machine)?;
                drop(held);
                progressed = true;
                if self.context.stop.is_raised() {
                    return Ok(Finished::Stopped);
                }
            }
            if left == 0 {
                let told: Vec<String> = failed.into_values().flatten().collect();
                return if told.is_empty() { Ok(Finished::All) } else { Err(PipelineError::Failed(told)) };
            }
            if !progressed {
                if self.context.stop.is_raised() {
                    return Ok(Finished::Stopped);
                }
                if !waiting {
                    say("waiting for steps that another process works on");
                    waiting = true;
                }
                std::thread::sleep(PATIENCE);
            }
        }
    }

    /// Warns of what the plan makes do with.
    fn warn(&self) {
        if self.plan.study.folds == 0 && self.validation().is_empty() {
            tracing::warn!(
                "no image is in the split strong_val: the last weights count as the best, and thresholds are fitted on the \
                 expert masks that were learned from"
            );
        }
    }

    fn perform(&self, step: &Step, out: &Path) -> Result<Outcome, PipelineError> {
        let context = &self.context;
        let config = self.config.clone().with_seed(step.seed);
        let digest = step.key.clone();
        // What a step reads, by its place among the inputs.
        let input = |i: usize| self.artifact(&self.plan.steps[step.inputs[i]]);
        let best = |i: usize| RunDir::new(input(i).dir()).best();
        match &step.kind {
            StepKind::Pretrain { width } => {
                let config = config.with_width(*width);
                let roles = Roles { validation: self.validation(), ..Roles::default() };
                let inputs = SegmenterInputs::default();
                return train_segmenter(context, &config, Stage::Pretrain, &roles, &inputs, digest, out);
            }
            StepKind::Classifier => {
                let roles = Roles { weak: self.weak(), validation: self.validation(), ..Roles::default() };
                return classify(context, &config, &roles, digest, out);
            }
            StepKind::Saliency(method) => {
                let records = [self.weak(), self.judged()].concat();
                return look(context, &config, *method, &best(0), &records, &out.join("maps.safetensors"));
            }
            StepKind::Edges { gate } => {
                let files = (best(0), input(1).file("maps.safetensors"));
                let files = (files.0.as_path(), files.1.as_path());
                return learn_edges(context, &config, *gate, files, &self.weak(), digest, out);
            }
            StepKind::PseudoMasks(spec) => {
                let maps = input(0).file("maps.safetensors");
                let edges = spec.irnet.then(|| best(1));
                let (weak, judged) = (self.weak(), self.judged());
                return make_pseudo_masks(
                    context,
                    &config,
                    spec,
                    (&maps, edges.as_deref()),
                    (&weak, &judged),
                    out,
                );
            }
            StepKind::Segmenter { arm, budget, fold } => {
                let roles = self.roles(*budget, *fold, step.seed)?.training;
                let mut inputs = SegmenterInputs::default();
                let mut next = 0;
                if arm.init != Init::Fresh {
                    inputs.init = Some(best(next));
                    next += 1;
                }
                if arm.pseudo.is_some() {
                    inputs.pseudo = Some(input(next).file("masks.json"));
                    next += 1;
                }
                inputs.teachers = (next..step.inputs.len()).map(|i| TeacherFile::of_all(best(i))).collect();
                let config = config.for_arm(arm, step.seed)?;
                return train_segmenter(context, &config, Stage::Train, &roles, &inputs, digest, out);
            }
            StepKind::Evaluation { arm, budget, fold } => {
                let roles = self.roles(*budget, *fold, step.seed)?;
                evaluate_segmenter(context, &config, &best(0), &taught(&config, arm), &roles, out)?;
            }
            StepKind::Report => {
                let results = StudyResults::gather(self.config, &self.plan, |step| self.artifact(step))?;
                crate::report::write_study(&results, self.config, out)?;
            }
        }
        Ok(Outcome::Finished)
    }

    fn roles(&self, budget: usize, fold: Option<usize>, seed: u64) -> Result<StudyRoles, PipelineError> {
        match (fold, self.plan.study.folds) {
            (None, 0) => StudyRoles::of_splits(self.index, budget, seed),
            (None, _) => Ok(StudyRoles::weak_only(self.index)),
            (Some(fold), folds) => {
                StudyRoles::of_fold(self.index, (fold, folds), budget, self.config.seed, seed)
            }
        }
    }

    /// Images to select on, where they are not judged on in some fold.
    fn validation(&self) -> Vec<Record> {
        if self.plan.study.folds == 0 { self.index.of(Split::StrongVal) } else { Vec::new() }
    }

    fn weak(&self) -> Vec<Record> {
        self.index.of(Split::Weak)
    }

    /// Images with expert masks that pseudo-masks are compared with, for information: not those of `strong_test`.
    fn judged(&self) -> Vec<Record> {
        [Split::StrongTrain, Split::StrongVal].map(|split| self.index.of(split)).concat()
    }
}
