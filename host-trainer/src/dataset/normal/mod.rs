//! The normal form: a folder of images and one index file, whatever the data came as.
//!
//! ```text
//! DIR/index.jsonl     header line, then a line an image
//! DIR/images/…        the images, under their ids
//! ```
//!
//! The header names format and version, so that a reader refuses what it does not know. Every line stands for
//! itself: id, split, patient, size and digest of the image, masks as COCO run-length codes, findings. The same
//! input gives the same bytes, and the index is written last: a folder that has one is whole.

mod line;
mod reader;
mod writer;

pub(super) use line::Line;
pub use line::{FORMAT, Header, INDEX_FILE, VERSION};
pub use reader::IndexSpec;
pub(super) use writer::{image_path, write_index};
