//! What people read: curves and tables.

mod curves;
mod error;
#[cfg(feature = "torch")]
mod study;
mod tables;

pub use curves::{CurvesError, draw_curves};
pub use error::ReportError;
#[cfg(feature = "torch")]
pub use study::write_study;
pub use tables::graph_table;
pub(crate) use tables::table;
