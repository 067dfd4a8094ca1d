use serde::{Deserialize, Serialize};

use super::{ConfigError, PseudoSpec};
use crate::net::Width;

/// A comparison of ways to train, over seeds and numbers of expert masks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StudySpec {
    /// Each way is tried once a seed.
    pub seeds: Vec<u64>,
    /// Numbers of expert masks to learn from, rising; each takes the masks of the one before and more.
    pub budgets: Vec<usize>,
    /// 0: the splits as they are. Else so many folds over the patients of all images with expert masks, each fold
    /// judged by networks that never saw it.
    #[serde(default)]
    pub folds: usize,
    /// The arm that all others are compared with.
    pub reference: String,
    /// The ways.
    #[serde(rename = "arm")]
    pub arms: Vec<ArmSpec>,
}

/// One way to train.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArmSpec {
    /// Its name in tables, of a-z, 0-9 and -.
    pub name: String,
    /// Whether it learns from expert masks.
    #[serde(default = "yes")]
    pub strong: bool,
    /// The pseudo-masks that it learns from; none: it does not.
    #[serde(default)]
    pub pseudo: Option<PseudoSpec>,
    /// Whether images without masks teach by consistency.
    #[serde(default)]
    pub consistency: bool,
    /// Where its weights begin.
    #[serde(default)]
    pub init: Init,
    /// The arm whose networks, of the same budget and of all seeds, teach this one.
    #[serde(default)]
    pub teachers: Option<String>,
    /// Another width of the network than the configuration's: a wide teacher, a narrow student.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub width: Option<Width>,
    /// Only these budgets; empty: all of the study's.
    #[serde(default)]
    pub budgets: Vec<usize>,
}

/// Where the weights of a segmenter begin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Init {
    /// At random.
    #[default]
    Fresh,
    /// The encoder at the classifier's of the same seed.
    Classifier,
    /// At those of the stage `pretrain`: phantoms.
    Pretrain,
}

fn yes() -> bool {
    true
}

impl StudySpec {
    /// The arm of this name.
    pub fn arm(&self, name: &str) -> Option<&ArmSpec> {
        self.arms.iter().find(|arm| arm.name == name)
    }

    /// The budgets of an arm; 0 alone for an arm that learns from no expert mask.
    pub fn budgets_of(&self, arm: &ArmSpec) -> Vec<usize> {
        if !arm.strong {
            return vec![0];
        }
        let own = |budget: &&usize| arm.budgets.is_empty() || arm.budgets.contains(budget);
        self.budgets.iter().filter(own).copied().collect()
    }

    pub(super) fn validate(&self, has_findings: bool) -> Result<(), ConfigError> {
        let bad =
            |field: &str, reason: String| Err(ConfigError::Field { field: format!("study.{field}"), reason });
        if self.seeds.is_empty() || self.budgets.is_empty() || self.arms.is_empty() {
            return bad("seeds, study.budgets, study.arm", "name at least one of each".into());
        }
        if let Some(seed) = self.seeds.iter().find(|seed| i64::try_from(**seed).is_err()) {
            return bad("seeds", format!("{seed} does not fit into TOML's integers"));
        }
        if !self.budgets.is_sorted_by(|a, b| a < b) || self.budgets[0] == 0 {
            return bad("budgets", "must rise, from 1 on".into());
        }
        if self.folds == 1 {
            return bad("folds", "must be 0, or 2 and more".into());
        }
        if self.arm(&self.reference).is_none() {
            return bad("reference", format!("no arm is called \"{}\"", self.reference));
        }
        for (i, arm) in self.arms.iter().enumerate() {
            let at = |field: &str| format!("arm.{}.{field}", arm.name);
            if !super::is_slug(&arm.name) || self.arms[..i].iter().any(|other| other.name == arm.name) {
                return bad(&at("name"), "is taken or not of a-z, 0-9 and -".into());
            }
            if !arm.strong && arm.pseudo.is_none() {
                return bad(&at("pseudo"), "an arm without expert masks needs pseudo-masks".into());
            }
            if (arm.pseudo.is_some() || arm.init == Init::Classifier) && !has_findings {
                return bad(&at("pseudo"), "needs [[findings]] for a classifier to learn".into());
            }
            if let Some(unknown) = arm.budgets.iter().find(|budget| !self.budgets.contains(budget)) {
                return bad(&at("budgets"), format!("{unknown} is none of the study's budgets"));
            }
            // Earlier arms only, so that no arm waits for itself.
            if let Some(teachers) = &arm.teachers {
                let Some(teaching) = self.arms[..i].iter().find(|other| other.name == *teachers) else {
                    return bad(&at("teachers"), format!("no arm before it is called \"{teachers}\""));
                };
                let (own, theirs) = (self.budgets_of(arm), self.budgets_of(teaching));
                if !own.iter().all(|budget| theirs.contains(budget)) {
                    return bad(&at("teachers"), format!("\"{teachers}\" lacks some of its budgets"));
                }
            }
        }
        Ok(())
    }
}
