//! The report of a study: what people read, and the same numbers for programs.

mod csv_table;
mod environment;
mod figures;
mod gains;
mod leavings;
mod page;
mod plots;
#[cfg(test)]
mod sample;
mod view;
mod words;

use std::path::Path;

use super::ReportError;
use super::document::{Block, Grid, Section};
use super::markdown::markdown;
use crate::config::{Config, digest_of};
use crate::evaluate::ClassReliability;
use crate::pipeline::{Machine, StudyResults};
use crate::train::atomic;
use view::View;

/// Writes a study's report into `out`:
///
/// ```text
/// REPORT.md                        for people ┐
/// results.csv, results.json        figures    │ figures only: may be committed, and the same
/// iou-vs-budget.svg, gains.svg,    plots,     │ results give the same bytes
/// curves.svg, thresholds.svg,      where there│
/// reliability.svg                  is anything┘
/// report.html                      all of it on one page, with radiographs: stays here
/// ```
pub fn write_study(results: &StudyResults, config: &Config, out: &Path) -> Result<(), ReportError> {
    let view = View { results, config };
    let json = serde_json::to_vec_pretty(results).expect("plain data with text keys");
    write(&out.join("results.json"), &json)?;
    let path = out.join("results.csv");
    let csv = csv_table::results_csv(&view)
        .map_err(|error| ReportError::Format { path: path.clone(), reason: error.to_string() })?;
    write(&path, &csv)?;
    let sections = sections(&view)?;
    for block in sections.iter().flat_map(|section| &section.blocks) {
        if let Block::Figure { file, svg, .. } = block {
            write(&out.join(file), svg.as_bytes())?;
        }
    }
    write(&out.join("REPORT.md"), markdown(&page::title(config), &sections).as_bytes())?;
    write(&out.join("report.html"), page::page(&view, &sections)?.as_bytes())
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), ReportError> {
    atomic::write(path, bytes).map_err(|source| ReportError::Write { path: path.to_owned(), source })
}

/// What text and page have in common.
fn sections(view: &View<'_>) -> Result<Vec<Section>, ReportError> {
    let mut sections = vec![introduction(view)];
    let notes = &view.results.study.notes;
    if !notes.is_empty() {
        sections.push(Section::new("Limits").list(notes.clone()));
    }
    sections.push(figures::compared(view));
    sections.extend(gains::marks(view));
    sections.push(with_figure(
        figures::main_tables(view),
        "iou-vs-budget.svg",
        "IoU at dataset level over the number of expert masks: mean over seeds, whiskers one standard deviation. \
         Dashed: arms without expert masks.",
        plots::iou_vs_budget(view)?,
    ));
    sections.extend(figures::source_tables(view));
    sections.extend(gains::comparisons(view));
    if let (Some(section), Some(svg)) = (sections.last_mut(), plots::gains(view)?) {
        let caption = "Relative gains in IoU at dataset level, with 95% intervals of the paired bootstrap.";
        section.blocks.push(Block::Figure { file: "gains.svg", caption: caption.into(), svg });
    }
    sections.extend(figures::pseudo_masks(view));
    sections.extend(figures::classifiers(view));
    sections.extend(trainings(view)?);
    sections.push(machines(view));
    sections.push(digests(view));
    Ok(sections)
}

fn introduction(view: &View<'_>) -> Section {
    Section::new("").text(format!(
        "Written by host-trainer {} from the experiment {}. Every figure of every class, source, protocol and measure \
         is in results.csv; results.json holds the comparisons as well.",
        env!("CARGO_PKG_VERSION"),
        view.results.name,
    ))
}

fn with_figure(mut section: Section, file: &'static str, caption: &str, svg: Option<String>) -> Section {
    section.blocks.extend(svg.map(|svg| Block::Figure { file, caption: caption.to_owned(), svg }));
    section
}

