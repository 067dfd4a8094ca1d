//! A small study, made by hand.

use std::collections::BTreeMap;

use crate::config::{Config, tiny};
use crate::evaluate::{ALL_SOURCES, Bounds, Interval, MEAN_CLASS, Measure, Paired, Protocol};
use crate::pipeline::{Cell, Comparison, Machine, PseudoQuality, StudyResults};
use crate::train::{History, HistoryRow};

/// Three arms: expert masks, saliency, both.
pub(in crate::report) fn config() -> Config {
    tiny(
        r#"
        [[findings]]
        label = "enlarged_heart"
        class = "heart"
        [study]
        seeds = [1, 2]
        budgets = [5]
        reference = "strong"
        [[study.arm]]
        name = "strong"
        [[study.arm]]
        name = "saliency"
        strong = false
        pseudo = { saliency = "grad-cam" }
        [[study.arm]]
        name = "mix"
        pseudo = { saliency = "grad-cam" }
        "#,
    )
}

fn interval(value: f64, low: f64, high: f64) -> Interval {
    Interval { value, bounds: Some(Bounds { low, high, resamples: 1000, drawn: 1000 }) }
}

/// The same of too few patients for an interval.
pub(in crate::report) fn few_patients(paired: Paired) -> Paired {
    let bare = |interval: Interval| Interval { bounds: None, ..interval };
    let (difference, relative) = (bare(paired.difference), paired.relative.map(bare));
    Paired { difference, relative, p_value: None, ..paired }
}

/// A comparison of figures `a` and `a · (1 + gain)`.
pub(in crate::report) fn paired(a: f64, (value, low, high): (f64, f64, f64), p_value: f64) -> Paired {
    let relative = Some(interval(value, low, high));
    let difference = interval(a * value, a * low, a * high);
    let (b, p_value) = (a * (1.0 + value), Some(p_value));
    Paired { a, b, difference, relative, p_value, images: 12, patients: 9, resamples: 1000 }
}

fn cell(arm: &str, budget: usize, source: &str, class: &str, value: f64) -> Cell {
    Cell {
        arm: arm.into(),
        budget,
        source: source.into(),
        class: class.into(),
        protocol: Protocol::Dataset,
        measure: Measure::Iou,
        interval: interval(value, value - 0.05, value + 0.05),
        spread: 0.01,
        seeds: vec![value - 0.01, value + 0.01],
    }
}

fn comparison(arm: &str, against: &str, class: &str, paired: Paired) -> Comparison {
    let budget = |name: &str| if name == "saliency" { 0 } else { 5 };
    Comparison {
        arm: arm.into(),
        budget: budget(arm),
        against: against.into(),
        against_budget: budget(against),
        source: ALL_SOURCES.into(),
        class: class.into(),
        protocol: Protocol::Dataset,
        paired,
    }
}

/// What came of it.
pub(in crate::report) fn results() -> StudyResults {
    let mut cells = Vec::new();
    for source in [ALL_SOURCES, "x", "y"] {
        for class in [MEAN_CLASS, "left_lung", "heart"] {
            for (arm, budget, value) in [
                ("strong", 5, 0.5),
                ("strong", usize::MAX, 0.625),
                ("mix", 5, 0.75),
                ("mix", usize::MAX, 0.875),
            ] {
                cells.push(cell(arm, budget, source, class, value));
            }
        }
        cells.push(cell("saliency", 0, source, "heart", 0.375));
    }
    let dice = Cell { measure: Measure::Dice, ..cell("mix", 5, ALL_SOURCES, "heart", 0.8) };
    let image = Cell { protocol: Protocol::ChexlocalizeFull, ..cell("mix", 5, ALL_SOURCES, "heart", 0.7) };
    cells.extend([dice, image]);
    let gain = paired(0.5, (0.2, 0.12, 0.3), 2.0 / 1001.0);
    let comparisons = vec![
        comparison("saliency", "strong", "heart", paired(0.5, (-0.25, -0.4, -0.1), 0.002)),
        comparison("mix", "strong", "heart", paired(0.5, (0.1, 0.0, 0.2), 0.05)),
        comparison("mix", "strong", MEAN_CLASS, gain),
        Comparison {
            protocol: Protocol::ChexlocalizeFull,
            ..comparison("mix", "strong", MEAN_CLASS, paired(0.5, (0.05, 0.0, 0.1), 0.1))
        },
        comparison("mix", "saliency", "heart", paired(0.375, (0.6, 0.4, 0.9), 0.001)),
    ];
    let mut quality = PseudoQuality::new(&["left_lung".into(), "heart".into()]);
    let heart = &mut quality.classes[1];
    (heart.images, heart.intersection, heart.union, heart.sum_iou) = (4, 1, 4, 2.0);
    let config = config();
    let mut study = config.study.clone().unwrap();
    study.budgets.push(usize::MAX);
    StudyResults {
        name: config.name,
        study,
        data: "data-digest".into(),
        images: 12,
        patients: 9,
        resamples: 1000,
        subgroups: Vec::new(),
        machines: vec![
            (None, 3),
            (Some(Machine { device: "cpu".into(), libtorch: Some("2.11.0+cpu".into()), threads: 2 }), 1),
        ],
        cells,
        comparisons,
        pseudo: vec![("pseudo-masks-grad-cam-empty-s1".into(), quality)],
        classifiers: vec![("classifier-s1".into(), vec![("enlarged_heart".into(), Some(0.8125))])],
        histories: vec![
            ("classifier-s1".into(), history("auroc", 0.7)),
            ("segmenter-strong-n5-s1".into(), history("iou", 0.5)),
            ("segmenter-mix-n5-s1".into(), history("iou", 0.6)),
        ],
        folders: BTreeMap::new(),
    }
}

fn history(metric: &str, score: f64) -> History {
    let mut history = History::new(metric, vec!["heart".into()]);
    for step in [10, 20, 30] {
        let mean_score = (step != 20).then_some(score);
        let scores = vec![mean_score];
        history.push(HistoryRow {
            step,
            loss: 5.0 / step as f64,
            mean_score,
            scores,
            ..HistoryRow::default()
        });
    }
    history
}
