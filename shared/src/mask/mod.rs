//! Binary masks over pixels: container, COCO run-length codec, connected components, convex hull, overlays.

mod components;
mod grid;
mod hull;
mod overlay;
pub mod rle;

pub use components::remove_small_components;
pub use grid::{BBox, Mask};
pub use hull::ConvexHull;
pub use overlay::{Layer, Rgb, draw_outline, draw_overlay};
pub use rle::{Rle, RleError};
