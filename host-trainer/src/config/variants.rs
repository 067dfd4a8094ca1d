//! A configuration with some of its settings replaced, as the steps of a study need it.

use serde::Serialize;
use serde::de::DeserializeOwned;
use toml::{Table, Value};

use super::{ArmSpec, Config, ConfigError, Gate};
use crate::net::Width;

impl Config {
    /// With another seed.
    #[must_use]
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// With another width of the segmenter, if one is given.
    #[must_use]
    pub fn with_width(mut self, width: Option<Width>) -> Self {
        self.network.width = width.unwrap_or(self.network.width);
        self
    }

    /// As an arm of a study trains its segmenter.
    ///
    /// # Errors
    /// [`ConfigError::Field`] if a setting of [`ArmSpec::with`] does not exist or cannot have that value.
    pub fn for_arm(self, arm: &ArmSpec, seed: u64) -> Result<Self, ConfigError> {
        let mut this = self.with_seed(seed).with_width(arm.width);
        let over = |name: &str| format!("study.arm.{}.with.{name}", arm.name);
        overlay(&mut this.train, &arm.with.train, || over("train"))?;
        overlay(&mut this.distillation, &arm.with.distillation, || over("distillation"))?;
        overlay(&mut this.augment, &arm.with.augment, || over("augment"))?;
        this.consistency = if arm.consistency { Some(this.consistency.unwrap_or_default()) } else { None };
        match &mut this.consistency {
            Some(spec) => overlay(spec, &arm.with.consistency, || over("consistency"))?,
            None if arm.with.consistency.is_empty() => (),
            None => {
                let reason = "the arm goes without consistency: set consistency = true".into();
                return Err(ConfigError::Field { field: over("consistency"), reason });
            }
        }
        // No arm undoes the paper's quirks.
        Ok(this.with_quirks())
    }

    /// A gate as the configuration wants it: none with the quirks of the paper's code.
    pub fn gate(&self, asked: Gate) -> Gate {
        if self.compat_paper { Gate::None } else { asked }
    }

    /// With the quirks of the paper's code, if it asks for them: Dice loss alone, no augmentation, no weight decay,
    /// no gating. Schedule and moving average stay as the stage has them. (That Otsu's threshold goes without min–max
    /// is the pseudo-masks' own affair.)
    #[must_use]
    pub fn with_quirks(mut self) -> Self {
        if self.compat_paper {
            self.augment.enabled = false;
            (self.train.bce_weight, self.train.dice_weight) = (0.0, 1.0);
            self.train.weight_decay = 0.0;
            for arm in self.study.iter_mut().flat_map(|study| &mut study.arms) {
                if let Some(pseudo) = &mut arm.pseudo {
                    pseudo.gate = Gate::None;
                }
            }
        }
        self
    }
}

/// Replaces what `changes` names.
fn overlay<T: Serialize + DeserializeOwned>(
    settings: &mut T,
    changes: &Table,
    name: impl Fn() -> String,
) -> Result<(), ConfigError> {
    if changes.is_empty() {
        return Ok(());
    }
    let bad = |reason: String| ConfigError::Field { field: name(), reason: reason.trim_end().to_owned() };
    let mut table = Table::try_from(&*settings).map_err(|error| bad(error.to_string()))?;
    merge(&mut table, changes);
    *settings = table.try_into().map_err(|error: toml::de::Error| bad(error.to_string()))?;
    Ok(())
}

/// Joins tables key by key; everything else is replaced.
pub(super) fn merge(table: &mut Table, changes: &Table) {
    for (key, change) in changes {
        match (table.get_mut(key), change) {
            (Some(Value::Table(inner)), Value::Table(change)) => merge(inner, change),
            _ => drop(table.insert(key.clone(), change.clone())),
        }
    }
}

#[cfg(test)]
#[cfg(feature = "torch")]
mod tests {
    use crate::config::{Config, tiny};

    /// A study whose second arm, b, goes with consistency.
    fn study() -> Config {
        tiny(
            r#"
            [study]
            seeds = [1]
            budgets = [2]
            reference = "a"
            [[study.arm]]
            name = "a"
            [[study.arm]]
            name = "b"
            consistency = true
            "#,
        )
    }

    fn with(changes: &str) -> Result<Config, String> {
        let config = study();
        let mut arm = config.study.as_ref().unwrap().arms[1].clone();
        arm.with = toml::from_str(changes).map_err(|error| error.to_string())?;
        config.for_arm(&arm, 1).map_err(|error| error.to_string())
    }

    #[test]
    fn an_arm_replaces_what_it_names_and_nothing_else() {
        let (plain, changed) = (
            with("").unwrap(),
            with("[train]\nsteps = 7\n[consistency.views]\nbatch = 9\n[augment]\nenabled = false").unwrap(),
        );
        let mut expected = plain;
        expected.train.steps = 7;
        expected.consistency.as_mut().unwrap().views.batch = 9;
        expected.augment.enabled = false;
        assert_eq!(changed, expected);
    }

    #[test]
    fn a_setting_that_does_not_exist_is_named() {
        let error = with("[train]\nstep = 7").unwrap_err();
        assert!(error.contains("study.arm.b.with.train") && error.contains("step"), "{error}");
        let error = with("[consistency]\nviews = 3").unwrap_err();
        assert!(error.contains("study.arm.b.with.consistency"), "{error}");
        assert!(with("[classifier]\nholdout = 0.5").is_err());
    }

    #[test]
    fn settings_of_a_study_are_checked_as_the_experiments_are() {
        let checked = |consistency: bool, with: &str| {
            let mut config = study();
            let arm = &mut config.study.as_mut().unwrap().arms[1];
            (arm.consistency, arm.with) = (consistency, toml::from_str(with).unwrap());
            config.validate().map_err(|error| error.to_string())
        };
        assert_eq!(checked(true, "[consistency]\nconfidence = 0.8"), Ok(()));
        let error = checked(true, "[consistency]\nconfidence = 0.3").unwrap_err();
        assert!(error.contains("study.arm.b.with") && error.contains("confidence"), "{error}");
        let error = checked(false, "[consistency]\nconfidence = 0.8").unwrap_err();
        assert!(error.contains("consistency = true"), "{error}");
    }
}