/// Expected calibration error of each class; nothing without reliability diagrams.
fn calibration_errors(runs: &[(String, Vec<ClassReliability>)]) -> Option<Grid> {
    let mut table = Grid::new(&["training", "class", "expected calibration error"], 2);
    for (run, classes) in runs {
        for class in classes {
            table.rows.push(vec![run.clone(), class.label.clone(), format!("{:.4}", class.calibration.ece)]);
        }
    }
    (!table.rows.is_empty()).then_some(table)
}

/// How trainings went, and what the validation images said about the best arm.
fn trainings(view: &View<'_>) -> Result<Vec<Section>, ReportError> {
    let curves = with_figure(
        Section::new("Trainings"),
        "curves.svg",
        "Every training, a line each, in the colour of its arm.",
        plots::curves(view)?,
    );
    let mut found = vec![curves];
    if let Some(best) = view.best() {
        let chosen = (best.arm.as_str(), best.budget);
        let thresholds = leavings::of_evaluations(view, chosen, "thresholds.json")?;
        let reliability = leavings::of_evaluations(view, chosen, "reliability.json")?;
        let text = format!(
            "The best arm by IoU at dataset level ({}), on the validation images at the network's size. \
             Thresholds are chosen there, so the IoU at a chosen one is no estimate of quality.",
            words::arm_with_masks(&best.arm, best.budget),
        );
        let section = with_figure(
            Section::new("Thresholds and reliability").text(text),
            "thresholds.svg",
            "IoU over the threshold; dots: chosen.",
            plots::thresholds(&thresholds)?,
        );
        let section = match calibration_errors(&reliability) {
            Some(table) => section.table(table),
            None => section,
        };
        found.push(with_figure(
            section,
            "reliability.svg",
            "Reliability of pixels: share of pixels in the mask over their mean probability, in 15 bins.",
            plots::reliability(&reliability)?,
        ));
    }
    found.retain(|section| section.blocks.iter().any(|block| matches!(block, Block::Figure { .. })));
    Ok(found)
}

/// Where the numbers come from.
fn machines(view: &View<'_>) -> Section {
    let point = |(machine, steps): &(Option<Machine>, usize)| {
        let steps = words::count(*steps, "step", "steps");
        match machine {
            Some(machine) => format!("{steps}: {}", machine.words()),
            None => format!("{steps}: by a version of the program that did not write it down"),
        }
    };
    Section::new("Computed on").list(view.results.machines.iter().map(point).collect())
}

