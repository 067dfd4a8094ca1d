//! Pages that need no other file: style, plots and pictures are in them.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::ReportError;
use super::document::{Block, Grid, Section};

const STYLE: &str = include_str!("page.css");

/// A whole page.
pub(super) fn page(title: &str, body: &Markup) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { (title) }
                (body)
            }
        }
    };
    page.into_string()
}

/// Sections, one after another.
pub(super) fn sections(sections: &[Section]) -> Markup {
    html! {
        @for section in sections {
            @if section.folded {
                (folded(&section.title, &blocks(&section.blocks)))
            } @else {
                section {
                    @if !section.title.is_empty() { h2 { (section.title) } }
                    (blocks(&section.blocks))
                }
            }
        }
    }
}

/// Something that is shown when asked for.
pub(super) fn folded(title: &str, body: &Markup) -> Markup {
    html! { details { summary { (title) } (body) } }
}

/// The configuration, as it was.
pub(super) fn configuration(toml: &str) -> Markup {
    folded("Configuration", &html! { pre { code { (toml) } } })
}

/// A PNG file as a part of the page.
pub(super) fn picture(path: &Path, alt: &str) -> Result<Markup, ReportError> {
    let bytes = std::fs::read(path).map_err(|source| ReportError::Read { path: path.to_owned(), source })?;
    Ok(embedded("image/png", &bytes, alt))
}

/// A picture of this media type as a part of the page.
pub(super) fn embedded(media: &str, bytes: &[u8], alt: &str) -> Markup {
    let data = format!("data:{media};base64,{}", STANDARD.encode(bytes));
    html! { img src=(data) alt=(alt); }
}

fn blocks(blocks: &[Block]) -> Markup {
    html! {
        @for block in blocks {
            @match block {
                Block::Text(words) => p { (words) },
                Block::List(points) => ul { @for point in points { li { (point) } } },
                Block::Table(grid) => (table(grid)),
                Block::Figure { caption, svg, .. } => figure { (PreEscaped(svg)) figcaption { (caption) } },
            }
        }
    }
}

fn table(grid: &Grid) -> Markup {
    let class = |i: usize| (i >= grid.words).then_some("number");
    html! {
        div.scroll {
            table {
                thead { tr { @for (i, cell) in grid.header.iter().enumerate() { th class=[class(i)] { (cell) } } } }
                tbody {
                    @for row in &grid.rows {
                        tr { @for (i, cell) in row.iter().enumerate() { td class=[class(i)] { (cell) } } }
                    }
                }
            }
        }
    }
}
