use std::path::{Path, PathBuf};

use plotters::coord::Shift;
use plotters::prelude::*;

use crate::train::{History, atomic};

/// Why a picture of a history was not drawn.
#[derive(Debug, thiserror::Error)]
pub enum CurvesError {
    /// The drawing library refused.
    #[error("failed to draw {path}: {reason}")]
    Draw {
        /// The picture.
        path: PathBuf,
        /// What it said.
        reason: String,
    },
    /// The file cannot be written.
    #[error("failed to write {path}: {source}")]
    Write {
        /// The picture.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type DrawResult = Result<(), Box<dyn std::error::Error>>;

/// Draws loss (left) and validation scores by label (right) over steps as SVG.
pub fn draw_curves(history: &History, path: &Path) -> Result<(), CurvesError> {
    let svg = curves_svg(history)
        .map_err(|error| CurvesError::Draw { path: path.to_owned(), reason: error.to_string() })?;
    atomic::write(path, svg.as_bytes()).map_err(|source| CurvesError::Write { path: path.to_owned(), source })
}

/// The picture itself.
pub(super) fn curves_svg(history: &History) -> Result<String, Box<dyn std::error::Error>> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (1100, 420)).into_drawing_area();
        area.fill(&WHITE)?;
        let (left, right) = area.split_horizontally(550);
        draw_loss(history, &left)?;
        draw_scores(history, &right)?;
        area.present()?;
    }
    Ok(svg)
}

fn last_step(history: &History) -> u64 {
    history.rows().last().map_or(1, |row| row.step.max(1))
}

fn draw_loss(history: &History, area: &Area<'_>) -> DrawResult {
    let highest = history.rows().iter().map(|row| row.loss).fold(0.0, f64::max).max(1e-3);
    let mut chart = ChartBuilder::on(area)
        .caption("training loss", ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(52)
        .build_cartesian_2d(0..last_step(history), 0.0..highest * 1.05)?;
    chart.configure_mesh().x_desc("step").light_line_style(WHITE).draw()?;
    chart.draw_series(LineSeries::new(history.rows().iter().map(|row| (row.step, row.loss)), &BLUE))?;
    Ok(())
}

fn draw_scores(history: &History, area: &Area<'_>) -> DrawResult {
    let mut chart = ChartBuilder::on(area)
        .caption(format!("validation {}", history.metric()), ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(52)
        .build_cartesian_2d(0..last_step(history), 0.0..1.0_f64)?;
    chart.configure_mesh().x_desc("step").light_line_style(WHITE).draw()?;
    let validated: Vec<_> = history.rows().iter().filter(|row| row.mean_score.is_some()).collect();
    for (i, label) in history.labels().iter().enumerate() {
        let color = Palette99::pick(i).to_rgba();
        let points = validated.iter().filter_map(|row| Some((row.step, (*row.scores.get(i)?)?)));
        chart
            .draw_series(LineSeries::new(points, color.stroke_width(2)))?
            .label(label)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], color.stroke_width(2)));
    }
    let position = SeriesLabelPosition::LowerRight;
    chart.configure_series_labels().position(position).border_style(BLACK).background_style(WHITE).draw()?;
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
