//! The page and the tables of an examination.

use std::path::Path;

use image::codecs::jpeg::JpegEncoder;
use shared::mask::{Layer, draw_outline, draw_overlay};
use shared::measure::draw_measurements;

use super::shown::Shown;
use super::{Examination, ExamineError, Examined};
use crate::report::{Block, Card, Grid, Section, gallery_page, markdown_sections};

/// Longer side of a picture on the page, pixels.
const SIDE: usize = 420;
const JPEG_QUALITY: u8 = 85;

/// Writes the page: figures, then every image that there is to look at, the worst first where experts judge.
pub fn write_page(examined: &Examined, out: &Path) -> Result<(), ExamineError> {
    let Examined { figures, manifest, .. } = examined;
    let mut sets = Vec::new();
    for (name, shown) in &examined.gallery {
        let mut cards = shown.iter().map(|shown| card(examined, shown)).collect::<Result<Vec<_>, _>>()?;
        // Those without a figure keep their order.
        cards.sort_by(|(a, ..), (b, ..)| a.unwrap_or(2.0).total_cmp(&b.unwrap_or(2.0)));
        sets.push((name.clone(), cards.into_iter().map(|(_, card)| card).collect()));
    }
    let title = format!("{} {}: what the edge agent makes of radiographs", manifest.name, manifest.version);
    let legend: Vec<(String, String)> =
        manifest.classes.iter().map(|class| (class.name.clone(), class.color.to_string())).collect();
    Ok(gallery_page(&title, &sections(figures), &legend, &sets, out)?)
}

/// The figures as Markdown, for the model card.
pub fn figures_markdown(figures: &Examination) -> String {
    markdown_sections(&sections(figures))
}

/// Mean IoU over the classes that experts drew, and the picture with words below it.
fn card(examined: &Examined, shown: &Shown) -> Result<(Option<f64>, Card), ExamineError> {
    let masks = shown.masks(&examined.labels)?;
    let layers: Vec<Layer<'_>> = masks
        .iter()
        .zip(&examined.manifest.classes)
        .map(|(mask, class)| Layer { mask, color: class.color })
        .collect();
    let mut picture = draw_overlay(&shown.image.frame, &layers, SIDE);
    for truth in shown.image.masks.iter().flatten() {
        draw_outline(&mut picture, truth);
    }
    let mut words = vec![shown.image.id.clone()];
    let judged: Vec<(&str, f64)> = shown
        .image
        .masks
        .iter()
        .zip(&masks)
        .zip(&examined.labels)
        .filter_map(|((truth, found), label)| {
            let truth = truth.as_ref()?;
            (!truth.is_empty() || !found.is_empty()).then(|| (label.as_str(), truth.iou(found)))
        })
        .collect();
    if !judged.is_empty() {
        let each: Vec<String> = judged.iter().map(|(label, iou)| format!("{label} {iou:.3}")).collect();
        words.push(format!("IoU {}", each.join(", ")));
    }
    match &shown.result {
        None => words.push("refused by the agent".into()),
        Some(result) => {
            draw_measurements(
                &mut picture,
                &result.measurements,
                (shown.image.frame.rows(), shown.image.frame.cols()),
            );
            words.extend(result.measurements.cardiothoracic_ratio.iter().map(ToString::to_string));
            let scores: Vec<String> = result
                .findings
                .iter()
                .map(|finding| format!("{} {:.2}", finding.label, finding.score))
                .collect();
            words.push(format!("scores {}", scores.join(", ")));
            let codes: Vec<&str> = shown.remarks().collect();
            if !codes.is_empty() {
                words.push(format!("remarks: {}", codes.join(", ")));
            }
        }
    }
    let mean = judged.iter().map(|(_, iou)| iou).sum::<f64>() / judged.len() as f64;
    let mut jpeg = Vec::new();
    JpegEncoder::new_with_quality(&mut jpeg, JPEG_QUALITY)
        .encode_image(&picture)
        .map_err(|source| ExamineError::Picture { path: shown.image.id.clone().into(), source })?;
    Ok((mean.is_finite().then_some(mean), (words, jpeg)))
}

