//! What the validation images said about the networks of one arm.

use plotters::prelude::*;

use super::panels;
use crate::evaluate::{ClassReliability, ReliabilityBin, ThresholdCurve};
use crate::report::ReportError;
use crate::report::chart::{Area, DrawResult, Key, around, color, draw_legend, draw_svg, legend_height};

const PANEL: (u32, u32) = (360, 310);
const COLUMNS: usize = 3;

/// A training's name for people, with what its evaluation left.
type Named<T> = (String, Vec<T>);

/// IoU over the threshold, a panel a class and a line a training; the chosen thresholds are dots.
pub(in crate::report::study) fn thresholds(
    runs: &[Named<ThresholdCurve>],
) -> Result<Option<String>, ReportError> {
    let labels = labels(runs, |curve| &curve.label);
    let draw = |label: &str, area: &Area<'_>| -> DrawResult {
        let own = || lines(runs, label, |curve: &ThresholdCurve| &curve.label);
        let figures = own().flat_map(|(_, curve)| curve.points.iter().map(|(_, iou)| *iou));
        let mut chart = ChartBuilder::on(area)
            .caption(label, ("sans-serif", 16))
            .margin(10)
            .x_label_area_size(36)
            .y_label_area_size(50)
            .build_cartesian_2d(0.0..1.0_f32, around(figures, (0.0, 1.0)))?;
        chart
            .configure_mesh()
            .light_line_style(WHITE)
            .x_desc("threshold")
            .y_desc("IoU on validation images")
            .x_labels(6)
            .y_labels(6)
            .x_label_formatter(&|x| format!("{x:.1}"))
            .y_label_formatter(&|y| format!("{y:.2}"))
            .draw()?;
        for (i, curve) in own() {
            chart.draw_series(LineSeries::new(curve.points.iter().copied(), color(i).stroke_width(2)))?;
            let chosen = curve.points.iter().filter(|(threshold, _)| *threshold == curve.chosen);
            chart.draw_series(chosen.map(|point| Circle::new(*point, 4, color(i).filled())))?;
        }
        Ok(())
    };
    grid("thresholds.svg", runs, &labels, draw)
}

/// Observed share over predicted probability, a panel a class and a line a training.
pub(in crate::report::study) fn reliability(
    runs: &[Named<ClassReliability>],
) -> Result<Option<String>, ReportError> {
    let labels = labels(runs, |class| &class.label);
    let draw = |label: &str, area: &Area<'_>| -> DrawResult {
        let mut chart = ChartBuilder::on(area)
            .caption(label, ("sans-serif", 16))
            .margin(10)
            .x_label_area_size(36)
            .y_label_area_size(50)
            .build_cartesian_2d(0.0..1.0, 0.0..1.0)?;
        chart
            .configure_mesh()
            .light_line_style(WHITE)
            .x_desc("mean probability of pixels")
            .y_desc("share that are in the mask")
            .x_labels(6)
            .y_labels(6)
            .x_label_formatter(&|x| format!("{x:.1}"))
            .y_label_formatter(&|y| format!("{y:.1}"))
            .draw()?;
        let diagonal = DashedLineSeries::new([(0.0, 0.0), (1.0, 1.0)], 5, 5, BLACK.mix(0.5).stroke_width(1));
        chart.draw_series(diagonal)?;
        for (i, class) in lines(runs, label, |class: &ClassReliability| &class.label) {
            let point = |bin: &ReliabilityBin| Some((bin.confidence?, bin.observed?));
            let points: Vec<(f64, f64)> = class.calibration.bins.iter().filter_map(point).collect();
            chart.draw_series(LineSeries::new(points.iter().copied(), color(i).stroke_width(2)))?;
            chart.draw_series(points.iter().map(|point| Circle::new(*point, 3, color(i).filled())))?;
        }
        Ok(())
    };
    grid("reliability.svg", runs, &labels, draw)
}

/// All labels, in the order in which they first stand there.
fn labels<T>(runs: &[Named<T>], label: fn(&T) -> &String) -> Vec<String> {
    let mut labels: Vec<String> = Vec::new();
    for entry in runs.iter().flat_map(|(_, entries)| entries) {
        if !labels.contains(label(entry)) {
            labels.push(label(entry).clone());
        }
    }
    labels
}

/// The entry of one label of each training, with the training's place.
fn lines<'a, T>(
    runs: &'a [Named<T>],
    wanted: &'a str,
    label: fn(&T) -> &String,
) -> impl Iterator<Item = (usize, &'a T)> {
    runs.iter()
        .enumerate()
        .flat_map(|(i, (_, entries))| entries.iter().map(move |entry| (i, entry)))
        .filter(move |(_, entry)| label(entry) == wanted)
}

fn grid<T>(
    what: &str,
    runs: &[Named<T>],
    labels: &[String],
    draw: impl Fn(&str, &Area<'_>) -> DrawResult,
) -> Result<Option<String>, ReportError> {
    if labels.is_empty() {
        return Ok(None);
    }
    let named = runs.iter().enumerate();
    let keys: Vec<Key> =
        named.map(|(i, (name, _))| Key { label: name.clone(), color: color(i), dashed: false }).collect();
    let columns = labels.len().min(COLUMNS);
    let (width, height) = (PANEL.0 * columns as u32, PANEL.1 * labels.len().div_ceil(columns) as u32);
    let legend = legend_height(&keys, width);
    let svg = draw_svg(what, (width, height + legend), |area| {
        let (upper, lower) = area.split_vertically(height);
        for (label, panel) in labels.iter().zip(panels(&upper, labels.len(), columns)) {
            draw(label, &panel)?;
        }
        draw_legend(&keys, &lower)
    })?;
    Ok(Some(svg))
}
