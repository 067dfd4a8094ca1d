use plotters::prelude::*;

use super::panels;
use crate::report::ReportError;
use crate::report::chart::{Area, DrawResult, Key, around, color, draw_legend, draw_svg, legend_height};
use crate::report::study::view::View;
use crate::train::History;

const PANEL: (u32, u32) = (520, 340);

/// One training: its arm's place, none for what no arm alone owns, and its course.
type Run<'a> = (Option<usize>, &'a History);

/// One panel: its title and the line of each training.
struct Panel {
    title: String,
    lines: Vec<(RGBColor, Vec<(u64, f64)>)>,
    bounds: (f64, f64),
}

/// Loss and validation IoU of all segmenters, and validation AUROC of classifiers, over steps.
pub(in crate::report::study) fn curves(view: &View<'_>) -> Result<Option<String>, ReportError> {
    let runs: Vec<Run<'_>> = view.results.histories.iter().map(|(name, h)| (arm_of(view, name), h)).collect();
    let (classifiers, segmenters): (Vec<&Run<'_>>, Vec<&Run<'_>>) =
        runs.iter().partition(|(_, history)| history.metric() == "auroc");
    let every = |_: f64| true;
    let panels_of = [
        Panel::new("training loss of segmenters", &segmenters, (0.0, f64::MAX), |row| Some(row.loss)),
        Panel::new("validation IoU of segmenters, mean", &segmenters, (0.0, 1.0), |row| row.mean_score),
        Panel::new("validation AUROC of classifiers, mean", &classifiers, (0.0, 1.0), |row| row.mean_score),
    ];
    let drawn: Vec<Panel> = panels_of.into_iter().filter(|panel| panel.points().any(every)).collect();
    if drawn.is_empty() {
        return Ok(None);
    }
    let arms = view.results.study.arms.iter().enumerate();
    let mut keys: Vec<Key> =
        arms.map(|(i, arm)| Key { label: arm.name.clone(), color: color(i), dashed: false }).collect();
    if runs.iter().any(|(arm, _)| arm.is_none()) {
        keys.push(Key { label: "phantoms, classifiers".into(), color: SHARED, dashed: false });
    }
    let columns = drawn.len().min(2);
    let (width, height) = (PANEL.0 * columns as u32, PANEL.1 * drawn.len().div_ceil(columns) as u32);
    let legend = legend_height(&keys, width);
    let svg = draw_svg("curves.svg", (width, height + legend), |area| {
        let (upper, lower) = area.split_vertically(height);
        for (panel, area) in drawn.iter().zip(panels(&upper, drawn.len(), columns)) {
            panel.draw(&area)?;
        }
        draw_legend(&keys, &lower)
    })?;
    Ok(Some(svg))
}

/// Colour of trainings that several arms share.
const SHARED: RGBColor = RGBColor(0x99, 0x99, 0x99);

/// The place of the arm that a step trains a segmenter of.
fn arm_of(view: &View<'_>, step: &str) -> Option<usize> {
    let tag = step.strip_prefix("segmenter-")?;
    let study = &view.results.study;
    study.arms.iter().position(|arm| {
        let budgets = study.budgets_of(arm);
        budgets.iter().any(|&budget| view.runs(&arm.name, budget).iter().any(|(_, own)| own == tag))
    })
}

impl Panel {
    fn new(
        title: &str,
        runs: &[&Run<'_>],
        bounds: (f64, f64),
        value: impl Fn(&crate::train::HistoryRow) -> Option<f64>,
    ) -> Self {
        let line = |(arm, history): &&Run<'_>| {
            let points = history.rows().iter().filter_map(|row| Some((row.step, value(row)?)));
            (arm.map_or(SHARED, color), points.filter(|(_, y)| y.is_finite()).collect())
        };
        Self { title: title.to_owned(), lines: runs.iter().map(line).collect(), bounds }
    }

    fn points(&self) -> impl Iterator<Item = f64> {
        self.lines.iter().flat_map(|(_, points)| points.iter().map(|(_, y)| *y))
    }

    fn draw(&self, area: &Area<'_>) -> DrawResult {
        let steps = self.lines.iter().filter_map(|(_, points)| points.last().map(|(step, _)| *step));
        let mut chart = ChartBuilder::on(area)
            .caption(&self.title, ("sans-serif", 16))
            .margin(10)
            .x_label_area_size(36)
            .y_label_area_size(50)
            .build_cartesian_2d(0..steps.max().unwrap_or(1).max(1), around(self.points(), self.bounds))?;
        chart
            .configure_mesh()
            .light_line_style(WHITE)
            .x_desc("step")
            .x_labels(6)
            .y_labels(6)
            .y_label_formatter(&|y| format!("{y:.2}"))
            .draw()?;
        for (color, points) in &self.lines {
            chart.draw_series(LineSeries::new(points.iter().copied(), color.stroke_width(1)))?;
        }
        Ok(())
    }
}
