//! IRNet (Ahn, Cho & Kwak 2019, CVPR, arXiv:1904.05044): saliency is spread up to the edges between classes that a
//! network learns from pairs of confident pixels (design §5.3).
//!
//! ```text
//! saliency ─► seeds (confident foreground and background, through a dense CRF) ─► edge net (pairs of pixels)
//! saliency + edges ─► random walk ─► pseudo-masks
//! ```

mod crf;
mod paths;
mod walk;

#[cfg(feature = "torch")]
mod edges;
#[cfg(feature = "torch")]
mod refine;
#[cfg(feature = "torch")]
mod seeds;

pub use crf::{CrfSpec, refine as refine_labels};
pub use paths::{Path, search_paths};
pub use walk::{WalkSpec, propagate};

#[cfg(feature = "torch")]
pub use edges::EdgeLearning;
#[cfg(feature = "torch")]
pub use refine::{EDGES_CHUNK, refine};
#[cfg(feature = "torch")]
pub use seeds::seeds;
