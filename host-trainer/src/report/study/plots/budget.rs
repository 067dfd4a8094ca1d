use plotters::coord::ranged1d::Ranged as _;
use plotters::prelude::*;

use super::{Places, panels};
use crate::evaluate::{ALL_SOURCES, Interval, Measure, Protocol};
use crate::pipeline::Cell;
use crate::report::ReportError;
use crate::report::chart::{Area, DrawResult, Key, around, color, draw_legend, draw_svg, legend_height};
use crate::report::study::view::View;
use crate::report::study::words::budget_label;

const PANEL: (u32, u32) = (370, 300);
const COLUMNS: usize = 3;
/// Distance between arms at one budget, as a share of that between budgets: whiskers stay apart.
const DODGE: f64 = 0.05;
/// Room beside the first and the last budget, as such a share.
const ROOM: f64 = 0.4;

/// IoU at dataset level over the number of expert masks, a panel a class. Arms without expert masks are dashed lines.
pub(in crate::report::study) fn iou_vs_budget(view: &View<'_>) -> Result<Option<String>, ReportError> {
    let classes = view.classes();
    if classes.is_empty() {
        return Ok(None);
    }
    let arms = &view.results.study.arms;
    let keys: Vec<Key> = arms
        .iter()
        .enumerate()
        .map(|(i, arm)| Key { label: arm.name.clone(), color: color(i), dashed: !arm.strong })
        .collect();
    let columns = classes.len().min(COLUMNS);
    let width = (PANEL.0 * columns as u32).max(2 * PANEL.0);
    let height = PANEL.1 * classes.len().div_ceil(columns) as u32;
    let legend = legend_height(&keys, width);
    let svg = draw_svg("iou-vs-budget.svg", (width, height + legend), |area| {
        let (upper, lower) = area.split_vertically(height);
        for (class, panel) in classes.iter().zip(panels(&upper, classes.len(), columns)) {
            draw_class(view, class, &panel)?;
        }
        draw_legend(&keys, &lower)
    })?;
    Ok(Some(svg))
}

fn draw_class(view: &View<'_>, class: &str, area: &Area<'_>) -> DrawResult {
    let budgets: Vec<usize> = view.budgets().into_iter().filter(|budget| *budget > 0).collect();
    let own = view.results.cells.iter().filter(|cell| {
        (cell.source.as_str(), cell.class.as_str()) == (ALL_SOURCES, class)
            && (cell.protocol, cell.measure) == (Protocol::Dataset, Measure::Iou)
    });
    let ends = own.flat_map(|cell| {
        let Interval { value, .. } = cell.interval;
        [value - cell.spread, value + cell.spread]
    });
    let x = Places::new(budgets.len(), ROOM);
    let right = x.range().end;
    let mut chart = ChartBuilder::on(area)
        .caption(class, ("sans-serif", 16))
        .margin(10)
        .x_label_area_size(36)
        .y_label_area_size(50)
        .build_cartesian_2d(x, around(ends, (0.0, 1.0)))?;
    let name = |x: &f64| budgets.get(x.round() as usize).map_or_else(String::new, |b| budget_label(*b));
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .x_desc("expert masks")
        .y_desc("IoU, dataset level")
        .x_label_formatter(&name)
        .y_label_formatter(&|y| format!("{y:.2}"))
        .y_labels(8)
        .draw()?;
    let arms = &view.results.study.arms;
    // Arms with expert masks stand side by side at each budget; the others' whiskers at the right border.
    let sides = [false, true].map(|strong| arms.iter().filter(|arm| arm.strong == strong).count());
    for (i, arm) in arms.iter().enumerate() {
        let side = sides[usize::from(arm.strong)];
        let before = arms[..i].iter().filter(|other| other.strong == arm.strong).count();
        let shift = (before as f64 - (side - 1) as f64 / 2.0) * DODGE.min(0.5 / side as f64);
        let style = color(i).stroke_width(2);
        let cell = |budget: usize| view.iou(&arm.name, budget, class, Protocol::Dataset);
        if !arm.strong {
            if let Some(cell) = cell(0) {
                let y = cell.interval.value;
                let ends = [(-ROOM, y), (right, y)];
                chart.draw_series(DashedLineSeries::new(ends, 6, 5, style))?;
                chart.draw_series(whisker(right - 0.15 + shift, cell).map(|path| path_of(path, i)))?;
            }
            continue;
        }
        let points: Vec<(f64, &Cell)> = budgets
            .iter()
            .enumerate()
            .filter_map(|(at, &budget)| Some((at as f64 + shift, cell(budget)?)))
            .collect();
        chart.draw_series(LineSeries::new(points.iter().map(|(x, c)| (*x, c.interval.value)), style))?;
        for (x, cell) in points {
            chart.draw_series([Circle::new((x, cell.interval.value), 3, color(i).filled())])?;
            chart.draw_series(whisker(x, cell).map(|path| path_of(path, i)))?;
        }
    }
    Ok(())
}

/// From one standard deviation over seeds below to one above, with caps; nothing where there is one seed.
fn whisker(x: f64, cell: &Cell) -> impl Iterator<Item = [(f64, f64); 2]> {
    let (low, high) = (cell.interval.value - cell.spread, cell.interval.value + cell.spread);
    let cap = 0.02;
    let parts = [[(x, low), (x, high)], [(x - cap, low), (x + cap, low)], [(x - cap, high), (x + cap, high)]];
    parts.into_iter().filter(move |_| low < high)
}

fn path_of(points: [(f64, f64); 2], arm: usize) -> PathElement<(f64, f64)> {
    PathElement::new(points, color(arm).stroke_width(1))
}
