//! Tables of figures.

use super::view::View;
use super::words::{beginning, budget_label, count, figure, lessons, protocol_name};
use crate::config::ArmSpec;
use crate::evaluate::{ALL_SOURCES, MIN_PATIENTS, Measure, Protocol, SUBGROUP_MIN};
use crate::pipeline::StudyResults;
use crate::report::document::{Grid, Section};

/// The protocols of a report for people; all of them are in `results.csv`.
const SHOWN: [Protocol; 2] = [Protocol::Dataset, Protocol::ChexlocalizeFull];

/// What was compared, on what.
pub(super) fn compared(view: &View<'_>) -> Section {
    let StudyResults { study, images, patients, resamples, .. } = view.results;
    let seeds: Vec<String> = study.seeds.iter().map(ToString::to_string).collect();
    let budgets: Vec<String> = view.budgets().into_iter().map(budget_label).collect();
    let sources = view.sources();
    let of_sources =
        if sources.is_empty() { String::new() } else { format!(", from {}", sources.join(", ")) };
    let judging = match study.folds {
        0 => "Images of the split strong_test".to_owned(),
        n => format!("Cross-validation in {n} folds over patients"),
    };
    let thresholds = match study.folds {
        0 => "chosen on the validation images",
        _ => "chosen on the expert masks that a network learned from, and 0.5 where it learned from none",
    };
    let share = view.config.train.phantom_share;
    let mut points = vec![
        format!(
            "Judged on: {} of {}{of_sources}. {judging}.",
            count(*images, "image", "images"),
            count(*patients, "patient", "patients"),
        ),
        format!("Numbers of expert masks: {}.", budgets.join(", ")),
        format!("{}: {}.", if seeds.len() == 1 { "Seed" } else { "Seeds" }, seeds.join(", ")),
        format!(
            "Figures are means over seeds{}; in brackets, 95% intervals of that mean from {resamples} bootstrap resamples \
             of patients, which all seeds share. There is none where fewer than {MIN_PATIENTS} patients have a figure.",
            if seeds.len() > 1 { " ± their standard deviation" } else { "" },
        ),
        format!("Thresholds are {thresholds}."),
    ];
    if share > 0.0 {
        points.push(format!(
            "In every arm that does not say otherwise, {}% of the images are phantoms.",
            share * 100.0
        ));
    }
    let mut table = Grid::new(&["arm", "learns from", "weights begin", "judged on"], 4);
    for arm in &study.arms {
        let name =
            if arm.name == study.reference { format!("{} (reference)", arm.name) } else { arm.name.clone() };
        table.rows.push(vec![name, lessons(arm), beginning(arm.init).to_owned(), taught(view, arm)]);
    }
    Section::new("What was compared").list(points).table(table)
}

/// The classes that an arm has figures of.
fn taught(view: &View<'_>, arm: &ArmSpec) -> String {
    let has =
        |class: &&str| view.results.cells.iter().any(|cell| cell.arm == arm.name && cell.class == **class);
    let classes: Vec<&str> = view.classes().into_iter().filter(has).collect();
    classes.join(", ")
}

/// IoU over all images.
pub(super) fn main_tables(view: &View<'_>) -> Section {
    let mut section = Section::new("IoU").text(
        "Dataset level: pixels of all images summed at the network's size, then one ratio. Per image (misses counted): \
         a ratio for every image at its own resolution, averaged over images where the expert's or the predicted mask \
         is not empty. The mean is over the classes that some expert mask contains; arms that are taught some classes only \
         have no figure of the others.",
    );
    for protocol in SHOWN {
        section = section.text(format!("IoU, {}:", protocol_name(protocol))).table(figures(
            view,
            ALL_SOURCES,
            protocol,
            Measure::Iou,
        ));
    }
    section
}

