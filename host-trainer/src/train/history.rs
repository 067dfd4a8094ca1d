use std::path::{Path, PathBuf};

use super::atomic;

/// One line of the history: means since the line before, and a validation where one was made.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HistoryRow {
    /// Steps done.
    pub step: u64,
    /// Mean training loss.
    pub loss: f64,
    /// Learning rate of the last step.
    pub learning_rate: f64,
    /// Mean norm of the gradient before clipping.
    pub grad_norm: f64,
    /// Images a second.
    pub images_per_second: f64,
    /// Mean over labels of the score on validation.
    pub mean_score: Option<f64>,
    /// The same by label.
    pub scores: Vec<Option<f64>>,
}

/// The course of a training, kept as CSV.
#[derive(Clone, Debug, PartialEq)]
pub struct History {
    metric: String,
    labels: Vec<String>,
    rows: Vec<HistoryRow>,
}

/// Why a history cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The file cannot be read or written.
    #[error(
        "failed to access {path}: {source}; check free space and permissions, then go on from the last checkpoint"
    )]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Not a history of these classes.
    #[error("{path} is no history of this training: {reason}; move it away")]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

const COLUMNS: [&str; 5] = ["step", "loss", "learning_rate", "grad_norm", "images_per_second"];

impl History {
    /// An empty history of a training whose validations give a score of this name for each label.
    pub fn new(metric: &str, labels: Vec<String>) -> Self {
        Self { metric: metric.to_owned(), labels, rows: Vec::new() }
    }

    /// What the scores are: `iou` or `auroc`.
    pub fn metric(&self) -> &str {
        &self.metric
    }

    /// What each score is of.
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// All lines.
    pub fn rows(&self) -> &[HistoryRow] {
        &self.rows
    }

    /// Appends a line.
    pub fn push(&mut self, row: HistoryRow) {
        self.rows.push(row);
    }

    /// Forgets what came after `step`, which a resumed training does again.
    pub fn truncate(&mut self, step: u64) {
        self.rows.retain(|row| row.step <= step);
    }

    fn header(&self) -> Vec<String> {
        let metric = &self.metric;
        let scores = self.labels.iter().map(|label| format!("{metric}_{label}"));
        let mean = std::iter::once(format!("mean_{metric}"));
        COLUMNS.iter().map(ToString::to_string).chain(mean).chain(scores).collect()
    }

    /// Writes the CSV atomically; an empty field: no validation at that step.
    pub fn save(&self, path: &Path) -> Result<(), HistoryError> {
        let optional = |v: &Option<f64>| v.map_or_else(String::new, |v| v.to_string());
        let mut text = self.header().join(",") + "\n";
        for row in &self.rows {
            let mut fields: Vec<String> = vec![row.step.to_string()];
            let numbers = [row.loss, row.learning_rate, row.grad_norm, row.images_per_second];
            fields.extend(numbers.iter().map(ToString::to_string));
            fields.push(optional(&row.mean_score));
            fields
                .extend((0..self.labels.len()).map(|i| row.scores.get(i).map_or_else(String::new, optional)));
            text += &(fields.join(",") + "\n");
        }
        atomic::write(path, text.as_bytes())
            .map_err(|source| HistoryError::Io { path: path.to_owned(), source })
    }

    /// Reads a CSV of the same classes.
    pub fn load(path: &Path, metric: &str, labels: Vec<String>) -> Result<Self, HistoryError> {
        let mut history = Self::new(metric, labels);
        let foreign = |reason: String| HistoryError::Foreign { path: path.to_owned(), reason };
        let bytes =
            std::fs::read(path).map_err(|source| HistoryError::Io { path: path.to_owned(), source })?;
        let mut reader = csv::Reader::from_reader(bytes.as_slice());
        let header = reader.headers().map_err(|error| foreign(error.to_string()))?;
        if header.iter().ne(history.header()) {
            return Err(foreign("its columns are others".into()));
        }
        for record in reader.records() {
            let record = record.map_err(|error| foreign(error.to_string()))?;
            let number =
                |i: usize| record[i].parse::<f64>().map_err(|_| foreign(format!("\"{}\"", &record[i])));
            let optional = |i: usize| if record[i].is_empty() { Ok(None) } else { number(i).map(Some) };
            let row = HistoryRow {
                step: record[0].parse().map_err(|_| foreign(format!("\"{}\" is no step", &record[0])))?,
                loss: number(1)?,
                learning_rate: number(2)?,
                grad_norm: number(3)?,
                images_per_second: number(4)?,
                mean_score: optional(COLUMNS.len())?,
                scores: (COLUMNS.len() + 1..record.len()).map(optional).collect::<Result<_, _>>()?,
            };
            history.push(row);
        }
        Ok(history)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn csv_round_trip_and_truncation() {
        let mut history = History::new("iou", vec!["a".into(), "b".into()]);
        let row = |step, mean_score| HistoryRow {
            step,
            loss: 0.1 + step as f64,
            learning_rate: 1e-3,
            grad_norm: 2.5,
            images_per_second: 3.0,
            mean_score,
            scores: vec![mean_score, None],
        };
        history.push(row(10, None));
        history.push(row(20, Some(0.5)));
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("history.csv");
        history.save(&path).unwrap();
        let mut read = History::load(&path, "iou", vec!["a".into(), "b".into()]).unwrap();
        assert_eq!(read, history);
        read.truncate(10);
        assert_eq!(read.rows().len(), 1);
        assert!(History::load(&path, "iou", vec!["a".into()]).is_err());
    }
}
