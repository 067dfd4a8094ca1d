use std::collections::{BTreeMap, BTreeSet};

use super::super::{Finding, Problem, Split};
use super::Seen;
use crate::report::table;

/// What an index holds, by data set, source and split.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// A row for each.
    pub rows: BTreeMap<(String, String, Split), SummaryRow>,
}

/// Images of one data set, source and split.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SummaryRow {
    /// Images.
    pub images: usize,
    /// Patients.
    pub patients: BTreeSet<String>,
    /// By class: images annotated, and those of them that show it.
    pub classes: BTreeMap<String, [usize; 2]>,
    /// By finding: images where it is present, absent, uncertain.
    pub findings: BTreeMap<String, [usize; 3]>,
}

impl Summary {
    pub(super) fn of(seen: &[Seen]) -> Self {
        let mut rows: BTreeMap<_, SummaryRow> = BTreeMap::new();
        for (record, examined) in seen {
            let row = rows.entry((record.dataset.clone(), record.source.clone(), record.split)).or_default();
            row.images += 1;
            row.patients.insert(record.patient.clone());
            for (label, codes) in &examined.masks {
                let [annotated, shown] = row.classes.entry(label.clone()).or_default();
                *annotated += 1;
                *shown += usize::from(!codes.is_empty());
            }
            for (label, finding) in &record.findings {
                let at = match finding {
                    Finding::Present => 0,
                    Finding::Absent => 1,
                    Finding::Uncertain => 2,
                };
                row.findings.entry(label.clone()).or_default()[at] += 1;
            }
        }
        Self { rows }
    }

    /// Images and patients by data set, source and split, then a line for each class and finding.
    pub fn table(&self) -> String {
        let mut images = table(&["data set", "source", "split", "images", "patients"], 3);
        let mut masks = table(&["class", "data set", "source", "split", "annotated", "with mask"], 4);
        let mut findings = table(
            &["finding", "data set", "source", "split", "present", "absent", "uncertain", "unknown"],
            4,
        );
        // By class and finding first: that is what a training asks for.
        let (mut class_lines, mut finding_lines) = (Vec::new(), Vec::new());
        for ((dataset, source, split), row) in &self.rows {
            let place = [dataset.clone(), source.clone(), split.to_string()];
            let numbers = [row.images, row.patients.len()].map(|n| n.to_string());
            images.add_row(place.iter().chain(&numbers));
            class_lines.extend(row.classes.iter().map(|(label, counts)| line(label, &place, counts)));
            finding_lines.extend(row.findings.iter().map(|(label, counts)| {
                let unknown = row.images - counts.iter().sum::<usize>();
                line(label, &place, &[counts[0], counts[1], counts[2], unknown])
            }));
        }
        let mut text = images.to_string();
        for (table, mut lines) in [(&mut masks, class_lines), (&mut findings, finding_lines)] {
            if lines.is_empty() {
                continue;
            }
            lines.sort_by(|a, b| a[0].cmp(&b[0]));
            table.add_rows(lines);
            text += "\n";
            text += &table.to_string();
        }
        text
    }
}

fn line(label: &str, place: &[String], counts: &[usize]) -> Vec<String> {
    let counts = counts.iter().map(ToString::to_string);
    [label.to_owned()].into_iter().chain(place.iter().cloned()).chain(counts).collect()
}

/// Data sets that make no sense as a whole: one patient, or a class that is annotated and nowhere drawn.
pub(super) fn oddities(seen: &[Seen]) -> Vec<Problem> {
    let mut sets: BTreeMap<&str, (usize, BTreeSet<&str>)> = BTreeMap::new();
    let mut classes: BTreeMap<(&str, &str), (usize, usize)> = BTreeMap::new();
    for (record, examined) in seen {
        let (images, patients) = sets.entry(&record.dataset).or_default();
        *images += 1;
        patients.insert(&record.patient);
        for (label, codes) in &examined.masks {
            let (annotated, shown) = classes.entry((&record.dataset, label)).or_default();
            *annotated += 1;
            *shown += usize::from(!codes.is_empty());
        }
    }
    let lonely = sets.into_iter().filter(|(_, (_, patients))| patients.len() == 1);
    let lonely =
        lonely.map(|(dataset, (images, _))| Problem::OnePatient { dataset: dataset.to_owned(), images });
    let empty = classes.into_iter().filter(|(_, (_, shown))| *shown == 0);
    let empty = empty.map(|((dataset, class), (images, _))| Problem::EmptyClass {
        dataset: dataset.to_owned(),
        class: class.to_owned(),
        images,
    });
    lonely.chain(empty).collect()
}
