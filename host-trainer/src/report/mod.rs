//! What people read: curves, tables, and the reports of trainings and studies.

mod chart;
mod curves;
mod error;
mod tables;

#[cfg(feature = "torch")]
mod document;
#[cfg(feature = "torch")]
mod gallery;
#[cfg(feature = "torch")]
mod html;
#[cfg(feature = "torch")]
mod markdown;
#[cfg(all(test, feature = "torch"))]
mod markup_check;
#[cfg(feature = "torch")]
mod study;
#[cfg(feature = "torch")]
mod training;

pub use curves::{CurvesError, draw_curves};
#[cfg(feature = "torch")]
pub(crate) use document::{Block, Grid, Section};
pub use error::ReportError;
#[cfg(feature = "torch")]
pub(crate) use gallery::{Card, gallery_page};
#[cfg(feature = "torch")]
pub(crate) use markdown::markdown_sections;
#[cfg(feature = "torch")]
pub use study::write_study;
pub use tables::graph_table;
pub(crate) use tables::table;
#[cfg(feature = "torch")]
pub use training::write_training;
