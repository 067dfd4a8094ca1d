use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use shared::mask::Mask;

use super::{Artifact, PipelineError, Plan, Step, StepKind};
use crate::config::{ArmSpec, Config, StudySpec};
use crate::evaluate::{
    ALL_SOURCES, Counts, ImageCounts, Interval, MEAN_CLASS, Measure, Paired, Protocol, RESAMPLES, bootstrap,
    paired_bootstrap, read_counts, statistic,
};
use crate::train::{History, ModelFile, RunDir};

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
    /// Figures of every arm and budget.
    pub cells: Vec<Cell>,
    /// Arms against each other.
    pub comparisons: Vec<Comparison>,
    /// Pseudo-masks against experts' masks of images that nothing was learned from here.
    pub pseudo: Vec<(String, PseudoQuality)>,
    /// Classifiers: step name, then AUROC by finding.
    pub classifiers: Vec<(String, Vec<(String, Option<f64>)>)>,
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
    /// Source of the images, or `all`.
    pub source: String,
    /// Class, derived class, or `mean` over the classes that the arm is taught.
    pub class: String,
    /// How pixels became a figure.
    pub protocol: Protocol,
    /// What was measured.
    pub measure: Measure,
    /// Mean over seeds, with the bootstrap's interval over patients of that mean.
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
    /// Class, or `mean` over the classes that both are taught.
    pub class: String,
    /// How pixels became a figure.
    pub protocol: Protocol,
    /// IoU of the one and the other.
    pub paired: Paired,
}

/// Agreement of pseudo-masks with experts' masks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PseudoQuality {
    /// By class.
    pub classes: Vec<ClassQuality>,
}

/// Agreement in one class, on the model's grid.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassQuality {
    /// The class.
    pub label: String,
    /// Images compared.
    pub images: usize,
    /// Of all images together.
    pub intersection: u64,
    /// Of all images together.
    pub union: u64,
    /// Sum over images of IoU.
    pub sum_iou: f64,
}

/// Relative gains of CheXseg in mean IoU as its authors report them: over expert masks alone, and over saliency alone
/// (Gadgil et al. 2021, abstract).
pub fn paper_marks() -> [f64; 2] {
    [0.097, 0.731]
}

impl PseudoQuality {
    /// Nothing compared yet.
    pub fn new(labels: &[String]) -> Self {
        let class = |label: &String| ClassQuality {
            label: label.clone(),
            images: 0,
            intersection: 0,
            union: 0,
            sum_iou: 0.0,
        };
        Self { classes: labels.iter().map(class).collect() }
    }

    /// Adds an image. Images where both masks are empty say nothing.
    pub fn add(&mut self, class: usize, truth: &Mask, found: &Mask) {
        let counts = Counts::of(truth, found);
        if let Some(iou) = Measure::Iou.of(counts) {
            let sums = &mut self.classes[class];
            sums.images += 1;
            sums.intersection += counts.intersection;
            sums.union += counts.union();
            sums.sum_iou += iou;
        }
    }
}

impl ClassQuality {
    /// Mean over images of IoU; none without images.
    pub fn mean_iou(&self) -> Option<f64> {
        (self.images > 0).then(|| self.sum_iou / self.images as f64)
    }
}

/// One arm at one budget: the counts of each seed.
struct Runs<'a> {
    arm: &'a ArmSpec,
    budget: usize,
    seeds: Vec<Vec<ImageCounts>>,
}

/// What all figures are computed from.
struct Judged<'a> {
    seed: u64,
    labels: Vec<String>,
    /// By arm name: which labels it is taught; `None`: all.
    own: usize,
    runs: Vec<Runs<'a>>,
    config: &'a Config,
}

