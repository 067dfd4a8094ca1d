//! `index.html`.

use std::fs;
use std::path::{Path, PathBuf};

use maud::{DOCTYPE, Markup, PreEscaped, html};
use shared::manifest::Manifest;
use shared::mask::Rgb;

use super::DemoError;
use super::follow::{Entry, Outcome};
use super::picture::{Drawn, Row};
use super::table::{latency, percent};

const STYLE: &str = include_str!("page.css");

/// Writes the page and returns its path.
pub(super) fn write(out: &Path, manifest: &Manifest, entries: &[Entry]) -> Result<PathBuf, DemoError> {
    let path = out.join("index.html");
    let text = page(manifest, entries).into_string();
    fs::write(&path, text).map_err(|source| DemoError::Out { path: path.clone(), source })?;
    Ok(path)
}

fn page(manifest: &Manifest, entries: &[Entry]) -> Markup {
    let results = entries.iter().filter(|e| e.outcome.is_result()).count();
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "CheXseg Edge: " (results) " radiographs" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    h1 { "CheXseg Edge" }
                    p { (manifest.description) }
                    p.warning { "Research software. Not a medical device: not for diagnosis." }
                    dl {
                        dt { "Model" } dd { (manifest.name) " " (manifest.version) }
                        dt { "SHA-256" } dd.digest { (manifest.graph.sha256) }
                        dt { "Radiographs" } dd { (results) " of " (entries.len()) " with a result" }
                    }
                    ul.legend {
                        @for class in &manifest.classes { li { (swatch(class.color)) (class.name) } }
                    }
                }
                main { @for entry in entries { (card(entry)) } }
            }
        }
    }
}

fn card(entry: &Entry) -> Markup {
    html! {
        article {
            h2 { (entry.number) ". " (entry.title) }
            @match &entry.outcome {
                Outcome::Result(drawn) => (result(drawn)),
                Outcome::SetAside(reason) => p.reason { "Set aside: " (reason) },
                Outcome::Missing => p.reason { "Neither a result nor a reason came in time." },
            }
        }
    }
}

fn result(drawn: &Drawn) -> Markup {
    let with_truth = drawn.rows.iter().any(|row| row.iou.is_some());
    html! {
        div.pictures {
            a href=(drawn.input) { img src=(drawn.input) alt="radiograph" loading="lazy"; }
            a href=(drawn.overlay) { img src=(drawn.overlay) alt="radiograph with masks" loading="lazy"; }
        }
        table {
            thead {
                tr {
                    th { "Finding" } th { "Score" } th { "Area" } th { "Share" }
                    @if with_truth { th title="intersection over union with the phantom's exact mask" { "IoU" } }
                }
            }
            tbody { @for row in &drawn.rows { (line(row, with_truth)) } }
        }
        @if let Some(ratio) = &drawn.envelope.measurements.cardiothoracic_ratio { p.note { (ratio) } }
        @for note in &drawn.envelope.quality { p.note { (note.code) ": " (note.message) } }
        p.latency { (latency(drawn)) }
    }
}

fn line(row: &Row, with_truth: bool) -> Markup {
    html! {
        tr {
            td { (swatch(row.color)) (row.name) }
            td { (format!("{:.2}", row.finding.score)) }
            td { (row.finding.area_px) " px" }
            td { (percent(row.finding.area_fraction)) }
            @if with_truth { td { @if let Some(iou) = row.iou { (format!("{iou:.3}")) } @else { "–" } } }
        }
    }
}

fn swatch(color: Rgb) -> Markup {
    html! { span.swatch style=(format!("background:{color}")) {} }
}