fn sections(figures: &Examination) -> Vec<Section> {
    let mut sections = Vec::new();
    if figures.validation.iter().any(Option::is_some) {
        sections.push(validation(figures));
    }
    if figures.clean.iter().any(Option::is_some) {
        sections.push(stress(figures));
    }
    if let Some(ratio) = &figures.ratio {
        sections.push(Section::new("Cardiothoracic ratio").text(format!(
            "Made by `host-trainer gallery`. Against the ratio of the experts' masks on {} images of strong_test: mean absolute difference {:.4}, \
             greatest {:.3}; both agree on whether the heart is enlarged on {:.1}%. {} more had no ratio for want of a \
             lung or heart.",
            ratio.images,
            ratio.mean_error,
            ratio.worst,
            100.0 * ratio.agreement,
            ratio.missing
        )));
    }
    if !figures.remarks.is_empty() {
        sections.push(remarks(figures));
    }
    sections
}

fn validation(figures: &Examination) -> Section {
    let mut table = Grid::new(&["class", "strong_test", "strong_val"], 1);
    let cell = |iou: Option<&Option<f64>>| match iou.copied().flatten() {
        Some(iou) => format!("{iou:.4}"),
        None => "–".into(),
    };
    for (i, label) in figures.labels.iter().enumerate() {
        table.rows.push(vec![label.clone(), cell(figures.clean.get(i)), cell(figures.validation.get(i))]);
    }
    let words = "Made by `host-trainer gallery`. IoU at dataset level of the shipped graph on the edge agent. Thresholds were fitted on strong_val, so that \
                 its figures flatter; classes that strong_test lacks have no others.";
    Section::new("By class").text(words).table(table)
}

fn stress(figures: &Examination) -> Section {
    let drawn: Vec<usize> = (0..figures.labels.len()).filter(|i| figures.clean[*i].is_some()).collect();
    let mut header = vec!["strong_test", "strength"];
    header.extend(drawn.iter().map(|&class| figures.labels[class].as_str()));
    let mut table = Grid::new(&header, 2);
    let cells = |iou: &[Option<f64>], relative: bool| -> Vec<String> {
        let cell = |&class: &usize| match (iou[class], figures.clean[class]) {
            (Some(iou), Some(clean)) if relative => {
                format!("{iou:.3} ({:+.1}%)", 100.0 * (iou / clean - 1.0))
            }
            (Some(iou), _) => format!("{iou:.4}"),
            (None, _) => "–".into(),
        };
        drawn.iter().map(cell).collect()
    };
    table.rows.push([vec!["clean".into(), String::new()], cells(&figures.clean, false)].concat());
    for row in &figures.stress {
        let names = vec![row.corruption.name().to_owned(), row.strength.clone()];
        table.rows.push([names, cells(&row.iou, true)].concat());
    }
    let words = "Made by `host-trainer gallery --stress`. IoU at dataset level of the shipped graph on the edge agent, over the same images as they are and as the \
                 field might spoil them, with the change against clean ones.";
    Section::new("Under stress").text(words).table(table)
}

fn remarks(figures: &Examination) -> Section {
    let mut codes: Vec<&str> =
        figures.remarks.iter().flat_map(|row| row.codes.keys().map(String::as_str)).collect();
    codes.sort_unstable();
    codes.dedup();
    let mut header = vec!["images", "n", "refused", "any remark"];
    header.extend(&codes);
    let mut table = Grid::new(&header, 1);
    for row in &figures.remarks {
        let share = |n: usize| match n {
            0 => "·".to_owned(),
            n => format!("{:.1}%", 100.0 * n as f64 / row.images as f64),
        };
        let mut cells =
            vec![row.set.clone(), row.images.to_string(), share(row.refused), share(row.remarked)];
        cells.extend(codes.iter().map(|code| share(row.codes.get(*code).copied().unwrap_or(0))));
        table.rows.push(cells);
    }
    let words = "Made by `host-trainer gallery --folder NAME=DIR`. How often the agent remarks on an acquisition. On clean images these are false alarms, but for those \
                 that are as remarked; on spoilt ones, detections.";
    Section {
        blocks: vec![Block::Text(words.into()), Block::Table(table)],
        ..Section::new("Remarks on acquisitions")
    }
}
