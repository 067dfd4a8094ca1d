//! Arms against each other, and against what the paper reports.

use super::view::{Kind, View};
use super::words::{Verdict, budget_label, gain, p_value, percent, protocol_name};
use crate::evaluate::{MIN_PATIENTS, Protocol};
use crate::pipeline::{Comparison, paper_marks};
use crate::report::document::{Grid, Section};

/// An arm with its number of expert masks.
pub(super) fn with_budget(arm: &str, budget: usize) -> String {
    if budget == 0 { arm.to_owned() } else { format!("{arm}, {}", budget_label(budget)) }
}

/// Every two arms that are compared; nothing with one arm.
pub(super) fn comparisons(view: &View<'_>) -> Option<Section> {
    let rows = view.headlines(Protocol::Dataset);
    if rows.is_empty() {
        return None;
    }
    let reference = &view.results.study.reference;
    let text = format!(
        "Relative gains in IoU over the reference {reference} at the same number of expert masks, and over arms \
         without expert masks; the mean over the classes that both are taught and some expert mask contains, or, named, \
         the only class that both are taught. In brackets, 95% intervals of a paired bootstrap over patients, where \
         {MIN_PATIENTS} or more patients have a figure; p is two-sided and not corrected for the number of comparisons."
    );
    Some(Section::new("Comparisons").text(text).table(table(view, &rows)))
}

/// The same of every class and source.
pub(super) fn all_comparisons(view: &View<'_>) -> Option<Section> {
    let of_dataset = |c: &&Comparison| c.protocol == Protocol::Dataset;
    let rows: Vec<&Comparison> = view.results.comparisons.iter().filter(of_dataset).collect();
    let title = "Comparisons by class and source";
    (!rows.is_empty()).then(|| Section::new(title).table(table(view, &rows)).folded())
}

fn table(view: &View<'_>, rows: &[&Comparison]) -> Grid {
    let header = [
        "arm, expert masks",
        "against",
        "source",
        "class",
        "IoU dataset level",
        "gain dataset level",
        "p",
        "gain per image",
        "p",
    ];
    let mut table = Grid::new(&header, 4);
    for c in rows {
        let image = view.counterpart(c, Protocol::ChexlocalizeFull);
        let of_image = |text: fn(&crate::evaluate::Paired) -> String| {
            image.map_or_else(|| "–".to_owned(), |c| text(&c.paired))
        };
        table.rows.push(vec![
            with_budget(&c.arm, c.budget),
            with_budget(&c.against, c.against_budget),
            c.source.clone(),
            c.class.clone(),
            format!("{:.3} → {:.3}", c.paired.a, c.paired.b),
            gain(&c.paired),
            p_value(&c.paired),
            of_image(gain),
            of_image(p_value),
        ]);
    }
    table
}

/// The gains that the paper reports beside those measured here; nothing where neither was measured.
pub(super) fn marks(view: &View<'_>) -> Option<Section> {
    let [over_experts, over_pseudo] = paper_marks();
    let kinds = [
        (Kind::OverExperts, over_experts, "expert masks alone"),
        (Kind::OverPseudo, over_pseudo, "pseudo-masks alone"),
    ];
    let mut section = Section::new("The paper's marks").text(format!(
        "CheXseg (Gadgil et al. 2021, arXiv:2102.10484) reports relative gains in mean IoU of {} over expert masks \
         alone and of {} over saliency alone, on CheXpert's classes. Other images, classes and networks stand \
         behind the gains here, so they are marks to compare with, not figures to reproduce. Gains are held against \
         them as printed, in tenths of a percent.",
        percent(over_experts),
        percent(over_pseudo),
    ));
    let mut any = false;
    for (kind, mark, name) in kinds {
        let mut table =
            Grid::new(&["arm, expert masks", "against", "class", "protocol", "the mark is", "gain"], 5);
        let mut points = Vec::new();
        for protocol in [Protocol::Dataset, Protocol::ChexlocalizeFull] {
            let headlines = view.headlines(protocol);
            let rows: Vec<&&Comparison> = headlines.iter().filter(|c| view.kind(c) == kind).collect();
            let verdicts: Vec<Verdict> = rows.iter().map(|c| Verdict::of(&c.paired, mark)).collect();
            for (c, verdict) in rows.iter().zip(&verdicts) {
                table.rows.push(vec![
                    with_budget(&c.arm, c.budget),
                    with_budget(&c.against, c.against_budget),
                    c.class.clone(),
                    protocol_name(protocol).to_owned(),
                    verdict.to_string(),
                    gain(&c.paired),
                ]);
            }
            let reached = verdicts.iter().filter(|verdict| verdict.is_reached()).count();
            let surely = verdicts.iter().filter(|verdict| **verdict == Verdict::Surely).count();
            let unknown = verdicts.iter().filter(|verdict| **verdict == Verdict::Unknown).count();
            let untold = match unknown {
                0 => String::new(),
                n => format!(" Of {n} more it cannot be told: the other has 0."),
            };
            if !rows.is_empty() {
                points.push(format!(
                    "{} over {name}, {}: reached in {reached} of {} comparisons, in {surely} with the whole interval.{untold}",
                    percent(mark),
                    protocol_name(protocol),
                    rows.len() - unknown,
                ));
            }
        }
        if !points.is_empty() {
            any = true;
            section = section.list(points).table(table);
        }
    }
    any.then_some(section)
}