fn digests(view: &View<'_>) -> Section {
    let config = serde_json::to_value(view.config).expect("plain data with text keys");
    let points = vec![
        format!("Experiment (SHA-256 of the configuration): {}", digest_of(&config)),
        format!(
            "Data (SHA-256 of ids, patients, sources, splits, labels, attributes, and contents of images and masks): {}",
            view.results.data
        ),
        format!("Program: host-trainer {}", env!("CARGO_PKG_VERSION")),
    ];
    Section::new("Digests").list(points)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;

    use super::*;
    use crate::evaluate::{ALL_SOURCES, ClassReliability, ThresholdCurve, calibration};
    use crate::pipeline::{Case, Preview, Rank};
    use crate::report::markup_check::elements;
    use sample::{config, results};

    const TEXTS: [&str; 6] =
        ["REPORT.md", "results.csv", "results.json", "iou-vs-budget.svg", "gains.svg", "curves.svg"];

    fn read(out: &Path, name: &str) -> String {
        fs::read_to_string(out.join(name)).unwrap()
    }

    #[test]
    fn the_text_tells_figures_gains_and_verdicts() {
        let out = tempfile::tempdir().unwrap();
        write_study(&results(), &config(), out.path()).unwrap();
        // As a reader sees it.
        let text = read(out.path(), "REPORT.md").replace('\\', "");
        for part in [
            "# Study tiny",
            "12 images of 9 patients, from x, y",
            "Numbers of expert masks: 0 (none), 5, all.",
            "| class | arm | 0 (none) | 5 | all |",
            "| mean | mix | – | 0.750 ± 0.010 [0.700, 0.800] | 0.875 ± 0.010 [0.825, 0.925] |",
            "| heart | saliency | 0.375 ± 0.010 [0.325, 0.425] | – | – |",
            "## IoU on x",
            "| mix, 5 | strong, 5 | all | mean | 0.500 → 0.600 | +20.0% [+12.0%, +30.0%] | ≤ 0.002 |",
            "| mix | strong | mean | ✔✔ +20.0% [+12.0%, +30.0%] |",
            "| mix | saliency | heart | +60.0% [+40.0%, +90.0%] |",
            "+9.7% over expert masks alone, dataset level: reached in 1 of 1 comparisons, in 1 with the whole interval.",
            "+73.1% over pseudo-masks alone, dataset level: reached in 0 of 1 comparisons",
            "| pseudo-masks-grad-cam-empty-s1 | heart | 4 | 0.250 | 0.500 |",
            "| classifier-s1 | enlarged_heart | 0.812 |",
            "![",
            "(gains.svg)",
            "- 3 steps: by a version of the program that did not",
            "- 1 step: cpu, libtorch 2.11.0+cpu, 2 threads",
            "contents of images and masks): data-digest",
            env!("CARGO_PKG_VERSION"),
        ] {
            assert!(text.contains(part), "{part}\n\n{text}");
        }
        assert!(!text.contains("18446744073709551615") && !text.contains("Notes"));
        assert!(!text.contains("## Limits") && !text.contains("cannot be told"));
        assert!(!out.path().join("thresholds.svg").exists());
    }

    #[test]
    fn limits_few_patients_unknown_gains_and_subgroups_are_told() {
        let (out, mut results) = (tempfile::tempdir().unwrap(), results());
        results.study.notes = vec!["The label is a <proxy>.".into()];
        results.subgroups = vec!["y".into()];
        results.cells[0].interval.bounds = None;
        for comparison in results.comparisons.iter_mut().filter(|c| c.against == "saliency") {
            comparison.paired.relative = None;
        }
        write_study(&results, &config(), out.path()).unwrap();
        let text = read(out.path(), "REPORT.md").replace('\\', "");
        let limits = text.find("## Limits\n\n- The label is a &lt;proxy>.").unwrap();
        assert!(limits < text.find("## What was compared").unwrap());
        for part in [
            "0.500 ± 0.010 [n < 5 patients]",
            "reached in 0 of 0 comparisons, in 0 with the whole interval. Of 1 more it cannot be told",
            "## IoU on y\n\nA subgroup",
            "from x. ",
        ] {
            assert!(text.replace("&lt;", "<").contains(part), "{part}\n\n{text}");
        }
        let page = read(out.path(), "report.html");
        elements(&page);
        assert!(page.contains("Limits") && page.contains("The label is a &lt;proxy&gt;."));
    }

    #[test]
    fn plots_and_page_are_well_formed_and_refer_to_nothing_outside() {
        let out = tempfile::tempdir().unwrap();
        write_study(&results(), &config(), out.path()).unwrap();
        for name in ["iou-vs-budget.svg", "gains.svg", "curves.svg"] {
            let svg = read(out.path(), name);
            let found = elements(&svg);
            assert_eq!(found[0], "svg");
            assert!(found.contains(&"text".to_owned()), "{name}");
            assert!(svg.contains("mix") && svg.contains("strong"), "{name}");
        }
        let page = read(out.path(), "report.html");
        let found = elements(&page);
        assert_eq!(found.iter().filter(|name| *name == "svg").count(), 3);
        assert!(!found.contains(&"script".to_owned()) && !found.contains(&"img".to_owned()));
        for part in ["stays in the folder", "[network]", "Processor", "Dice, dataset level", "+20.0%"] {
            assert!(page.contains(part), "{part}");
        }
    }

    #[test]
    fn the_same_results_give_the_same_bytes() {
        let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        write_study(&results(), &config(), a.path()).unwrap();
        write_study(&results(), &config(), b.path()).unwrap();
        for name in TEXTS {
            assert_eq!(read(a.path(), name), read(b.path(), name), "{name}");
        }
    }

    fn leave<T: serde::Serialize>(folder: &Path, name: &str, list: &[T]) {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, serde_json::to_vec(list).unwrap()).unwrap();
    }

    #[test]
    fn pictures_are_on_the_page_alone() {
        let (out, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let folder = folder.path();
        leave(
            folder,
            "thresholds.json",
            &[ThresholdCurve { label: "heart".into(), chosen: 0.5, points: vec![(0.25, 0.5), (0.5, 0.75)] }],
        );
        let calibration = calibration(&[(0.2, false), (0.9, true)]).unwrap();
        leave(folder, "reliability.json", &[ClassReliability { label: "heart".into(), calibration }]);
        let case = Case { rank: Rank::Best, file: "best.png".into(), id: "case-1".into(), iou: 0.875 };
        leave(folder, "overlays/cases.json", &[case]);
        let preview = Preview { file: "1.png".into(), id: "weak-1".into(), classes: vec!["heart".into()] };
        leave(folder, "previews/previews.json", &[preview]);
        for name in ["overlays/best.png", "previews/1.png"] {
            image::RgbImage::new(4, 4).save(folder.join(name)).unwrap();
        }
        let mut results = results();
        for step in ["evaluation-mix-all-s1", "pseudo-masks-grad-cam-empty-s1"] {
            results.folders.insert(step.into(), folder.to_owned());
        }
        write_study(&results, &config(), out.path()).unwrap();
        let page = read(out.path(), "report.html");
        assert_eq!(elements(&page).iter().filter(|name| *name == "img").count(), 2);
        assert_eq!(page.matches("data:image/png;base64,iVBORw0KGgo").count(), 2);
        for part in
            ["case-1, IoU 0.875", "weak-1: heart", "Reliability of pixels", "mix, all expert masks, seed 1"]
        {
            assert!(page.contains(part), "{part}");
        }
        for name in TEXTS.into_iter().chain(["thresholds.svg", "reliability.svg"]) {
            let text = read(out.path(), name);
            assert!(!text.contains("data:image") && !text.contains("case-1"), "{name}");
        }
        assert!(read(out.path(), "REPORT.md").contains("(reliability.svg)"));
    }

    #[test]
    fn a_broken_leaving_is_named() {
        let (out, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(folder.path().join("thresholds.json"), "[{\"colour\": 3}]").unwrap();
        let mut results = results();
        results.folders.insert("evaluation-mix-all-s1".into(), folder.path().to_owned());
        let error = write_study(&results, &config(), out.path()).unwrap_err().to_string();
        assert!(error.contains("thresholds.json") && error.contains("colour"), "{error}");
    }

    #[test]
    fn one_arm_one_seed_one_source_folds_and_nothing_else() {
        let out = tempfile::tempdir().unwrap();
        let mut results = results();
        results.study.arms.truncate(1);
        results.study.seeds = vec![1];
        results.study.folds = 5;
        results.cells.retain(|cell| cell.arm == "strong" && cell.source == ALL_SOURCES);
        for cell in &mut results.cells {
            cell.seeds.truncate(1);
            cell.spread = 0.0;
        }
        results.comparisons.clear();
        results.pseudo.clear();
        results.classifiers.clear();
        results.histories.clear();
        results.folders = BTreeMap::new();
        write_study(&results, &config(), out.path()).unwrap();
        let text = read(out.path(), "REPORT.md").replace('\\', "");
        assert!(
            text.contains("Cross-validation in 5 folds over patients") && text.contains("Seed: 1."),
            "{text}"
        );
        assert!(text.contains("| mean | strong | 0.500 [0.450, 0.550] |"), "{text}");
        for absent in
            ["±", "## Comparisons", "marks", "pseudo-masks", "## Classifiers", "curves.svg", "IoU on"]
        {
            assert!(!text.contains(absent), "{absent}\n{text}");
        }
        elements(&read(out.path(), "report.html"));
        // Nothing at all was judged.
        results.cells.clear();
        write_study(&results, &config(), out.path()).unwrap();
        elements(&read(out.path(), "report.html"));
    }
}
