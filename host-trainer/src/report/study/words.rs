//! Numbers and settings in words.

use std::fmt;

use crate::config::{ArmSpec, Gate, Init, PseudoSpec, Saliency};
use crate::evaluate::{Interval, Paired, Protocol};
use crate::net::Width;
use crate::pipeline::Cell;

/// A number of expert masks.
pub(super) fn budget_label(budget: usize) -> String {
    match budget {
        0 => "0 (none)".to_owned(),
        usize::MAX => "all".to_owned(),
        n => n.to_string(),
    }
}

/// A number of things; `things` is the plural.
pub(super) fn count(n: usize, thing: &str, things: &str) -> String {
    format!("{n} {}", if n == 1 { thing } else { things })
}

/// An arm with its number of expert masks, in a sentence.
pub(super) fn arm_with_masks(arm: &str, budget: usize) -> String {
    match budget {
        0 => arm.to_owned(),
        usize::MAX => format!("{arm}, all expert masks"),
        n => format!("{arm}, {}", count(n, "expert mask", "expert masks")),
    }
}

/// What an arm learns from, and the width of its network where that is its own.
pub(super) fn lessons(arm: &ArmSpec) -> String {
    let mut parts = Vec::new();
    if arm.strong {
        parts.push("expert masks".to_owned());
    }
    parts.extend(arm.pseudo.as_ref().map(pseudo));
    if arm.consistency {
        parts.push("consistency on images without masks".to_owned());
    }
    parts.extend(arm.teachers.as_ref().map(|name| format!("the networks of arm {name} (distillation)")));
    let width = arm.width.map(|width| match width {
        Width::Full => "; full width",
        Width::Half => "; half width",
        Width::Quarter => "; quarter width",
    });
    parts.join(" + ") + width.unwrap_or_default()
}

fn pseudo(spec: &PseudoSpec) -> String {
    let saliency = match spec.saliency {
        Saliency::GradCam => "Grad-CAM",
        Saliency::HiresCam => "HiResCAM",
        Saliency::GradCamPlusPlus => "Grad-CAM++",
    };
    let refined = if spec.irnet { "refined by IRNet" } else { "cut by Otsu's threshold" };
    let gate = match spec.gate {
        Gate::None => "of all images",
        Gate::Empty => "of images with the finding, empty for those without",
        Gate::Ignore => "of images with the finding only",
    };
    format!("pseudo-masks ({saliency} {refined}, {gate})")
}

/// Where an arm's weights begin.
pub(super) fn beginning(init: Init) -> &'static str {
    match init {
        Init::Fresh => "at random",
        Init::Classifier => "encoder of the classifier",
        Init::Pretrain => "phantoms",
    }
}

/// How pixels become a figure, as a heading.
pub(super) fn protocol_name(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Dataset => "dataset level",
        Protocol::Chexlocalize => "per image (both present)",
        Protocol::ChexlocalizeFull => "per image (misses counted)",
    }
}

/// Mean, spread over seeds where there are several, and interval.
pub(super) fn figure(cell: &Cell) -> String {
    let Interval { value, low, high } = cell.interval;
    let spread = if cell.seeds.len() > 1 { format!(" ± {:.3}", cell.spread) } else { String::new() };
    format!("{value:.3}{spread} [{low:.3}, {high:.3}]")
}

/// A relative change.
pub(super) fn percent(share: f64) -> String {
    let text = format!("{:+.1}%", share * 100.0);
    if text == "-0.0%" { "+0.0%".to_owned() } else { text }
}

/// A relative gain with its interval.
pub(super) fn gain(paired: &Paired) -> String {
    match paired.relative {
        Some(Interval { value, low, high }) => {
            format!("{} [{}, {}]", percent(value), percent(low), percent(high))
        }
        None => "– (the other has 0)".to_owned(),
    }
}

/// A p-value; it cannot be told below one over the number of resamples.
pub(super) fn p_value(paired: &Paired) -> String {
    let least = 1.0 / paired.resamples.max(1) as f64;
    if paired.p_value <= least { format!("≤ {least:.3}") } else { format!("{:.3}", paired.p_value) }
}

/// Whether a gain reaches a mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The whole interval does.
    Surely,
    /// The estimate does, the interval reaches below the mark.
    Reached,
    /// The estimate does not, the interval reaches the mark.
    Perhaps,
    /// Not even the interval does.
    Missed,
    /// There is no relative gain over nothing.
    Unknown,
}

impl Verdict {
    /// Of a gain.
    pub(super) fn of(paired: &Paired, mark: f64) -> Self {
        match paired.relative {
            None => Self::Unknown,
            Some(gain) if gain.value >= mark && gain.low >= mark => Self::Surely,
            Some(gain) if gain.value >= mark => Self::Reached,
            Some(gain) if gain.high >= mark => Self::Perhaps,
            Some(_) => Self::Missed,
        }
    }

    /// Whether the estimate reaches the mark.
    pub(super) fn is_reached(self) -> bool {
        matches!(self, Self::Surely | Self::Reached)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Surely => "reached, with the whole interval",
            Self::Reached => "reached, but the interval goes below it",
            Self::Perhaps => "not reached; the interval includes it",
            Self::Missed => "not reached; the whole interval lies below it",
            Self::Unknown => "cannot be told: the other has 0",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::study::sample::paired;

    #[test]
    fn budgets_have_names() {
        assert_eq!(arm_with_masks("saliency", 0), "saliency");
        assert_eq!(arm_with_masks("mix", 1), "mix, 1 expert mask");
        assert_eq!([0, 7, usize::MAX].map(budget_label), ["0 (none)", "7", "all"]);
    }

    #[test]
    fn verdicts_heed_the_interval() {
        let of = |value, low, high| Verdict::of(&paired(0.5, (value, low, high), 0.01), 0.097);
        assert_eq!(of(0.2, 0.1, 0.3), Verdict::Surely);
        assert_eq!(of(0.2, 0.05, 0.3), Verdict::Reached);
        assert_eq!(of(0.05, 0.0, 0.1), Verdict::Perhaps);
        assert_eq!(of(0.05, 0.0, 0.09), Verdict::Missed);
        assert!(of(0.2, 0.05, 0.3).is_reached() && !of(0.05, 0.0, 0.1).is_reached());
        let nothing = Paired { relative: None, ..paired(0.0, (0.0, 0.0, 0.0), 1.0) };
        assert_eq!(Verdict::of(&nothing, 0.097), Verdict::Unknown);
        assert!(gain(&nothing).contains("the other has 0"));
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!(gain(&paired(0.5, (0.12345, -0.0001, 0.2), 0.01)), "+12.3% [+0.0%, +20.0%]");
        assert_eq!(p_value(&paired(0.5, (0.1, 0.0, 0.2), 0.001)), "≤ 0.001");
        assert_eq!(p_value(&paired(0.5, (0.1, 0.0, 0.2), 0.24)), "0.240");
    }

    #[test]
    fn arms_are_told_in_words() {
        let arm = ArmSpec {
            name: "student".into(),
            strong: true,
            pseudo: Some(PseudoSpec { saliency: Saliency::GradCam, irnet: true, gate: Gate::Ignore }),
            consistency: true,
            init: Init::Fresh,
            teachers: Some("mix".into()),
            width: Some(Width::Quarter),
            budgets: Vec::new(),
        };
        let text = lessons(&arm);
        for part in ["expert masks", "Grad-CAM refined by IRNet", "consistency", "arm mix", "; quarter width"]
        {
            assert!(text.contains(part), "{text}");
        }
    }
}
