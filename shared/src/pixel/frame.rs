use std::io::{BufRead, Seek};

use image::{DynamicImage, GrayImage, ImageBuffer, ImageReader, Luma};
use sha2::{Digest, Sha256};

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
    /// A floating-point picture with a NaN or infinity.
    #[error(
        "pixel {position} of the image is {value}, which is no grey value; write it again as 16-bit integers"
    )]
    NotFinite {
        /// Index of the first such sample.
        position: usize,
        /// Its value.
        value: f32,
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

    /// A digest of size and samples: the same pixels have the same one, whatever file they came in.
    pub fn sha256(&self) -> [u8; 32] {
        let mut digest = Sha256::new();
        for side in [self.rows, self.cols] {
            digest.update((side as u64).to_le_bytes());
        }
        let mut bytes = Vec::with_capacity(2 * self.cols);
        for row in self.samples.chunks(self.cols) {
            bytes.clear();
            bytes.extend(row.iter().flat_map(|sample| sample.to_le_bytes()));
            digest.update(&bytes);
        }
        digest.finalize().into()
    }

    /// Decodes PNG, JPEG or TIFF. The header's size is checked against `limits` before pixels are allocated;
    /// colour becomes luminance, 8 bit is spread over 16 (× 257).
    pub fn decode(reader: impl BufRead + Seek, limits: ImageLimits) -> Result<Self, FrameError> {
        let mut reader = ImageReader::new(reader).with_guessed_format()?;
        // Sides are left to our own check below, whose error names them; decoders allocate pixels only later.
        let mut decoder_limits = image::Limits::no_limits();
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
        let floats: &[f32] = match &image {
            DynamicImage::ImageRgb32F(i) => i.as_raw(),
            DynamicImage::ImageRgba32F(i) => i.as_raw(),
            _ => &[],
        };
        // Converted to integers it would be black.
        if let Some(position) = floats.iter().position(|v| !v.is_finite()) {
            return Err(FrameError::NotFinite { position, value: floats[position] });
        }
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

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn png(image: &DynamicImage) -> Cursor<Vec<u8>> {
        let mut out = Cursor::new(Vec::new());
        image.write_to(&mut out, image::ImageFormat::Png).unwrap();
        out.set_position(0);
        out
    }

    #[test]
    fn sixteen_bits_survive_and_eight_are_spread() {
        let frame = PixelFrame::new(2, 3, vec![0, 1, 257, 4095, 65_534, 65_535]).unwrap();
        let file = png(&frame.to_image16().into());
        assert_eq!(PixelFrame::decode(file, ImageLimits::default()).unwrap(), frame);
        let gray = GrayImage::from_raw(3, 1, vec![0, 128, 255]).unwrap();
        let decoded = PixelFrame::decode(png(&gray.into()), ImageLimits::default()).unwrap();
        assert_eq!(decoded.samples(), [0, 128 * 257, 65_535]);
        assert_eq!(decoded.to_image8().into_raw(), [0, 128, 255]);
    }

    #[test]
    fn a_nan_is_named_with_its_place() {
        let image = image::Rgb32FImage::from_raw(1, 2, vec![0.5, 0.5, 0.5, 0.1, f32::NAN, 0.1]).unwrap();
        let error = PixelFrame::from_image(image.into()).unwrap_err();
        assert!(matches!(error, FrameError::NotFinite { position: 4, .. }), "{error}");
    }

    #[test]
    fn a_picture_beyond_a_limit_is_refused_with_its_size() {
        let file = || png(&PixelFrame::new(20, 30, vec![0; 600]).unwrap().to_image16().into());
        for limits in
            [ImageLimits { max_side: 29, max_pixels: 1000 }, ImageLimits { max_side: 30, max_pixels: 599 }]
        {
            let error = PixelFrame::decode(file(), limits).unwrap_err().to_string();
            assert!(error.contains("20 rows × 30 columns exceeds"), "{error}");
        }
        assert!(PixelFrame::decode(file(), ImageLimits { max_side: 30, max_pixels: 600 }).is_ok());
    }

    #[test]
    fn samples_must_fill_the_frame() {
        for (rows, cols, samples) in [(0, 3, 0), (3, 0, 0), (2, 2, 3), (usize::MAX, 2, 4)] {
            assert!(PixelFrame::new(rows, cols, vec![0; samples]).is_err(), "{rows} × {cols}");
        }
    }
}