impl StudyResults {
    /// Computes every figure from the folders of the plan's steps.
    pub fn gather(
        config: &Config,
        plan: &Plan,
        artifact: impl Fn(&Step) -> Artifact,
    ) -> Result<Self, PipelineError> {
        let study = &plan.study;
        let mut judged = Judged { seed: config.seed, labels: Vec::new(), own: 0, runs: Vec::new(), config };
        let mut results = Self {
            name: config.name.clone(),
            study: study.clone(),
            data: plan.data.clone(),
            images: 0,
            patients: 0,
            resamples: RESAMPLES,
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
                    judged.labels = counts.labels;
                    judged.own = counts.own_classes;
                    judged.add(arm, *budget, study.seeds.iter().position(|s| *s == step.seed), counts.images);
                }
                StepKind::Saliency(_) | StepKind::Edges { .. } | StepKind::Report => (),
            }
        }
        if let Some(images) = judged.runs.first().and_then(|runs| runs.seeds.first()) {
            let patients: std::collections::BTreeSet<&str> =
                images.iter().map(|image| image.patient.as_str()).collect();
            (results.images, results.patients) = (images.len(), patients.len());
        }
        results.cells = judged.cells();
        results.comparisons = judged.comparisons(study)?;
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

impl<'a> Judged<'a> {
    /// Adds the images of one evaluation; folds of one seed go together.
    fn add(&mut self, arm: &'a ArmSpec, budget: usize, seed: Option<usize>, images: Vec<ImageCounts>) {
        let same = |runs: &&mut Runs<'_>| runs.arm.name == arm.name && runs.budget == budget;
        let place = seed.expect("plans are made of their own study's seeds");
        let runs = match self.runs.iter_mut().find(same) {
            Some(runs) => runs,
            None => {
                self.runs.push(Runs { arm, budget, seeds: Vec::new() });
                self.runs.last_mut().expect("just pushed")
            }
        };
        if runs.seeds.len() <= place {
            runs.seeds.resize_with(place + 1, Vec::new);
        }
        runs.seeds[place].extend(images);
    }

    /// Which labels an arm is taught: without expert masks, those that a finding names.
    fn taught(&self, arm: &ArmSpec) -> Vec<usize> {
        let named =
            |class: &String| self.config.findings.iter().any(|finding| finding.class.as_ref() == Some(class));
        let learned = |label: &String| {
            let parts = self.config.derived.iter().find(|derived| derived.label == *label);
            parts.map_or_else(|| named(label), |derived| derived.of.iter().all(named))
        };
        (0..self.labels.len()).filter(|&i| arm.strong || learned(&self.labels[i])).collect()
    }

    fn sources(&self) -> Vec<Option<String>> {
        let images = self.runs.iter().flat_map(|runs| runs.seeds.iter().flatten());
        let names: std::collections::BTreeSet<String> = images.map(|image| image.source.clone()).collect();
        let each = if names.len() > 1 { names } else { std::collections::BTreeSet::new() };
        std::iter::once(None).chain(each.into_iter().map(Some)).collect()
    }

    /// Single labels and the mean over the network's own classes among `taught`.
    fn groups(&self, taught: &[usize]) -> Vec<(String, Vec<usize>)> {
        let own: Vec<usize> = taught.iter().copied().filter(|&i| i < self.own).collect();
        let single = taught.iter().map(|&i| (self.labels[i].clone(), vec![i]));
        single.chain((own.len() > 1).then(|| (MEAN_CLASS.to_owned(), own))).collect()
    }

    fn cells(&self) -> Vec<Cell> {
        let mut cells = Vec::new();
        for source in self.sources() {
            for runs in &self.runs {
                for (class, group) in self.groups(&self.taught(runs.arm)) {
                    for protocol in Protocol::ALL {
                        for measure in Measure::ALL {
                            let what = (source.as_deref(), class.as_str(), group.as_slice());
                            cells.extend(self.cell(runs, what, protocol, measure));
                        }
                    }
                }
            }
        }
        cells
    }

