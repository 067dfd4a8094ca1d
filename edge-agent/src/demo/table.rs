//! Results on a terminal.

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, Table};

use super::follow::{Entry, Outcome};
use super::picture::Drawn;

/// One result.
pub(super) fn result(drawn: &Drawn) -> String {
    let with_truth = drawn.rows.iter().any(|row| row.iou.is_some());
    let mut table = Table::new();
    table.load_preset(UTF8_FULL_CONDENSED);
    let mut header = vec!["finding", "score", "area px", "area"];
    header.extend(with_truth.then_some("IoU with truth"));
    let columns = header.len();
    table.set_header(header);
    for row in &drawn.rows {
        let finding = &row.finding;
        let mut cells = vec![
            row.name.clone(),
            format!("{:.2}", finding.score),
            finding.area_px.to_string(),
            percent(finding.area_fraction),
        ];
        cells.extend(with_truth.then(|| row.iou.map_or("–".into(), |iou| format!("{iou:.3}"))));
        table.add_row(cells);
    }
    for column in 1..columns {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let mut text = table.to_string();
    if let Some(ratio) = &drawn.envelope.measurements.cardiothoracic_ratio {
        text += &format!("\n{ratio}");
    }
    for note in &drawn.envelope.quality {
        text += &format!("\n{}: {}", note.code, note.message);
    }
    format!("{text}\n{}\n", latency(drawn))
}

/// Where the time of a result went.
pub(super) fn latency(drawn: &Drawn) -> String {
    let ms = &drawn.envelope.latency_ms;
    format!(
        "{} × {} px; decode {:.0} + preprocess {:.0} + infer {:.0} + postprocess {:.0} = {:.0} ms",
        drawn.envelope.image.cols,
        drawn.envelope.image.rows,
        ms.decode,
        ms.preprocess,
        ms.infer,
        ms.postprocess,
        ms.total()
    )
}

/// A share as per cent.
pub(super) fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// All radiographs together: how many came through, and every one that did not, with its reason.
pub(super) fn summary(entries: &[Entry]) -> String {
    let count = |wanted: fn(&Outcome) -> bool| entries.iter().filter(|e| wanted(&e.outcome)).count();
    let mut lines =
        vec![format!("{} of {} radiographs have a result", count(Outcome::is_result), entries.len())];
    lines.extend(entries.iter().filter_map(|entry| match &entry.outcome {
        Outcome::Result(_) => None,
        Outcome::SetAside(reason) => Some(format!("  {:>3} {}: {reason}", entry.number, entry.title)),
        Outcome::Missing => Some(format!("  {:>3} {}: nothing came", entry.number, entry.title)),
    }));
    lines.join("\n")
}
