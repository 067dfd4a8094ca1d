//! Radiographs as pixels.
//!
//! [`StoredPixels`] is what a DICOM object stores; [`PixelFrame`] is what the rest of the program sees:
//! display-referred 16-bit grey, MONOCHROME2. The way between them is DICOM's grey-scale pipeline
//! (PS3.3 C.11 and C.7.6.3), in [`grayscale`].

mod frame;
mod grayscale;
mod stretch;

pub use frame::{FrameError, ImageLimits, PixelFrame};
pub use grayscale::{
    GrayscaleError, LutTable, ModalityTransform, Photometric, PresentationLutShape, Rendered, StoredPixels,
    VoiApplied, VoiFunction, VoiTransform, VoiWindow,
};
pub use stretch::percentile_stretch;
pub(crate) use stretch::percentiles;