    fn cell(
        &self,
        runs: &Runs<'_>,
        (source, class, group): (Option<&str>, &str, &[usize]),
        protocol: Protocol,
        measure: Measure,
    ) -> Option<Cell> {
        let sets = of_source(&runs.seeds, source);
        let figure = |images: &[&ImageCounts]| mean_of(images, group, protocol, measure);
        let each: Vec<Interval> = sets
            .iter()
            .map(|images| {
                let images: Vec<&ImageCounts> = images.iter().collect();
                bootstrap(&images, self.seed, RESAMPLES, figure)
            })
            .collect::<Option<_>>()?;
        let n = each.len() as f64;
        let mean = |pick: fn(&Interval) -> f64| each.iter().map(pick).sum::<f64>() / n;
        let value = mean(|i| i.value);
        let variance = each.iter().map(|i| (i.value - value).powi(2)).sum::<f64>() / (n - 1.0).max(1.0);
        Some(Cell {
            arm: runs.arm.name.clone(),
            budget: runs.budget,
            source: source.unwrap_or(ALL_SOURCES).to_owned(),
            class: class.to_owned(),
            protocol,
            measure,
            interval: Interval { value, low: mean(|i| i.low), high: mean(|i| i.high) },
            spread: variance.sqrt(),
            seeds: each.iter().map(|i| i.value).collect(),
        })
    }

    /// Every arm against the reference of the same budget, and every arm that mixes against those that learn from
    /// pseudo-masks alone.
    fn comparisons(&self, study: &StudySpec) -> Result<Vec<Comparison>, PipelineError> {
        let mut comparisons = Vec::new();
        for runs in &self.runs {
            for other in &self.runs {
                let reference = other.arm.name == study.reference
                    && runs.arm.name != study.reference
                    && (runs.budget == other.budget || !runs.arm.strong);
                let weak = !other.arm.strong && runs.arm.strong && runs.arm.name != study.reference;
                if !reference && !weak {
                    continue;
                }
                let (mine, theirs) = (self.taught(runs.arm), self.taught(other.arm));
                let common: Vec<usize> = mine.into_iter().filter(|i| theirs.contains(i)).collect();
                for source in self.sources() {
                    for (class, group) in self.groups(&common) {
                        for protocol in [Protocol::Dataset, Protocol::ChexlocalizeFull] {
                            let what = (source.as_deref(), class.as_str(), group.as_slice());
                            comparisons.extend(self.compare(runs, other, what, protocol)?);
                        }
                    }
                }
            }
        }
        Ok(comparisons)
    }

    fn compare(
        &self,
        runs: &Runs<'_>,
        other: &Runs<'_>,
        (source, class, group): (Option<&str>, &str, &[usize]),
        protocol: Protocol,
    ) -> Result<Option<Comparison>, PipelineError> {
        let (a, b) = (of_source(&other.seeds, source), of_source(&runs.seeds, source));
        let figure = |images: &[&ImageCounts]| mean_of(images, group, protocol, Measure::Iou);
        let paired = paired_bootstrap(&a, &b, self.seed, RESAMPLES, figure)?;
        Ok(paired.map(|paired| Comparison {
            arm: runs.arm.name.clone(),
            budget: runs.budget,
            against: other.arm.name.clone(),
            against_budget: other.budget,
            source: source.unwrap_or(ALL_SOURCES).to_owned(),
            class: class.to_owned(),
            protocol,
            paired,
        }))
    }
}

/// The images of one source, in each set.
fn of_source(sets: &[Vec<ImageCounts>], source: Option<&str>) -> Vec<Vec<ImageCounts>> {
    let own = |image: &&ImageCounts| source.is_none_or(|source| image.source == source);
    sets.iter().map(|images| images.iter().filter(own).cloned().collect()).collect()
}

/// Mean over classes of their figures; none if one has none.
fn mean_of(images: &[&ImageCounts], group: &[usize], protocol: Protocol, measure: Measure) -> Option<f64> {
    let figures: Option<Vec<f64>> =
        group.iter().map(|&class| statistic(images.iter().copied(), class, protocol, measure)).collect();
    figures.map(|figures| figures.iter().sum::<f64>() / figures.len() as f64)
}
