use serde_json::{Value, json};

use super::PipelineError;
use crate::config::{
    ArmSpec, Config, Gate, Init, Overrides, PseudoSpec, Saliency, Stage, StudySpec, digest_of,
};
use crate::dataset::{Index, Split};
use crate::net::Width;

/// Raised when a change of the program makes results of older versions wrong.
const METHOD_VERSION: u32 = 2;

/// What a step does.
#[derive(Clone, Debug, PartialEq)]
pub enum StepKind {
    /// Trains a segmenter on phantoms.
    Pretrain {
        /// Another width than the configuration's.
        width: Option<Width>,
    },
    /// Trains the classifier.
    Classifier,
    /// Looks where the classifier sees findings.
    Saliency(Saliency),
    /// Trains IRNet's edges from confident saliency.
    Edges {
        /// Which images teach.
        gate: Gate,
    },
    /// Makes pseudo-masks.
    PseudoMasks(PseudoSpec),
    /// Trains a segmenter.
    Segmenter {
        /// The way.
        arm: ArmSpec,
        /// Expert masks; `usize::MAX`: all.
        budget: usize,
        /// The fold that is judged on, and so not learned from; none without folds or without expert masks.
        fold: Option<usize>,
    },
    /// Judges a segmenter.
    Evaluation {
        /// The way.
        arm: ArmSpec,
        /// Expert masks.
        budget: usize,
        /// The fold.
        fold: Option<usize>,
    },
    /// Tables and plots of everything.
    Report,
}

/// One step of an experiment.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// What it does.
    pub kind: StepKind,
    /// The seed of everything random in it.
    pub seed: u64,
    /// Its name, unique in the plan: the folder's name without the key.
    pub name: String,
    /// Places in the plan of the steps that it reads, in an order that its kind fixes.
    pub inputs: Vec<usize>,
    /// What shaped it, beside the inputs.
    pub settings: Value,
    /// Digest of settings, inputs and data.
    pub key: String,
}

/// All steps of an experiment in an order in which they can be done.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The steps.
    pub steps: Vec<Step>,
    /// The study that they are of.
    pub study: StudySpec,
    /// Digest of the data.
    pub data: String,
    /// No image is in the split `strong_val`.
    unvalidated: bool,
}

impl Plan {
    /// The steps of a configuration: of its study, or of one training by the splits if it has none. `data` is the
    /// digest of the index.
    pub fn new(config: &Config, index: &Index, data: String) -> Result<Self, PipelineError> {
        let study = config.study.clone().unwrap_or_else(|| single(config));
        let unvalidated = index.of(Split::StrongVal).is_empty();
        let mut plan = Self { steps: Vec::new(), data, unvalidated, study };
        let mut evaluations = Vec::new();
        let study = plan.study.clone();
        let folds: Vec<Option<usize>> = match study.folds {
            0 => vec![None],
            n => (0..n).map(Some).collect(),
        };
        for arm in &study.arms {
            for budget in study.budgets_of(arm) {
                for &seed in &study.seeds {
                    for &fold in &folds {
                        evaluations.push(plan.arm(config, arm, budget, fold, seed)?);
                    }
                }
            }
        }
        let settings = json!({ "study": study, "classes": config.classes, "derived": config.derived });
        plan.add(StepKind::Report, config.seed, "report".into(), evaluations, settings)?;
        Ok(plan)
    }

    /// Adds the training and the evaluation of one arm; gives the place of the latter.
    fn arm(
        &mut self,
        config: &Config,
        arm: &ArmSpec,
        budget: usize,
        fold: Option<usize>,
        seed: u64,
    ) -> Result<usize, PipelineError> {
        let segmenter = self.segmenter(config, arm, budget, fold, seed)?;
        let tag = tag(arm, budget, fold, seed);
        let mut settings =
            json!({ "preprocess": config.preprocess, "classes": config.classes, "derived": config.derived });
        if fold.is_some() || self.unvalidated {
            // Earlier versions took 0.5 there.
            settings["thresholds"] = json!("learned");
        }
        let kind = StepKind::Evaluation { arm: arm.clone(), budget, fold };
        self.add(kind, seed, format!("evaluation-{tag}"), vec![segmenter], settings)
    }

