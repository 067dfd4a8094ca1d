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
        "Relative gains in IoU over the reference {reference} at the same number of expert masks, and over the best arm \
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
         them as printed, in tenths of a percent. Below: relative gains at dataset level by number of expert masks; \
         ✔ reaches the mark, ✔✔ does so with its whole interval, ✘ misses it with its whole interval. Of arms \
         without expert masks the one that is best on the judged images is compared with.",
        percent(over_experts),
        percent(over_pseudo),
    ));
    let mut any = false;
    for (kind, mark, name) in kinds {
        let (mut points, mut gains) = (Vec::new(), None);
        for protocol in [Protocol::Dataset, Protocol::ChexlocalizeFull] {
            let headlines = view.headlines(protocol);
            let rows: Vec<&Comparison> = headlines.into_iter().filter(|c| view.kind(c) == kind).collect();
            if rows.is_empty() {
                continue;
            }
            let verdicts: Vec<Verdict> = rows.iter().map(|c| Verdict::of(&c.paired, mark)).collect();
            let count = |wanted: &dyn Fn(Verdict) -> bool| verdicts.iter().filter(|v| wanted(**v)).count();
            let unknown = count(&|verdict| verdict == Verdict::Unknown);
            let untold = match unknown {
                0 => String::new(),
                n => format!(" Of {n} more it cannot be told: the other has 0."),
            };
            points.push(format!(
                "{} over {name}, {}: reached in {} of {} comparisons, in {} with the whole interval.{untold}",
                percent(mark),
                protocol_name(protocol),
                count(&Verdict::is_reached),
                rows.len() - unknown,
                count(&|verdict| verdict == Verdict::Surely),
            ));
            if protocol == Protocol::Dataset {
                gains = Some(matrix(view, &rows, mark));
            }
        }
        any |= !points.is_empty();
        section = section.list(points);
        if let Some(gains) = gains {
            section = section.table(gains);
        }
    }
    any.then_some(section)
}

/// Gains by arm and number of expert masks.
fn matrix(view: &View<'_>, rows: &[&Comparison], mark: f64) -> Grid {
    let mut budgets: Vec<usize> = rows.iter().map(|c| c.budget).collect();
    budgets.sort_unstable();
    budgets.dedup();
    let header = ["arm", "against", "class"].map(str::to_owned).into_iter();
    let header: Vec<String> = header.chain(budgets.iter().map(|budget| budget_label(*budget))).collect();
    let mut table = Grid::new(&header.iter().map(String::as_str).collect::<Vec<_>>(), 3);
    for arm in &view.results.study.arms {
        let mut own: Vec<&&Comparison> = rows.iter().filter(|c| c.arm == arm.name).collect();
        own.sort_by_key(|c| (c.against.clone(), c.class.clone()));
        for line in own.chunk_by(|a, b| (&a.against, &a.class) == (&b.against, &b.class)) {
            let mut cells = vec![arm.name.clone(), line[0].against.clone(), line[0].class.clone()];
            cells.extend(budgets.iter().map(|budget| match line.iter().find(|c| c.budget == *budget) {
                Some(c) => format!("{}{}", Verdict::of(&c.paired, mark).sign(), gain(&c.paired)),
                None => "–".to_owned(),
            }));
            table.rows.push(cells);
        }
    }
    table
}
