//! A configuration with some of its settings replaced, as the steps of a study need it.

use super::{ArmSpec, Config, Gate};
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
    #[must_use]
    pub fn for_arm(self, arm: &ArmSpec, seed: u64) -> Self {
        let mut this = self.with_seed(seed).with_width(arm.width);
        this.consistency = if arm.consistency { Some(this.consistency.unwrap_or_default()) } else { None };
        this
    }

    /// A gate as the configuration wants it: none with the quirks of the paper's code.
    pub fn gate(&self, asked: Gate) -> Gate {
        if self.compat_paper { Gate::None } else { asked }
    }

    /// With the quirks of the paper's code, if it asks for them: Dice loss alone, no augmentation, no weight decay,
    /// no gating. (That Otsu's threshold goes without min–max is the pseudo-masks' own affair.)
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
