//! The Image Pixel Module (PS3.3 C.7.6.3) and the stored samples.

use std::borrow::Cow;

use dicom_core::VR;
use dicom_dictionary_std::tags;
use shared::pixel::{ImageLimits, Photometric};

use super::super::{DecodeError, Detail};
use super::attributes::Attributes;
use super::codec::{Compression, decompress};
use super::outline::{BIG_ENDIAN, Outline, PixelData};

/// What the samples mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Interpretation {
    /// One sample a pixel.
    Gray(Photometric),
    /// Three samples a pixel.
    Rgb,
    /// Three samples a pixel, luminance first.
    Ybr,
}

/// Size and form of the samples, checked.
#[derive(Clone, Debug)]
pub(super) struct PixelModule {
    pub(super) rows: usize,
    pub(super) cols: usize,
    pub(super) samples_per_pixel: u16,
    /// 8 or 16.
    pub(super) bits_allocated: u16,
    /// 1 to `bits_allocated`.
    pub(super) bits_stored: u8,
    /// Bits below the stored ones.
    shift: u16,
    pub(super) signed: bool,
    planar: bool,
    pub(super) interpretation: Interpretation,
}

/// What fills an image, row by row: every pixel, or what stands for every `step`th one of every `step`th row.
pub(super) struct Raster<T> {
    pub(super) step: usize,
    pub(super) data: T,
}

impl<T> Raster<T> {
    /// Every pixel.
    pub(super) fn whole(data: T) -> Self {
        Self { step: 1, data }
    }
}

impl PixelModule {
    /// Reads the module; nothing has been allocated for pixels when it errs.
    pub(super) fn read(attributes: &Attributes<'_>, limits: ImageLimits) -> Result<Self, DecodeError> {
        let int = |tag, name| attributes.int(tag).ok_or(DecodeError::Missing(name));
        let bad = |attribute, found: &dyn ToString, problem| {
            Err(DecodeError::Attribute { attribute, found: found.to_string(), problem })
        };
        let frames = attributes.int(tags::NUMBER_OF_FRAMES).unwrap_or(1);
        if frames > 1 {
            return Err(DecodeError::MultiFrame(frames.try_into().unwrap_or(u32::MAX)));
        }
        let rows = int(tags::ROWS, "Rows (0028,0010)")?;
        let cols = int(tags::COLUMNS, "Columns (0028,0011)")?;
        for (name, side) in [("Rows (0028,0010)", rows), ("Columns (0028,0011)", cols)] {
            if !(1..=65_535).contains(&side) {
                return bad(name, &side, "an image has 1 to 65 535");
            }
        }
        limits.check(rows as u64, cols as u64)?;

        let samples_per_pixel = attributes.int(tags::SAMPLES_PER_PIXEL).unwrap_or(1);
        let photometric = attributes
            .text(tags::PHOTOMETRIC_INTERPRETATION)
            .ok_or(DecodeError::Missing("PhotometricInterpretation (0028,0004)"))?;
        let interpretation = match (photometric.as_str(), samples_per_pixel) {
            ("MONOCHROME1", 1) => Interpretation::Gray(Photometric::Monochrome1),
            ("MONOCHROME2", 1) => Interpretation::Gray(Photometric::Monochrome2),
            ("RGB", 3) => Interpretation::Rgb,
            ("YBR_FULL" | "YBR_FULL_422" | "YBR_ICT" | "YBR_RCT", 3) => Interpretation::Ybr,
            // A defined term is safe to show, anything else is not.
            ("PALETTE COLOR", _) => {
                return bad(PHOTOMETRIC, &photometric, "palette images are no radiographs; send grey or RGB");
            }
            _ => {
                let found = format!("unknown or unfit for {samples_per_pixel} samples a pixel");
                return bad(PHOTOMETRIC, &found, "supported are MONOCHROME1, MONOCHROME2, RGB and YBR");
            }
        };
        let bits_allocated = int(tags::BITS_ALLOCATED, "BitsAllocated (0028,0100)")?;
        if !matches!(bits_allocated, 8 | 16) {
            return bad("BitsAllocated (0028,0100)", &bits_allocated, "supported are 8 and 16");
        }
        let bits_stored = attributes.int(tags::BITS_STORED).unwrap_or(bits_allocated);
        if !(1..=bits_allocated).contains(&bits_stored) {
            return bad("BitsStored (0028,0101)", &bits_stored, "must be from 1 to BitsAllocated");
        }
        let high_bit = attributes.int(tags::HIGH_BIT).unwrap_or(bits_stored - 1);
        if !(bits_stored - 1..bits_allocated).contains(&high_bit) {
            return bad("HighBit (0028,0102)", &high_bit, "must be from BitsStored − 1 to BitsAllocated − 1");
        }
        Ok(Self {
            rows: rows as usize,
            cols: cols as usize,
            samples_per_pixel: samples_per_pixel as u16,
            bits_allocated: bits_allocated as u16,
            bits_stored: bits_stored as u8,
            shift: (high_bit + 1 - bits_stored) as u16,
            signed: attributes.int(tags::PIXEL_REPRESENTATION) == Some(1),
            planar: attributes.int(tags::PLANAR_CONFIGURATION) == Some(1),
            interpretation,
        })
    }

