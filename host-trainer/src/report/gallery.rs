use std::path::Path;

use maud::html;

use super::document::Section;
use super::{ReportError, html as parts};
use crate::train::atomic;

/// Lines of words and a JPEG file.
pub(crate) type Card = (Vec<String>, Vec<u8>);

/// Writes a page of figures and pictures, set by set, each with its words below.
pub(crate) fn gallery_page(
    title: &str,
    sections: &[Section],
    legend: &[(String, String)],
    sets: &[(String, Vec<Card>)],
    out: &Path,
) -> Result<(), ReportError> {
    let body = html! {
        (parts::sections(sections))
        p { "White: what experts drew." }
        ul.legend {
            @for (name, color) in legend {
                li { span.swatch style=(format!("background:{color}")) {} (name) }
            }
        }
        @for (name, cards) in sets {
            section {
                h2 { (name) " (" (cards.len()) ")" }
                div.pictures {
                    @for (words, jpeg) in cards {
                        figure {
                            (parts::embedded("image/jpeg", jpeg, words.first().map_or("", String::as_str)))
                            @for line in words { figcaption { (line) } }
                        }
                    }
                }
            }
        }
    };
    atomic::write(out, parts::page(title, &body).as_bytes())
        .map_err(|source| ReportError::Write { path: out.to_owned(), source })
}
