//! All figures of a study.

mod judged;
mod quality;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::Serialize;

use super::{Artifact, Machine, PipelineError, Plan, Step, StepKind};
use crate::config::{Config, StudySpec};
use crate::evaluate::{Interval, Measure, Paired, Protocol, RESAMPLES, read_counts};
use crate::train::{History, ModelFile, RunDir};
use judged::Judged;
pub use quality::{ClassQuality, PseudoQuality};

/// AUROC by finding; none where validation images allow none.
pub type FindingScores = Vec<(String, Option<f64>)>;

/// Everything that a report of a study tells, without pixels.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StudyResults {
    /// Name of the experiment.
    pub name: String,
    /// What was compared.
    pub study: StudySpec,
    /// Digest of the data.
    pub data: String,
    /// Images that were judged, and patients they come from.
    pub images: usize,
    /// Patients.
    pub patients: usize,
    /// Resamples behind each interval.
    pub resamples: usize,
    /// Names of the subgroups, such as `view=AP`, that have figures of their own beside the sources.
    pub subgroups: Vec<String>,
    /// What computed the steps, and how many each; none: steps of older versions, which do not tell.
    pub machines: Vec<(Option<Machine>, usize)>,
    /// Figures of every arm and budget.
    pub cells: Vec<Cell>,
    /// Arms against each other.
    pub comparisons: Vec<Comparison>,
    /// Pseudo-masks against experts' masks of images that nothing was learned from here.
    pub pseudo: Vec<(String, PseudoQuality)>,
    /// Classifiers: step name, then AUROC by finding.
    pub classifiers: Vec<(String, FindingScores)>,
    /// The course of every training: step name, then history.
    #[serde(skip)]
    pub histories: Vec<(String, History)>,
    /// Folders of the steps by name, for pictures.
    #[serde(skip)]
    pub folders: BTreeMap<String, PathBuf>,
}

/// The figure of one arm at one budget.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Cell {
    /// The arm.
    pub arm: String,
    /// Expert masks; 0: none, `usize::MAX`: all.
    pub budget: usize,
    /// Source of the images, a subgroup of them, or `all`.
    pub source: String,
    /// Class, derived class, or `mean` over the classes that the arm is taught and some expert mask contains.
    pub class: String,
    /// How pixels became a figure.
    pub protocol: Protocol,
    /// What was measured.
    pub measure: Measure,
    /// Mean over seeds, with the bootstrap's interval of that mean: a resample of patients is shared by all seeds.
    pub interval: Interval,
    /// Standard deviation over seeds (n − 1); 0 with one seed.
    pub spread: f64,
    /// The figure of each seed.
    pub seeds: Vec<f64>,
}

/// One arm against another over the same patients.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// The arm, and its budget.
    pub arm: String,
    /// Expert masks of it.
    pub budget: usize,
    /// What it is compared with.
    pub against: String,
    /// Expert masks of that.
    pub against_budget: usize,
    /// Source of the images, or `all`.
    pub source: String,
    /// Class, or `mean` over the classes that both are taught and some expert mask contains.
    pub class: String,
    /// How pixels became a figure.
    pub protocol: Protocol,
    /// IoU of the one and the other.
    pub paired: Paired,
}

/// Relative gains of CheXseg in mean IoU as its authors report them: over expert masks alone, and over saliency alone
/// (Gadgil et al. 2021, abstract).
pub fn paper_marks() -> [f64; 2] {
    [0.097, 0.731]
}

impl StudyResults {
    /// Computes every figure from the folders of the plan's steps.
    pub fn gather(
        config: &Config,
        plan: &Plan,
        artifact: impl Fn(&Step) -> Artifact,
    ) -> Result<Self, PipelineError> {
        let study = &plan.study;
        let mut judged = Judged::new(config);
        let mut machines: BTreeMap<Option<Machine>, usize> = BTreeMap::new();
        let mut results = Self {
            name: config.name.clone(),
            study: study.clone(),
            data: plan.data.clone(),
            images: 0,
            patients: 0,
            resamples: RESAMPLES,
            subgroups: Vec::new(),
            machines: Vec::new(),
            cells: Vec::new(),
            comparisons: Vec::new(),
            pseudo: Vec::new(),
            classifiers: Vec::new(),
            histories: Vec::new(),
            folders: BTreeMap::new(),
        };
        for step in &plan.steps {
            let artifact = artifact(step);
            results.folders.insert(step.name.clone(), artifact.dir().to_owned());
            if let Some(info) = artifact.info()? {
                *machines.entry(info.machine).or_default() += 1;
            }
            match &step.kind {
                StepKind::PseudoMasks(_) => {
                    let path = artifact.file("quality.json");
                    let bytes = std::fs::read(&path)
                        .map_err(|source| PipelineError::Io { path: path.clone(), source })?;
                    let quality = serde_json::from_slice(&bytes)
                        .map_err(|error| PipelineError::Artifact { path, reason: error.to_string() })?;
                    results.pseudo.push((step.name.clone(), quality));
                }
                StepKind::Classifier => {
                    let info = ModelFile::load(&RunDir::new(artifact.dir()).best())?.info;
                    let scores = info.labels.into_iter().zip(info.validation).collect();
                    results.classifiers.push((step.name.clone(), scores));
                    results.read_history(step, &artifact, "auroc", config.finding_labels())?;
                }
                StepKind::Segmenter { .. } | StepKind::Pretrain { .. } => {
                    results.read_history(step, &artifact, "iou", config.labels())?;
                }
                StepKind::Evaluation { arm, budget, .. } => {
                    let arm = study.arm(&arm.name).expect("plans are made of their own study's arms");
                    let counts = read_counts(&artifact.file("counts.json"))?;
                    (judged.labels, judged.own) = (counts.labels, counts.own_classes);
                    judged.add(arm, *budget, study.seeds.iter().position(|s| *s == step.seed), counts.images);
                }
                StepKind::Saliency(_) | StepKind::Edges { .. } | StepKind::Report => (),
            }
        }
        let images = judged.images();
        let patients: BTreeSet<&str> = images.iter().map(|image| image.patient.as_str()).collect();
        (results.images, results.patients) = (images.len(), patients.len());
        results.machines = machines.into_iter().collect();
        let parts = judged.parts();
        results.subgroups = parts.subgroups();
        results.cells = judged.cells(&parts)?;
        results.comparisons = judged.comparisons(study, &parts)?;
        Ok(results)
    }

    fn read_history(
        &mut self,
        step: &Step,
        artifact: &Artifact,
        metric: &str,
        labels: Vec<String>,
    ) -> Result<(), PipelineError> {
        let path = RunDir::new(artifact.dir()).history();
        let history = History::load(&path, metric, labels).map_err(crate::train::TrainError::from)?;
        self.histories.push((step.name.clone(), history));
        Ok(())
    }

    /// The cell of these coordinates.
    pub fn cell(
        &self,
        arm: &str,
        budget: usize,
        source: &str,
        class: &str,
        protocol: Protocol,
        measure: Measure,
    ) -> Option<&Cell> {
        self.cells.iter().find(|cell| {
            (cell.arm.as_str(), cell.budget, cell.source.as_str(), cell.class.as_str())
                == (arm, budget, source, class)
                && (cell.protocol, cell.measure) == (protocol, measure)
        })
    }
}