    /// Whether samples of so many bits have neither bits above the stored ones nor below.
    pub(super) fn stores_all_of(&self, precision: u8) -> bool {
        self.shift == 0 && precision == self.bits_stored
    }

    /// One sample a pixel, row-major, in the low `bits_stored` bits; colour becomes luminance.
    pub(super) fn samples(
        &self,
        outline: &Outline<'_>,
        detail: Detail,
    ) -> Result<Raster<Vec<u16>>, DecodeError> {
        let compression = Compression::of(outline.syntax)?;
        let Raster { step, data: bytes } = self.bytes(outline, compression, detail)?;
        let expected = self.length(step);
        let bytes = bytes.get(..expected).ok_or_else(|| too_short(expected, bytes.len()))?;
        let mut values: Vec<u16> = match self.bits_allocated {
            8 => bytes.iter().map(|&v| u16::from(v)).collect(),
            _ => bytes.chunks_exact(2).map(|v| u16::from_le_bytes([v[0], v[1]])).collect(),
        };
        if self.shift > 0 {
            values.iter_mut().for_each(|v| *v >>= self.shift);
        }
        // JPEG decoders give RGB whatever the object calls it.
        let decoded_to_rgb = matches!(compression, Compression::Jpeg | Compression::Jpeg2000);
        let planar = self.planar && compression == Compression::None;
        let data = match self.interpretation {
            Interpretation::Gray(_) => values,
            Interpretation::Ybr if !decoded_to_rgb => pick(&values, planar, |[y, _, _]| y),
            Interpretation::Rgb | Interpretation::Ybr => pick(&values, planar, luminance),
        };
        Ok(Raster { step, data })
    }

    /// Rows and columns of a [`Raster`].
    pub(super) fn size(&self, step: usize) -> (usize, usize) {
        (self.rows.div_ceil(step), self.cols.div_ceil(step))
    }

    /// Bytes of its samples without compression.
    fn length(&self, step: usize) -> usize {
        let (rows, cols) = self.size(step);
        rows * cols * usize::from(self.samples_per_pixel * (self.bits_allocated / 8))
    }

    /// Whether uncompressed pixel data is all there.
    pub(super) fn check_length(&self, outline: &Outline<'_>) -> Result<(), DecodeError> {
        match &outline.pixels {
            Some(PixelData::Native { range, .. }) => {
                let found = range.end.min(outline.data.len()).saturating_sub(range.start);
                let expected = self.length(1);
                if found < expected { Err(too_short(expected, found)) } else { Ok(()) }
            }
            _ => Ok(()),
        }
    }

    /// Little-endian samples as the object stores them, decompressed.
    fn bytes<'a>(
        &self,
        outline: &'a Outline<'_>,
        compression: Compression,
        detail: Detail,
    ) -> Result<Raster<Cow<'a, [u8]>>, DecodeError> {
        let data = outline.data.as_ref();
        match outline.pixels.as_ref().ok_or(DecodeError::Missing("PixelData (7FE0,0010)"))? {
            PixelData::Native { range, vr } => {
                if compression != Compression::None {
                    let reason = "it is not encapsulated, against its transfer syntax".into();
                    return Err(DecodeError::Codec { codec: "compressed", reason });
                }
                let bytes = &data[range.start.min(data.len())..range.end.min(data.len())];
                let big_endian = outline.syntax.uid() == BIG_ENDIAN;
                // OW is swapped as words even if it holds bytes (PS3.5 section 8.1.1).
                if big_endian && (self.bits_allocated == 16 || *vr == VR::OW) {
                    return Ok(Raster::whole(bytes.chunks_exact(2).flat_map(|v| [v[1], v[0]]).collect()));
                }
                Ok(Raster::whole(Cow::Borrowed(bytes)))
            }
            PixelData::Encapsulated { fragments } => {
                let fragments: Vec<&[u8]> = fragments.iter().map(|range| &data[range.clone()]).collect();
                let Raster { step, data } =
                    decompress(&fragments, compression, outline.syntax, self, detail)?;
                Ok(Raster { step, data: Cow::Owned(data) })
            }
        }
    }
}

fn too_short(expected: usize, found: usize) -> DecodeError {
    DecodeError::PixelDataLength { expected: expected as u64, found: found as u64 }
}

fn pick(values: &[u16], planar: bool, gray: impl Fn([u16; 3]) -> u16) -> Vec<u16> {
    if planar {
        let pixels = values.len() / 3;
        return (0..pixels).map(|i| gray([values[i], values[pixels + i], values[2 * pixels + i]])).collect();
    }
    values.chunks_exact(3).map(|v| gray([v[0], v[1], v[2]])).collect()
}

const PHOTOMETRIC: &str = "PhotometricInterpretation (0028,0004)";

/// ITU-R BT.709, as for pictures outside of DICOM.
fn luminance([r, g, b]: [u16; 3]) -> u16 {
    ((2126 * u32::from(r) + 7152 * u32::from(g) + 722 * u32::from(b) + 5000) / 10_000) as u16
}
