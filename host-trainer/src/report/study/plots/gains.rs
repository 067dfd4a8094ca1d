use plotters::prelude::*;

use super::Places;
use crate::evaluate::{Bounds, Interval, Protocol};
use crate::pipeline::{Comparison, paper_marks};
use crate::report::ReportError;
use crate::report::chart::{Area, DrawResult, Key, around, color, draw_legend, draw_svg, legend_height};
use crate::report::study::gains::with_budget;
use crate::report::study::view::{Kind, View};

const WIDTH: u32 = 980;
/// Height of a comparison, pixels.
const ROW: u32 = 18;
/// Height of a panel's title and axis, pixels.
const FRAME: u32 = 88;

/// One panel.
struct Group<'a> {
    title: &'static str,
    mark: Option<f64>,
    rows: Vec<(&'a Comparison, Interval)>,
}

/// Relative gains in IoU at dataset level with their intervals: a panel for each kind of comparison, with the paper's
/// mark where it has one.
pub(in crate::report::study) fn gains(view: &View<'_>) -> Result<Option<String>, ReportError> {
    let [over_experts, over_pseudo] = paper_marks();
    let kinds = [
        (Kind::OverExperts, "gain over expert masks alone", Some(over_experts)),
        (Kind::OverPseudo, "gain over pseudo-masks alone", Some(over_pseudo)),
        (Kind::OverHelped, "gain over other arms without expert masks", None),
        (Kind::WithoutExperts, "no expert masks against expert masks alone", None),
    ];
    let headlines = view.headlines(Protocol::Dataset);
    let groups: Vec<Group<'_>> = kinds
        .into_iter()
        .map(|(kind, title, mark)| {
            let own = headlines.iter().filter(|c| view.kind(c) == kind);
            Group { title, mark, rows: own.filter_map(|c| Some((*c, c.paired.relative?))).collect() }
        })
        .filter(|group| !group.rows.is_empty())
        .collect();
    if groups.is_empty() {
        return Ok(None);
    }
    let arms = view.results.study.arms.iter().enumerate();
    let shown = arms.filter(|(_, arm)| headlines.iter().any(|c| c.arm == arm.name));
    let mut keys: Vec<Key> =
        shown.map(|(i, arm)| Key { label: arm.name.clone(), color: color(i), dashed: false }).collect();
    keys.push(Key { label: "the paper's mark".into(), color: MARK, dashed: true });
    let heights: Vec<u32> = groups.iter().map(|group| group.rows.len() as u32 * ROW + FRAME).collect();
    let legend = legend_height(&keys, WIDTH);
    let svg = draw_svg("gains.svg", (WIDTH, heights.iter().sum::<u32>() + legend), |area| {
        let mut rest = area.clone();
        for (group, height) in groups.iter().zip(&heights) {
            let (upper, lower) = rest.split_vertically(*height);
            group.draw(view, &upper)?;
            rest = lower;
        }
        draw_legend(&keys, &rest)
    })?;
    Ok(Some(svg))
}

const MARK: RGBColor = RGBColor(0xb0, 0x00, 0x20);

impl Group<'_> {
    fn draw(&self, view: &View<'_>, area: &Area<'_>) -> DrawResult {
        let n = self.rows.len();
        let ends = self.rows.iter().flat_map(|(_, gain)| {
            let bounds = gain.bounds.map(|Bounds { low, high, .. }| [low, high]);
            bounds.into_iter().flatten().chain([gain.value])
        });
        let ends = ends.chain(self.mark).chain([0.0]).map(|share| share * 100.0);
        let last = n as f64 - 1.0;
        let y = Places::new(n, 0.6);
        let mut chart = ChartBuilder::on(area)
            .caption(self.title, ("sans-serif", 16))
            .margin(10)
            .x_label_area_size(36)
            .y_label_area_size(400)
            .build_cartesian_2d(around(ends, (-100.0, f64::MAX)), y)?;
        // The first comparison stands on top.
        let name = |y: &f64| {
            let row = self.rows.get((last - y).round() as usize);
            row.map_or_else(String::new, |(c, _)| {
                let (arm, other) = (with_budget(&c.arm, c.budget), with_budget(&c.against, c.against_budget));
                format!("{arm} vs {other} ({})", c.class)
            })
        };
        chart
            .configure_mesh()
            .disable_y_mesh()
            .light_line_style(WHITE)
            .x_desc("relative gain in IoU, dataset level, with 95% interval")
            .x_label_formatter(&|x| format!("{x:+.0}%"))
            .x_labels(8)
            .y_label_formatter(&name)
            .draw()?;
        let (bottom, top) = (-0.6, last + 0.6);
        chart.draw_series([PathElement::new([(0.0, bottom), (0.0, top)], BLACK.stroke_width(1))])?;
        if let Some(mark) = self.mark {
            let ends = [(mark * 100.0, bottom), (mark * 100.0, top)];
            chart.draw_series(DashedLineSeries::new(ends, 6, 5, MARK.stroke_width(1)))?;
        }
        for (i, (c, gain)) in self.rows.iter().enumerate() {
            let (y, color) = (last - i as f64, color(view.place(&c.arm)));
            let line = |Bounds { low, high, .. }: Bounds| {
                PathElement::new([(low * 100.0, y), (high * 100.0, y)], color.stroke_width(2))
            };
            chart.draw_series(gain.bounds.map(line))?;
            chart.draw_series([Circle::new((gain.value * 100.0, y), 4, color.filled())])?;
        }
        Ok(())
    }
}