    fn segmenter(
        &mut self,
        config: &Config,
        arm: &ArmSpec,
        budget: usize,
        fold: Option<usize>,
        seed: u64,
    ) -> Result<usize, PipelineError> {
        // Without expert masks all folds learn the same.
        let fold = fold.filter(|_| arm.strong);
        let mut inputs = Vec::new();
        match arm.init {
            Init::Fresh => (),
            Init::Pretrain => inputs.push(self.pretrain(config, arm.width, seed)?),
            Init::Classifier => inputs.push(self.classifier(config, seed)?),
        }
        if let Some(pseudo) = &arm.pseudo {
            inputs.push(self.pseudo_masks(config, pseudo, seed)?);
        }
        if let Some(teaching) = arm.teachers.as_ref().and_then(|name| self.study.arm(name)).cloned() {
            for seed in self.study.seeds.clone() {
                inputs.push(self.segmenter(config, &teaching, budget, fold, seed)?);
            }
        }
        let of_arm = config.clone().for_arm(arm, seed)?;
        let settings = json!({
            "digest": of_arm.digest(Stage::Train),
            "strong": arm.strong,
            "pseudo": arm.pseudo,
            "init": arm.init,
            "distillation": arm.teachers.as_ref().map(|_| &of_arm.distillation),
            "budget": budget,
            // What deals the folds.
            "fold": fold.map(|fold| [fold as u64, self.study.folds as u64, config.seed]),
        });
        let name = format!("segmenter-{}", tag(arm, budget, fold, seed));
        let kind = StepKind::Segmenter { arm: arm.clone(), budget, fold };
        self.add(kind, seed, name, inputs, settings)
    }

    fn pretrain(&mut self, config: &Config, width: Option<Width>, seed: u64) -> Result<usize, PipelineError> {
        let own = config.clone().with_seed(seed).with_width(width);
        let settings = json!({ "digest": own.digest(Stage::Pretrain) });
        let name = width.map_or_else(|| "pretrain".to_owned(), |width| format!("pretrain-{}", slug(&width)));
        self.add(StepKind::Pretrain { width }, seed, format!("{name}-s{seed}"), Vec::new(), settings)
    }

    fn classifier(&mut self, config: &Config, seed: u64) -> Result<usize, PipelineError> {
        let settings = json!({ "digest": config.clone().with_seed(seed).digest(Stage::Classifier) });
        self.add(StepKind::Classifier, seed, format!("classifier-s{seed}"), Vec::new(), settings)
    }

    fn saliency(&mut self, config: &Config, method: Saliency, seed: u64) -> Result<usize, PipelineError> {
        let classifier = self.classifier(config, seed)?;
        let name = format!("saliency-{}-s{seed}", slug(&method));
        self.add(StepKind::Saliency(method), seed, name, vec![classifier], json!({ "method": method }))
    }

    fn pseudo_masks(
        &mut self,
        config: &Config,
        spec: &PseudoSpec,
        seed: u64,
    ) -> Result<usize, PipelineError> {
        let saliency = self.saliency(config, spec.saliency, seed)?;
        let mut inputs = vec![saliency];
        let mut settings = json!({ "pseudo": spec, "findings": config.findings, "classes": config.labels() });
        let mut name = format!("pseudo-masks-{}-{}", slug(&spec.saliency), slug(&spec.gate));
        if spec.irnet {
            name += "-irnet";
            inputs.push(self.edges(config, spec, seed)?);
            settings["irnet"] = json!([config.irnet.threshold, config.irnet.walk]);
        } else {
            settings["compat_paper"] = json!(config.compat_paper);
        }
        self.add(StepKind::PseudoMasks(spec.clone()), seed, format!("{name}-s{seed}"), inputs, settings)
    }

    fn edges(&mut self, config: &Config, spec: &PseudoSpec, seed: u64) -> Result<usize, PipelineError> {
        let inputs = vec![self.classifier(config, seed)?, self.saliency(config, spec.saliency, seed)?];
        let settings = json!({
            "digest": config.clone().with_seed(seed).digest(Stage::Edges),
            "gate": spec.gate,
            "findings": config.findings,
            "classes": config.labels(),
        });
        let name = format!("edges-{}-{}-s{seed}", slug(&spec.saliency), slug(&spec.gate));
        self.add(StepKind::Edges { gate: spec.gate }, seed, name, inputs, settings)
    }

    /// Adds a step unless it is there; gives its place.
    fn add(
        &mut self,
        kind: StepKind,
        seed: u64,
        name: String,
        inputs: Vec<usize>,
        settings: Value,
    ) -> Result<usize, PipelineError> {
        let keys: Vec<&str> = inputs.iter().map(|&place| self.steps[place].key.as_str()).collect();
        let key = digest_of(&json!({
            "method": METHOD_VERSION,
            "name": name,
            "seed": seed,
            "settings": settings,
            "inputs": keys,
            "data": self.data,
        }));
        if let Some(place) = self.steps.iter().position(|step| step.name == name) {
            let same = self.steps[place].key == key;
            return if same { Ok(place) } else { Err(PipelineError::SameName(name)) };
        }
        self.steps.push(Step { kind, seed, name, inputs, settings, key });
        Ok(self.steps.len() - 1)
    }
}

/// A configuration without a study: everything by the splits, once.
fn single(config: &Config) -> StudySpec {
    let arm = ArmSpec {
        name: "model".into(),
        strong: true,
        pseudo: None,
        consistency: config.consistency.is_some(),
        init: Init::Pretrain,
        teachers: None,
        width: None,
        budgets: Vec::new(),
        with: Overrides::default(),
    };
    StudySpec {
        seeds: vec![config.seed],
        budgets: vec![usize::MAX],
        folds: 0,
        reference: arm.name.clone(),
        notes: Vec::new(),
        arms: vec![arm],
    }
}

