use serde::Deserialize;
use shared::pixel::ImageLimits;

use super::{ValueError, range};
use crate::decode::DecodeLimits;

/// Bounds on an image, checked before memory is taken for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsConfig {
    /// Largest file in bytes. Default 128 MiB: an uncompressed 16-bit image at the other limits is 80 MB.
    pub max_file_bytes: u64,
    /// Longest side in pixels. Default 8192.
    pub max_side: u32,
    /// Most pixels in all. Default 40 million.
    pub max_pixels: u64,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        let DecodeLimits { max_file_bytes, image } = DecodeLimits::default();
        Self { max_file_bytes, max_side: image.max_side, max_pixels: image.max_pixels }
    }
}

impl LimitsConfig {
    /// As the decoder takes them.
    pub fn decode(&self) -> DecodeLimits {
        DecodeLimits {
            max_file_bytes: self.max_file_bytes,
            image: ImageLimits { max_side: self.max_side, max_pixels: self.max_pixels },
        }
    }

    pub(super) fn validate(&self) -> Result<(), ValueError> {
        range("limits.max_file_bytes", self.max_file_bytes, 1 << 10, 1 << 30)?;
        range("limits.max_side", u64::from(self.max_side), 16, 65_535)?;
        range("limits.max_pixels", self.max_pixels, 256, 400_000_000)
    }
}
