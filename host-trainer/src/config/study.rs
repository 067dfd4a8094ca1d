use serde::{Deserialize, Serialize};
use toml::Table;

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
    /// The arm that all others are compared with: expert masks and nothing else.
    pub reference: String,
    /// What limits the conclusions, a sentence each, for the report. They shape no step but that.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
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
    /// Settings that are others than the experiment's.
    #[serde(default, skip_serializing_if = "Overrides::is_empty")]
    pub with: Overrides,
}

/// Settings of one arm that replace the experiment's, table by table: what is not named stays.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Overrides {
    /// Of `[train]`.
    #[serde(skip_serializing_if = "Table::is_empty")]
    pub train: Table,
    /// Of `[consistency]`.
    #[serde(skip_serializing_if = "Table::is_empty")]
    pub consistency: Table,
    /// Of `[distillation]`.
    #[serde(skip_serializing_if = "Table::is_empty")]
    pub distillation: Table,
    /// Of `[augment]`.
    #[serde(skip_serializing_if = "Table::is_empty")]
    pub augment: Table,
}

impl Overrides {
    fn is_empty(&self) -> bool {
        [&self.train, &self.consistency, &self.distillation, &self.augment].iter().all(|t| t.is_empty())
    }
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

impl ArmSpec {
    /// Whether it learns from expert masks and nothing else that the arm names: not from phantoms either.
    pub fn is_plain_strong(&self) -> bool {
        self.strong && self.pseudo.is_none() && self.is_plain()
    }

    /// Whether it learns from pseudo-masks and nothing else.
    pub fn is_plain_pseudo(&self) -> bool {
        !self.strong && self.pseudo.is_some() && self.is_plain()
    }

    fn is_plain(&self) -> bool {
        let phantoms = self.init == Init::Pretrain || self.with.train.contains_key("phantom_share");
        let negatives = self.with.train.contains_key("negatives");
        !self.consistency && self.teachers.is_none() && !phantoms && !negatives
    }
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
        match self.arm(&self.reference) {
            None => return bad("reference", format!("no arm is called \"{}\"", self.reference)),
            // Reports call it expert masks alone.
            Some(arm) if !arm.is_plain_strong() => {
                let reason = "must learn from expert masks alone: give an arm with strong and without pseudo, \
                              consistency, teachers and phantoms";
                return bad("reference", format!("\"{}\" {reason}", arm.name));
            }
            Some(_) => (),
        }
        if self.notes.iter().any(|note| note.trim().is_empty()) {
            return bad("notes", "one is empty; write a sentence or remove it".into());
        }
        for (i, arm) in self.arms.iter().enumerate() {
            let at = |field: &str| format!("arm.{}.{field}", arm.name);
            if !super::validate::is_slug(&arm.name)
                || self.arms[..i].iter().any(|other| other.name == arm.name)
            {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn study(arms: &str) -> Result<StudySpec, String> {
        let text = format!("seeds = [1]\nbudgets = [5]\nreference = \"a\"\n{arms}");
        let study: StudySpec = toml::from_str(&text).map_err(|error| error.to_string())?;
        study.validate(true).map_err(|error| error.to_string())?;
        Ok(study)
    }

    #[test]
    fn the_reference_learns_from_expert_masks_alone() {
        let weak = "[[arm]]\nname = \"b\"\nstrong = false\npseudo = { saliency = \"grad-cam\" }\n";
        let study_of = |more: &str| study(&format!("[[arm]]\nname = \"a\"\n{more}\n{weak}"));
        let plain = study_of("").unwrap();
        assert!(plain.arms[0].is_plain_strong() && !plain.arms[0].is_plain_pseudo());
        assert!(plain.arms[1].is_plain_pseudo() && !plain.arms[1].is_plain_strong());
        for more in [
            "consistency = true",
            "init = \"pretrain\"",
            "with = { train = { phantom_share = 0.2 } }",
            "with = { train = { negatives = true } }",
            "pseudo = { saliency = \"grad-cam\" }",
            "strong = false\npseudo = { saliency = \"grad-cam\" }",
        ] {
            let error = study_of(more).unwrap_err();
            assert!(error.contains("study.reference") && error.contains("expert masks alone"), "{error}");
        }
    }

    #[test]
    fn notes_are_read_and_absent_ones_leave_no_trace() {
        let arm = "[[arm]]\nname = \"a\"\n";
        let silent = study(arm).unwrap();
        assert!(serde_json::to_value(&silent).unwrap().get("notes").is_none());
        assert_eq!(study(&format!("notes = [\"Few images.\"]\n{arm}")).unwrap().notes, ["Few images."]);
        assert!(study(&format!("notes = [\" \"]\n{arm}")).unwrap_err().contains("study.notes"));
    }
}
