//! Numbers and settings in words.

use toml::{Table, Value};

use crate::config::{ArmSpec, Gate, Init, Overrides, PseudoSpec, Saliency};
use crate::evaluate::{MIN_PATIENTS, Paired, Protocol};
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

/// An arm with its number of expert masks, in a sentence.
pub(super) fn arm_with_masks(arm: &str, budget: usize) -> String {
    match budget {
        0 => format!("{arm}, no expert masks"),
        usize::MAX => format!("{arm}, all expert masks"),
        n => format!("{arm}, {}", count(n, "expert mask", "expert masks")),
    }
}

/// A number of things; `things` is the plural.
pub(super) fn count(n: usize, thing: &str, things: &str) -> String {
    format!("{n} {}", if n == 1 { thing } else { things })
}

/// What an arm learns from, and how wide its network is where that differs from the others'.
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
    let width = arm.width.map_or("", |width| match width {
        Width::Full => "; a network of full width",
        Width::Half => "; a network of half width",
        Width::Quarter => "; a network of a quarter of the width",
    });
    let mut text = parts.join(" + ") + width;
    let changes = settings(&arm.with);
    if !changes.is_empty() {
        text += &format!("; {}", changes.join(", "));
    }
    text
}

/// The settings of an arm that are others than the experiment's: `train.steps = 900`.
fn settings(with: &Overrides) -> Vec<String> {
    fn tell(place: &str, table: &Table, told: &mut Vec<String>) {
        for (key, value) in table {
            match value {
                Value::Table(inner) => tell(&format!("{place}.{key}"), inner, told),
                value => told.push(format!("{place}.{key} = {value}")),
            }
        }
    }
    let mut told = Vec::new();
    let Overrides { train, consistency, distillation, augment } = with;
    let tables = [("train", train), ("consistency", consistency)];
    for (name, table) in tables.into_iter().chain([("distillation", distillation), ("augment", augment)]) {
        tell(name, table, &mut told);
    }
    told
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
    let spread = if cell.seeds.len() > 1 { format!(" ± {:.3}", cell.spread) } else { String::new() };
    format!("{:.3}{spread} {}", cell.interval.value, cell.interval.brackets(|v| format!("{v:.3}")))
}

/// A relative change.
pub(super) fn percent(share: f64) -> String {
    let text = format!("{:+.1}%", share * 100.0);
    if text == "-0.0%" { "+0.0%".to_owned() } else { text }
}

/// A relative gain with its interval.
pub(super) fn gain(paired: &Paired) -> String {
    match paired.relative {
        Some(gain) => format!("{} {}", percent(gain.value), gain.brackets(percent)),
        None => "– (the other has 0)".to_owned(),
    }
}

/// A p-value; it cannot be told below two over the number of resamples and one.
pub(super) fn p_value(paired: &Paired) -> String {
    let Some(p) = paired.p_value else { return format!("n < {MIN_PATIENTS} patients") };
    // As printed, so that rounding decides alike on both sides.
    let (text, least) = (format!("{p:.3}"), format!("{:.3}", (2.0 / (paired.resamples + 1) as f64).min(1.0)));
    if text <= least { format!("≤ {least}") } else { text }
}

/// Whether a gain reaches a mark, as both are printed.
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
    /// The estimate does; too few patients for an interval.
    ReachedAlone,
    /// The estimate does not; too few patients for an interval.
    MissedAlone,
    /// There is no relative gain over nothing.
    Unknown,
}

impl Verdict {
    /// Of a gain.
    pub(super) fn of(paired: &Paired, mark: f64) -> Self {
        let Some(gain) = paired.relative else { return Self::Unknown };
        let reaches = |share: f64| permille(share) >= permille(mark);
        match (reaches(gain.value), gain.bounds) {
            (true, None) => Self::ReachedAlone,
            (false, None) => Self::MissedAlone,
            (true, Some(bounds)) if reaches(bounds.low) => Self::Surely,
            (true, Some(_)) => Self::Reached,
            (false, Some(bounds)) if reaches(bounds.high) => Self::Perhaps,
            (false, Some(_)) => Self::Missed,
        }
    }

