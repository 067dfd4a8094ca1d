//! What people read: curves and tables.

mod curves;
mod tables;

pub use curves::{CurvesError, draw_curves};
pub use tables::graph_table;
pub(crate) use tables::table;
