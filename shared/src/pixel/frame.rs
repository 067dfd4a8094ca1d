use std::io::{BufRead, Seek};

use image::{DynamicImage, GrayImage, ImageBuffer, ImageReader, Luma};

/// A radiograph ready for preprocessing: row-major 16-bit samples, 0 = black, 65 535 = white, dense tissue
/// bright (MONOCHROME2). At least 1 × 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PixelFrame {
    rows: usize,
    cols: usize,
    samples: Vec<u16>,
}

/// Bounds on an image before any pixel buffer is allocated for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageLimits {
    /// Longest side in pixels.
    pub max_side: u32,
    /// Most pixels in all.
    pub max_pixels: u64,
}

impl Default for ImageLimits {
    /// Detectors of 43 × 43 cm at 100 µm have 4300 px a side; twice that is refused.
    fn default() -> Self {
        Self { max_side: 8192, max_pixels: 40_000_000 }
    }
}

/// Why an image is no [`PixelFrame`].
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// A side of zero pixels, or samples that do not fill the frame.
    #[error("image of {rows} rows × {cols} columns holds {samples} samples")]
    Shape {
        /// Rows.
        rows: usize,
        /// Columns.
        cols: usize,
        /// Samples found.
        samples: usize,
    },
    /// Larger than the limits; nothing was allocated.
    #[error(
        "image of {rows} rows × {cols} columns exceeds the limit of {max_side} px a side and {max_pixels} px in all"
    )]
    TooLarge {
        /// Rows.
        rows: u64,
        /// Columns.
        cols: u64,
        /// Side limit.
        max_side: u32,
        /// Area limit.
        max_pixels: u64,
    },
    /// The decoder failed: truncated, corrupt or an unsupported format.
    #[error("failed to decode image: {0}")]
    Decode(#[from] image::ImageError),
    /// The file could not be read.
    #[error("failed to read image: {0}")]
    Io(#[from] std::io::Error),
}

impl ImageLimits {
    /// Checks dimensions read from a header.
    pub fn check(&self, rows: u64, cols: u64) -> Result<(), FrameError> {
        let side = u64::from(self.max_side);
        if rows > side || cols > side || rows.saturating_mul(cols) > self.max_pixels {
            return Err(FrameError::TooLarge {
                rows,
                cols,
                max_side: self.max_side,
                max_pixels: self.max_pixels,
            });
        }
        Ok(())
    }
}

impl PixelFrame {
    /// A frame over `samples`, row-major.
    pub fn new(rows: usize, cols: usize, samples: Vec<u16>) -> Result<Self, FrameError> {
        if rows == 0 || cols == 0 || rows.checked_mul(cols) != Some(samples.len()) {
            return Err(FrameError::Shape { rows, cols, samples: samples.len() });
        }
        Ok(Self { rows, cols, samples })
    }

    /// Rows (height).
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Columns (width).
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Row-major samples.
    pub fn samples(&self) -> &[u16] {
        &self.samples
    }

    /// The samples, mutable.
    pub fn samples_mut(&mut self) -> &mut [u16] {
        &mut self.samples
    }

    /// Decodes PNG, JPEG or TIFF. The header's size is checked against `limits` before pixels are allocated;
    /// colour becomes luminance, 8 bit is spread over 16 (× 257).
    pub fn decode(reader: impl BufRead + Seek, limits: ImageLimits) -> Result<Self, FrameError> {
        let mut reader = ImageReader::new(reader).with_guessed_format()?;
        let mut decoder_limits = image::Limits::default();
        decoder_limits.max_image_width = Some(limits.max_side);
        decoder_limits.max_image_height = Some(limits.max_side);
        // Up to RGBA of 16 bit, and the decoder's own scratch.
        decoder_limits.max_alloc = Some(limits.max_pixels.saturating_mul(12));
        reader.limits(decoder_limits);
        let decoder = reader.into_decoder()?;
        let (cols, rows) = image::ImageDecoder::dimensions(&decoder);
        limits.check(u64::from(rows), u64::from(cols))?;
        Self::from_image(DynamicImage::from_decoder(decoder)?)
    }

    /// From any decoded image; see [`PixelFrame::decode`].
    pub fn from_image(image: DynamicImage) -> Result<Self, FrameError> {
        let (cols, rows) = (image.width() as usize, image.height() as usize);
        let samples = match image {
            DynamicImage::ImageLuma8(i) => i.into_raw().into_iter().map(|v| u16::from(v) * 257).collect(),
            other => other.into_luma16().into_raw(),
        };
        Self::new(rows, cols, samples)
    }

    /// As a 16-bit grey image, for lossless PNG.
    pub fn to_image16(&self) -> ImageBuffer<Luma<u16>, Vec<u16>> {
        ImageBuffer::from_raw(self.cols as u32, self.rows as u32, self.samples.clone())
            .expect("rows × cols samples by construction")
    }

    /// As an 8-bit grey image, for overlays.
    pub fn to_image8(&self) -> GrayImage {
        let samples = self.samples.iter().map(|v| (v >> 8) as u8).collect();
        ImageBuffer::from_raw(self.cols as u32, self.rows as u32, samples)
            .expect("rows × cols samples by construction")
    }
}