/// A value's name as TOML writes it.
fn slug(value: &impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(Value::String(name)) => name,
        _ => String::new(),
    }
}

/// What tells the trainings of a study apart: part of the names of their steps.
pub(crate) fn tag(arm: &ArmSpec, budget: usize, fold: Option<usize>, seed: u64) -> String {
    let budget = match budget {
        0 => String::new(),
        usize::MAX => "-all".to_owned(),
        n => format!("-n{n}"),
    };
    let fold = fold.map_or_else(String::new, |fold| format!("-f{}", fold + 1));
    format!("{}{budget}-s{seed}{fold}", arm.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tiny;

    fn study() -> Config {
        tiny(
            r#"
            [[findings]]
            label = "enlarged_heart"
            class = "heart"
            [study]
            seeds = [1, 2]
            budgets = [2, 4]
            reference = "strong"
            [[study.arm]]
            name = "strong"
            [[study.arm]]
            name = "saliency"
            strong = false
            pseudo = { saliency = "grad-cam", irnet = true }
            [[study.arm]]
            name = "mix"
            pseudo = { saliency = "grad-cam", irnet = true }
            [[study.arm]]
            name = "student"
            teachers = "mix"
            budgets = [4]
            "#,
        )
    }

    fn names(plan: &Plan, prefix: &str) -> usize {
        plan.steps.iter().filter(|step| step.name.starts_with(prefix)).count()
    }

    #[test]
    fn steps_are_shared_and_come_after_what_they_read() {
        let plan = Plan::new(&study(), &Index::default(), String::new()).unwrap();
        for (place, step) in plan.steps.iter().enumerate() {
            assert!(step.inputs.iter().all(|&input| input < place), "{}", step.name);
        }
        // One classifier, saliency, edge net and set of pseudo-masks a seed.
        for prefix in ["classifier", "saliency", "edges", "pseudo-masks"] {
            assert_eq!(names(&plan, prefix), 2, "{prefix}");
        }
        // strong 4, saliency 2, mix 4, student 2.
        assert_eq!((names(&plan, "segmenter"), names(&plan, "evaluation")), (12, 12));
        let student = plan.steps.iter().find(|step| step.name == "segmenter-student-n4-s1").unwrap();
        assert_eq!(student.inputs.len(), 2);
        assert_eq!(plan.steps.last().unwrap().inputs.len(), 12);
    }

    #[test]
    fn keys_follow_what_shapes_a_step_and_nothing_else() {
        let index = Index::default();
        let key = |config: &Config, name: &str| {
            let plan = Plan::new(config, &index, String::new()).unwrap();
            plan.steps.iter().find(|step| step.name == name).unwrap().key.clone()
        };
        let (base, mut slower) = (study(), study());
        slower.train.learning_rate /= 2.0;
        assert_ne!(key(&base, "segmenter-mix-n2-s1"), key(&slower, "segmenter-mix-n2-s1"));
        assert_eq!(key(&base, "edges-grad-cam-empty-s1"), key(&slower, "edges-grad-cam-empty-s1"));
        let mut other = study();
        other.irnet.walk.beta += 1.0;
        assert_eq!(key(&base, "segmenter-strong-n2-s1"), key(&other, "segmenter-strong-n2-s1"));
        assert_ne!(key(&base, "segmenter-mix-n2-s1"), key(&other, "segmenter-mix-n2-s1"));
        let mut softer = study();
        let student =
            softer.study.as_mut().unwrap().arms.iter_mut().find(|arm| arm.name == "student").unwrap();
        student.with.distillation.insert("temperature".into(), 4.0.into());
        assert_ne!(key(&base, "segmenter-student-n4-s1"), key(&softer, "segmenter-student-n4-s1"));
        assert_eq!(key(&base, "segmenter-mix-n4-s1"), key(&softer, "segmenter-mix-n4-s1"));
        let mut noted = study();
        noted.study.as_mut().unwrap().notes.push("Few images.".into());
        let [before, after] = [&base, &noted].map(|config| Plan::new(config, &index, String::new()).unwrap());
        let changed: Vec<&str> = before
            .steps
            .iter()
            .zip(&after.steps)
            .filter(|(a, b)| a.key != b.key)
            .map(|(step, _)| step.name.as_str())
            .collect();
        assert_eq!(changed, ["report"]);
        let mut logged = study();
        logged.train.log_every += 1;
        assert_eq!(key(&base, "report"), key(&logged, "report"));
    }

    #[test]
    fn without_a_study_one_segmenter_is_trained_from_phantoms() {
        let plan = Plan::new(&tiny(""), &Index::default(), String::new()).unwrap();
        let names: Vec<&str> = plan.steps.iter().map(|step| step.name.as_str()).collect();
        assert_eq!(names, ["pretrain-s17", "segmenter-model-all-s17", "evaluation-model-all-s17", "report"]);
    }
}
