use super::view::View;
use super::words::budget_label;

/// Every figure of the study, a row each, for spreadsheets.
pub(super) fn results_csv(view: &View<'_>) -> Result<Vec<u8>, csv::Error> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let columns = [
        "arm",
        "budget",
        "source",
        "class",
        "protocol",
        "measure",
        "mean",
        "spread",
        "low",
        "high",
        "resamples",
    ];
    let seeds = view.results.study.seeds.iter().map(|seed| format!("seed_{seed}"));
    writer.write_record(columns.iter().map(ToString::to_string).chain(seeds))?;
    for cell in &view.results.cells {
        let budget = if cell.budget == 0 { "0".to_owned() } else { budget_label(cell.budget) };
        let words = [&cell.arm, &budget, &cell.source, &cell.class];
        let names = [cell.protocol.name(), cell.measure.name()];
        // Nothing where too few patients have a figure for an interval.
        let bounds =
            cell.interval.bounds.map(|b| [b.low.to_string(), b.high.to_string(), b.resamples.to_string()]);
        let row = words
            .into_iter()
            .cloned()
            .chain(names.map(str::to_owned))
            .chain([cell.interval.value, cell.spread].map(|number| number.to_string()))
            .chain(bounds.unwrap_or_default())
            .chain(cell.seeds.iter().map(ToString::to_string));
        writer.write_record(row)?;
    }
    writer.into_inner().map_err(|error| csv::Error::from(error.into_error()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::study::sample::{config, results};

    #[test]
    fn a_row_a_cell_with_a_column_a_seed() {
        let (config, mut results) = (config(), results());
        results.cells[0].interval.bounds = None;
        let text = results_csv(&View { results: &results, config: &config }).unwrap();
        let text = String::from_utf8(text).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), results.cells.len() + 1);
        assert!(lines[0].ends_with(",high,resamples,seed_1,seed_2"), "{}", lines[0]);
        assert!(text.contains("mix,all,all,mean,dataset,iou,0.875,"), "{text}");
        assert!(lines[1].contains(",0.5,0.01,,,,0.49,"), "{}", lines[1]);
        assert!(text.contains("saliency,0,all,heart,dataset,iou,"), "{text}");
    }
}
