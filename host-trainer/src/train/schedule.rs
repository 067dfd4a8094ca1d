use std::f64::consts::PI;

/// Learning rate by step: linear warm-up, then half a cosine (Loshchilov & Hutter, SGDR, 2017) down to
/// `final_share` of the highest.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    /// Highest learning rate.
    pub highest: f64,
    /// Share of it at the last step.
    pub final_share: f64,
    /// Steps of warm-up.
    pub warmup: u64,
    /// Steps in all.
    pub steps: u64,
}

impl Schedule {
    /// Learning rate of step `step`, counted from 0.
    pub fn at(&self, step: u64) -> f64 {
        if step < self.warmup {
            return self.highest * (step + 1) as f64 / self.warmup as f64;
        }
        let span = self.steps.saturating_sub(self.warmup + 1).max(1) as f64;
        let progress = ((step - self.warmup) as f64 / span).min(1.0);
        let lowest = self.highest * self.final_share;
        lowest + (self.highest - lowest) * 0.5 * (1.0 + (PI * progress).cos())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rises_linearly_then_falls_to_the_final_share() {
        let schedule = Schedule { highest: 1.0, final_share: 0.1, warmup: 4, steps: 105 };
        assert_eq!((schedule.at(0), schedule.at(3)), (0.25, 1.0));
        assert_eq!(schedule.at(4), 1.0);
        assert!((schedule.at(54) - 0.55).abs() < 1e-9);
        assert!((schedule.at(104) - 0.1).abs() < 1e-12);
        assert!((4..104).all(|step| schedule.at(step + 1) < schedule.at(step)));
    }

    #[test]
    fn degenerate_lengths_are_finite() {
        for (warmup, steps) in [(0, 1), (1, 1), (5, 3), (0, 0)] {
            let schedule = Schedule { highest: 1.0, final_share: 0.1, warmup, steps };
            assert!((0..6).all(|step| schedule.at(step).is_finite()), "{warmup} {steps}");
        }
    }
}
