use std::fs;
use std::path::{Path, PathBuf};

use super::curves::curves_svg;
use super::document::{Block, Grid, Section};
use super::{ReportError, html};
use crate::train::{History, HistoryRow, RunDir, atomic};

/// Columns of a history before its scores: step, loss, learning rate, gradient, speed.
const BEFORE_SCORES: usize = 5;

/// Writes `report.html` into the folder of one training: curves, validations, configuration. Gives its path.
pub fn write_training(run: &Path) -> Result<PathBuf, ReportError> {
    let run = RunDir::new(run);
    let history = read_history(&run)?;
    let title = run.path().file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let svg = curves_svg(&history)?;
    let caption = format!("Training loss and validation {}.", history.metric());
    let mut sections = vec![summary(&history)];
    sections.push(Section {
        title: "Curves".into(),
        blocks: vec![Block::Figure { file: "curves.svg", caption, svg }],
        folded: false,
    });
    let validated: Vec<&HistoryRow> = history.rows().iter().filter(|row| row.mean_score.is_some()).collect();
    if !validated.is_empty() {
        sections.push(Section::new("All validations").table(scores(&history, &validated)).folded());
    }
    let config = match run.config() {
        // Folders of other programs may hold a history alone.
        path if !path.exists() => maud::html! {},
        path => html::configuration(
            &fs::read_to_string(&path).map_err(|source| ReportError::Read { path, source })?,
        ),
    };
    let page = html::page(&title, &maud::html! { (html::sections(&sections)) (config) });
    let path = run.path().join("report.html");
    atomic::write(&path, page.as_bytes())
        .map_err(|source| ReportError::Write { path: path.clone(), source })?;
    Ok(path)
}

/// The history, whatever its scores are and of which labels: the header says it.
fn read_history(run: &RunDir) -> Result<History, ReportError> {
    let path = run.history();
    if !path.is_file() {
        return Err(ReportError::NoTraining { path: run.path().to_owned() });
    }
    let format = |reason: String| ReportError::Format { path: path.clone(), reason };
    let mut reader = csv::Reader::from_path(&path).map_err(|error| format(error.to_string()))?;
    let header = reader.headers().map_err(|error| format(error.to_string()))?;
    let mut scores = header.iter().skip(BEFORE_SCORES);
    let metric = scores
        .next()
        .and_then(|name| name.strip_prefix("mean_"))
        .ok_or_else(|| format("no column of mean scores".into()))?;
    let label = |name: &str| name.strip_prefix(&format!("{metric}_")).map(str::to_owned);
    let labels: Option<Vec<String>> = scores.map(label).collect();
    let labels = labels.ok_or_else(|| format(format!("a column that is no {metric}")))?;
    Ok(History::load(&path, metric, labels)?)
}

fn summary(history: &History) -> Section {
    let section = Section::new("");
    let Some(last) = history.rows().last() else {
        return section.text("Nothing is logged yet.");
    };
    let mut points = vec![
        format!("Steps: {}", last.step),
        format!("Last loss: {:.4}", last.loss),
        format!("Last learning rate: {:.2e}", last.learning_rate),
        format!("Images a second, last: {:.1}", last.images_per_second),
    ];
    let mut validated = history.rows().iter().filter(|row| row.mean_score.is_some());
    // The first among equals, as training keeps it.
    let better = |best: Option<&'_ HistoryRow>, row: &HistoryRow| {
        best.is_none_or(|best| row.mean_score > best.mean_score)
    };
    let mut best: Option<&HistoryRow> = None;
    for row in validated.clone() {
        if better(best, row) {
            best = Some(row);
        }
    }
    let Some((best, last)) = best.zip(validated.next_back()) else {
        points.push("No validation: the last weights are the model".into());
        return section.list(points);
    };
    let mut table = scores(history, &[best, last]);
    for (row, name) in table.rows.iter_mut().zip(["best", "last"]) {
        row[0] = format!("{name}, step {}", row[0]);
    }
    section.list(points).table(table)
}

fn scores(history: &History, rows: &[&HistoryRow]) -> Grid {
    let metric = history.metric();
    let mut header = vec!["step".to_owned(), format!("mean {metric}")];
    header.extend(history.labels().iter().map(|label| format!("{metric} of {label}")));
    let score = |score: Option<f64>| score.map_or_else(|| "–".to_owned(), |score| format!("{score:.4}"));
    let cells = |row: &&HistoryRow| {
        let each = (0..history.labels().len()).map(|i| score(row.scores.get(i).copied().flatten()));
        [row.step.to_string(), score(row.mean_score)].into_iter().chain(each).collect()
    };
    Grid { header, rows: rows.iter().map(cells).collect(), words: 1 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::markup_check::elements;

    fn row(step: u64, score: Option<f64>) -> HistoryRow {
        HistoryRow {
            step,
            loss: 1.0 / step as f64,
            mean_score: score,
            scores: vec![score],
            ..HistoryRow::default()
        }
    }

    #[test]
    fn a_page_tells_the_best_and_the_last_validation_and_the_configuration() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunDir::new(dir.path());
        let mut history = History::new("auroc", vec!["enlarged_heart".into()]);
        for (step, score) in [(10, Some(0.5)), (20, Some(0.75)), (30, None), (40, Some(0.625))] {
            history.push(row(step, score));
        }
        history.save(&run.history()).unwrap();
        fs::write(run.config(), "name = \"<tiny>\"").unwrap();
        let page = fs::read_to_string(write_training(dir.path()).unwrap()).unwrap();
        assert!(elements(&page).contains(&"svg".to_owned()));
        for part in
            ["best, step 20", "0.7500", "last, step 40", "Steps: 40", "&lt;tiny&gt;", "enlarged_heart"]
        {
            assert!(page.contains(part), "{part}");
        }
    }

    #[test]
    fn a_training_without_validations_and_a_folder_without_training() {
        let dir = tempfile::tempdir().unwrap();
        let error = write_training(dir.path()).unwrap_err().to_string();
        assert!(error.contains("history.csv") && error.contains("classifier"), "{error}");
        let mut history = History::new("iou", vec!["heart".into()]);
        history.push(row(10, None));
        history.save(&RunDir::new(dir.path()).history()).unwrap();
        let page = fs::read_to_string(write_training(dir.path()).unwrap()).unwrap();
        elements(&page);
        assert!(page.contains("No validation"));
        fs::write(RunDir::new(dir.path()).history(), "a,b\n").unwrap();
        assert!(matches!(write_training(dir.path()), Err(ReportError::Format { .. })));
    }
}