/// IoU of each source, nothing where there is one, and of each subgroup.
pub(super) fn source_tables(view: &View<'_>) -> Vec<Section> {
    let section = |source: &str| {
        let mut section = Section::new(&format!("IoU on {source}"));
        if view.results.subgroups.iter().any(|subgroup| subgroup == source) {
            section = section
                .text(format!("A subgroup, by attribute; smaller than {SUBGROUP_MIN} images none is shown."));
        }
        SHOWN.into_iter().fold(section, |section, protocol| {
            section.text(format!("IoU, {}:", protocol_name(protocol))).table(figures(
                view,
                source,
                protocol,
                Measure::Iou,
            ))
        })
    };
    view.sources().into_iter().chain(view.results.subgroups.iter().map(String::as_str)).map(section).collect()
}

/// Everything else that was measured.
pub(super) fn other_tables(view: &View<'_>) -> Vec<Section> {
    let mut sections = Vec::new();
    for measure in Measure::ALL {
        for protocol in Protocol::ALL {
            let table = figures(view, ALL_SOURCES, protocol, measure);
            if (measure == Measure::Iou && SHOWN.contains(&protocol)) || table.rows.is_empty() {
                continue;
            }
            let name = match measure {
                Measure::Iou => "IoU",
                Measure::Dice => "Dice",
                Measure::Nsd => "Normalized surface distance",
            };
            let title = format!("{name}, {}", protocol_name(protocol));
            sections.push(Section::new(&title).table(table).folded());
        }
    }
    sections
}

/// Rows: classes and arms; columns: numbers of expert masks.
fn figures(view: &View<'_>, source: &str, protocol: Protocol, measure: Measure) -> Grid {
    let budgets = view.budgets();
    let mut table = Grid::new(&["class", "arm"], 2);
    table.header.extend(budgets.iter().map(|&budget| budget_label(budget)));
    for class in view.classes() {
        for arm in &view.results.study.arms {
            let cell = |&budget: &usize| {
                view.results.cell(&arm.name, budget, source, class, protocol, measure).map(figure)
            };
            let cells: Vec<Option<String>> = budgets.iter().map(cell).collect();
            if cells.iter().any(Option::is_some) {
                let words = [class.to_owned(), arm.name.clone()].into_iter();
                let cells = cells.into_iter().map(|cell| cell.unwrap_or_else(|| "–".to_owned()));
                table.rows.push(words.chain(cells).collect());
            }
        }
    }
    table
}

/// How good pseudo-masks are; nothing where none were made.
pub(super) fn pseudo_masks(view: &View<'_>) -> Option<Section> {
    let mut table = Grid::new(&["step", "class", "images", "IoU dataset level", "IoU mean of images"], 2);
    for (step, quality) in &view.results.pseudo {
        for class in quality.classes.iter().filter(|class| class.images > 0) {
            let dataset = class.intersection as f64 / class.union.max(1) as f64;
            let mean = class.mean_iou().map_or_else(String::new, |iou| format!("{iou:.3}"));
            let words = vec![step.clone(), class.label.clone(), class.images.to_string()];
            table.rows.push([words, vec![format!("{dataset:.3}"), mean]].concat());
        }
    }
    let text = "Against the experts' masks of images with the splits strong_train and strong_val, at the network's size. \
                Nothing is chosen by these figures.";
    (!table.rows.is_empty()).then(|| Section::new("Quality of pseudo-masks").text(text).table(table))
}

/// How good classifiers are; nothing where none was trained.
pub(super) fn classifiers(view: &View<'_>) -> Option<Section> {
    let mut table = Grid::new(&["step", "finding", "AUROC"], 2);
    for (step, scores) in &view.results.classifiers {
        for (finding, score) in scores {
            let score = score.map_or_else(|| "–".to_owned(), |score| format!("{score:.3}"));
            table.rows.push(vec![step.clone(), finding.clone(), score]);
        }
    }
    let text = "Area under the ROC curve on the validation images, at the step that was chosen by it.";
    (!table.rows.is_empty()).then(|| Section::new("Classifiers").text(text).table(table))
}
