use std::path::{Path, PathBuf};

use plotters::prelude::*;

use super::ReportError;
use super::chart::{Area, DrawResult, Key, around, color, draw_legend, draw_svg, legend_height};
use crate::train::{History, atomic};

/// Why a picture of a history was not drawn.
#[derive(Debug, thiserror::Error)]
pub enum CurvesError {
    /// The drawing library refused.
    #[error("{path}: {source}")]
    Draw {
        /// The picture.
        path: PathBuf,
        /// What it said.
        source: Box<ReportError>,
    },
    /// The file cannot be written.
    #[error("failed to write {path}: {source}; check free space and permissions")]
    Write {
        /// The picture.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// Draws loss (left) and validation scores by label (right) over steps as SVG.
pub fn draw_curves(history: &History, path: &Path) -> Result<(), CurvesError> {
    let svg = curves_svg(history)
        .map_err(|error| CurvesError::Draw { path: path.to_owned(), source: Box::new(error) })?;
    atomic::write(path, svg.as_bytes()).map_err(|source| CurvesError::Write { path: path.to_owned(), source })
}

/// Width, and height above the legend, pixels.
const SIZE: (u32, u32) = (1100, 420);

/// The picture itself.
pub(super) fn curves_svg(history: &History) -> Result<String, ReportError> {
    let labels = history.labels().iter().enumerate();
    let keys: Vec<Key> =
        labels.map(|(i, label)| Key { label: label.clone(), color: color(i), dashed: false }).collect();
    draw_svg("curves", (SIZE.0, SIZE.1 + legend_height(&keys, SIZE.0)), |area| {
        let (upper, lower) = area.split_vertically(SIZE.1);
        let (left, right) = upper.split_horizontally(SIZE.0 / 2);
        draw_loss(history, &left)?;
        draw_scores(history, &right)?;
        draw_legend(&keys, &lower)
    })
}

fn draw_loss(history: &History, area: &Area<'_>) -> DrawResult {
    let points =
        || history.rows().iter().map(|row| (row.step, row.loss)).filter(|(_, loss)| loss.is_finite());
    let range = around(points().map(|(_, loss)| loss), (0.0, f64::MAX));
    draw_lines("training loss", history, range, std::iter::once((BLACK, points().collect())), area)
}

fn draw_scores(history: &History, area: &Area<'_>) -> DrawResult {
    let of_label = |i: usize| {
        let validated = history.rows().iter().filter(|row| row.mean_score.is_some());
        (color(i), validated.filter_map(|row| Some((row.step, (*row.scores.get(i)?)?))).collect())
    };
    let title = format!("validation {}", history.metric());
    draw_lines(&title, history, 0.0..1.0, (0..history.labels().len()).map(of_label), area)
}

fn draw_lines(
    title: &str,
    history: &History,
    range: std::ops::Range<f64>,
    lines: impl Iterator<Item = (RGBColor, Vec<(u64, f64)>)>,
    area: &Area<'_>,
) -> DrawResult {
    let last_step = history.rows().last().map_or(1, |row| row.step.max(1));
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(52)
        .build_cartesian_2d(0..last_step, range)?;
    chart.configure_mesh().x_desc("step").light_line_style(WHITE).draw()?;
    for (color, points) in lines {
        chart.draw_series(LineSeries::new(points, color.stroke_width(2)))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::HistoryRow;

    #[test]
    fn curves_name_the_classes_and_an_empty_history_draws() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("curves.svg");
        let mut history = History::new("iou", vec!["left_lung".into()]);
        draw_curves(&history, &path).unwrap();
        for step in [10, 20] {
            history.push(HistoryRow {
                step,
                loss: 1.0 / step as f64,
                mean_score: Some(0.5),
                scores: vec![Some(0.5)],
                ..HistoryRow::default()
            });
        }
        draw_curves(&history, &path).unwrap();
        let svg = std::fs::read_to_string(&path).unwrap();
        assert!(svg.contains("left_lung") && svg.contains("<polyline"));
    }
}
