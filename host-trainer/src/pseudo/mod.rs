//! Pseudo-masks: what the classifier's attention says of where a class is.

#[cfg(feature = "torch")]
mod class_map;
mod gate;
mod masks;
mod otsu;
mod upsample;

#[cfg(feature = "torch")]
pub use class_map::{ClassMap, class_maps, shrink, threshold};
pub use gate::{Decision, decide};
pub use masks::{PseudoError, PseudoMasks};
pub use otsu::{fill_outer_contours, min_max, otsu, pseudo_mask};
pub use upsample::bilinear;
