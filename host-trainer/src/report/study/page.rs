//! The page of a study: all that the Markdown text says, and what may not leave the run's folder.

use maud::{Markup, html};
use shared::mask::Rgb;

use super::leavings::{of_evaluations, pseudo_folders, read};
use super::view::View;
use super::words::arm_with_masks;
use super::{environment, figures, gains};
use crate::config::Config;
use crate::pipeline::{Case, Preview};
use crate::report::document::Section;
use crate::report::{ReportError, html};

const WARNING: &str = "This page shows radiographs of the data sets. Their licences may not allow to pass them on, so it \
                       stays in the folder of the run; REPORT.md, results.csv, results.json and the plots beside it hold \
                       figures only and may be committed.";

/// The page; `sections` are those of the Markdown text.
pub(super) fn page(view: &View<'_>, sections: &[Section]) -> Result<String, ReportError> {
    let details: Vec<Section> =
        figures::other_tables(view).into_iter().chain(gains::all_comparisons(view)).collect();
    let body = html! {
        p.warning { (WARNING) }
        (html::sections(sections))
        (html::sections(&details))
        (cases(view)?)
        (previews(view)?)
        (html::sections(&[environment::environment()]))
        (html::configuration(&toml::to_string_pretty(view.config)?))
    };
    Ok(html::page(&title(view.config), &body))
}

/// The name of the whole report.
pub(super) fn title(config: &Config) -> String {
    format!("Study {}", config.name)
}

/// Best, median and worst case of the best arm, and of the reference at the same number of expert masks.
fn cases(view: &View<'_>) -> Result<Markup, ReportError> {
    let Some(best) = view.best() else { return Ok(html! {}) };
    let mut shown = vec![(best.arm.as_str(), best.budget)];
    let reference = view.results.study.reference.as_str();
    if reference != best.arm && best.budget > 0 {
        shown.push((reference, best.budget));
    }
    let mut parts = Vec::new();
    for (arm, budget) in shown {
        // One training is enough to look at: the first that left pictures.
        let runs = of_evaluations::<Case>(view, (arm, budget), "overlays/cases.json")?;
        let Some((run, list)) = runs.first() else { continue };
        let tag = view.runs(arm, budget).into_iter().find(|(name, _)| name == run).map(|(_, tag)| tag);
        let folder = tag.and_then(|tag| view.results.folders.get(&format!("evaluation-{tag}")));
        let Some(folder) = folder else { continue };
        let mut pictures = Vec::new();
        for case in list {
            let rank = case.rank.name();
            let picture = html::picture(&folder.join("overlays").join(&case.file), rank)?;
            pictures.push(html! {
                figure { (picture) figcaption { (rank) ": " (case.id) ", IoU " (format!("{:.3}", case.iou)) } }
            });
        }
        parts.push(html! {
            h3 { (arm_with_masks(arm, budget)) ", " (run) }
            div.pictures { @for picture in &pictures { (picture) } }
        });
    }
    Ok(html! {
        @if !parts.is_empty() {
            section {
                h2 { "Best, median and worst case" }
                p {
                    "By mean IoU over the classes that it is taught, at the image's own resolution, among the images that this training "
                    "was judged on. Colour: the network's mask. White line: the experts'."
                }
                (legend(view.config))
                @for part in &parts { (part) }
            }
        }
    })
}

/// Pseudo-masks of a few weak images, a part for each way of making them.
fn previews(view: &View<'_>) -> Result<Markup, ReportError> {
    let mut parts = Vec::new();
    for (step, folder) in pseudo_folders(view) {
        let list: Vec<Preview> = read(&folder.join("previews/previews.json"))?.unwrap_or_default();
        let mut pictures = Vec::new();
        for preview in &list {
            let picture = html::picture(&folder.join("previews").join(&preview.file), &preview.id)?;
            let classes = preview.classes.join(", ");
            pictures.push(html! { figure { (picture) figcaption { (preview.id) ": " (classes) } } });
        }
        if !pictures.is_empty() {
            let body = html! { div.pictures { @for picture in &pictures { (picture) } } };
            parts.push(html::folded(step, &body));
        }
    }
    Ok(html! {
        @if !parts.is_empty() {
            section {
                h2 { "Pseudo-masks" }
                p { "Weak images as the network sees them, with the pseudo-masks that it learned from." }
                (legend(view.config))
                @for part in &parts { (part) }
            }
        }
    })
}

fn legend(config: &Config) -> Markup {
    let swatch = |color: Rgb| format!("background: {color}");
    html! {
        ul.legend {
            @for class in &config.classes {
                li { span.swatch style=(swatch(class.color)) {} (class.name) }
            }
        }
    }
}