    /// What stands before the gain.
    pub(super) fn sign(self) -> &'static str {
        match self {
            Self::Surely => "✔✔ ",
            Self::Reached | Self::ReachedAlone => "✔ ",
            Self::Missed => "✘ ",
            Self::Perhaps | Self::MissedAlone | Self::Unknown => "",
        }
    }

    /// Whether the estimate reaches the mark.
    pub(super) fn is_reached(self) -> bool {
        matches!(self, Self::Surely | Self::Reached | Self::ReachedAlone)
    }
}

/// Tenths of a percent, which is what [`percent`] prints.
fn permille(share: f64) -> f64 {
    (share * 1000.0).round()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::study::sample::{few_patients, paired};

    #[test]
    fn budgets_have_names() {
        assert_eq!([0, 7, usize::MAX].map(budget_label), ["0 (none)", "7", "all"]);
        assert_eq!(
            [0, 1, usize::MAX].map(|budget| arm_with_masks("irnet", budget)),
            ["irnet, no expert masks", "irnet, 1 expert mask", "irnet, all expert masks"]
        );
    }

    #[test]
    fn verdicts_heed_the_interval() {
        let of = |value, low, high| Verdict::of(&paired(0.5, (value, low, high), 0.01), 0.097);
        assert_eq!(of(0.2, 0.1, 0.3), Verdict::Surely);
        assert_eq!(of(0.2, 0.05, 0.3), Verdict::Reached);
        assert_eq!(of(0.05, 0.0, 0.1), Verdict::Perhaps);
        assert_eq!(of(0.05, 0.0, 0.09), Verdict::Missed);
        // Printed as +9.7%, it has reached +9.7%.
        assert_eq!(of(0.09651, 0.09651, 0.3), Verdict::Surely);
        assert_eq!(of(0.0964, 0.0, 0.0964), Verdict::Missed);
        assert!(of(0.2, 0.05, 0.3).is_reached() && !of(0.05, 0.0, 0.1).is_reached());
        let nothing = Paired { relative: None, ..paired(0.0, (0.0, 0.0, 0.0), 1.0) };
        assert_eq!(Verdict::of(&nothing, 0.097), Verdict::Unknown);
        assert!(gain(&nothing).contains("the other has 0"));
        let few = few_patients(paired(0.5, (0.2, 0.1, 0.3), 0.01));
        assert_eq!(Verdict::of(&few, 0.097), Verdict::ReachedAlone);
        assert_eq!(Verdict::of(&few, 0.731), Verdict::MissedAlone);
        assert_eq!((gain(&few), p_value(&few)), ("+20.0% [n < 5 patients]".into(), "n < 5 patients".into()));
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!(gain(&paired(0.5, (0.12345, -0.0001, 0.2), 0.01)), "+12.3% [+0.0%, +20.0%]");
        assert_eq!(p_value(&paired(0.5, (0.1, 0.0, 0.2), 2.0 / 1001.0)), "≤ 0.002");
        assert_eq!(p_value(&paired(0.5, (0.1, 0.0, 0.2), 4.0 / 1001.0)), "0.004");
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
            width: None,
            budgets: Vec::new(),
            with: Overrides::default(),
        };
        let text = lessons(&arm);
        for part in ["expert masks", "Grad-CAM refined by IRNet", "consistency", "arm mix"] {
            assert!(text.contains(part), "{text}");
        }
        assert!(!text.contains("width"));
        let narrow = ArmSpec { width: Some(Width::Half), ..arm };
        assert!(lessons(&narrow).ends_with("; a network of half width"));
        let with = toml::from_str("train = { steps = 9 }\nconsistency = { views = { batch = 2 } }").unwrap();
        let text = lessons(&ArmSpec { with, ..narrow });
        assert!(text.ends_with("width; train.steps = 9, consistency.views.batch = 2"), "{text}");
    }
}
