//! The DICOM grey-scale pipeline: stored value → modality → VOI → presentation.
//!
//! Everything is a function of one stored value of at most 16 bits, so it is tabulated once per image and
//! applied as a single look-up.

use serde::{Deserialize, Serialize};

use super::{FrameError, PixelFrame};

/// When an object names no window, the modality values between these percentiles fill the range.
const DEFAULT_PERCENTILES: (f64, f64) = (0.5, 99.5);

/// Pixels as a DICOM object stores them (PS3.3 C.7.6.3), with the transforms that it asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredPixels {
    /// Rows (0028,0010).
    pub rows: usize,
    /// Columns (0028,0011).
    pub cols: usize,
    /// Row-major stored values in the low `bits_stored` bits; the bits above are ignored.
    pub samples: Vec<u16>,
    /// Bits Stored (0028,0101), 1 to 16.
    pub bits_stored: u8,
    /// Pixel Representation (0028,0103): two's complement if true.
    pub signed: bool,
    /// Photometric Interpretation (0028,0004).
    pub photometric: Photometric,
    /// Modality LUT or rescale.
    pub modality: ModalityTransform,
    /// VOI LUT or window; percentiles if none.
    pub voi: Option<VoiTransform>,
    /// Presentation LUT Shape (2050,0020), if present.
    pub presentation: Option<PresentationLutShape>,
}

/// Photometric Interpretation (PS3.3 C.7.6.3.1.2) of a single-sample image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub enum Photometric {
    /// The least value is white.
    #[serde(rename = "MONOCHROME1")]
    Monochrome1,
    /// The least value is black.
    #[serde(rename = "MONOCHROME2")]
    Monochrome2,
}

/// Presentation LUT Shape (PS3.3 C.11.6). Where present it says, not the photometric interpretation, whether
/// the VOI output is inverted; for DX objects the standard ties the two together anyway (C.8.11.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PresentationLutShape {
    /// VOI output is P-values.
    Identity,
    /// Inverted VOI output is P-values.
    Inverse,
}

/// Modality LUT Module (PS3.3 C.11.1).
#[derive(Clone, Debug, PartialEq)]
pub enum ModalityTransform {
    /// Rescale Slope and Intercept; the slope may be negative, not zero.
    Rescale {
        /// Rescale Slope (0028,1053).
        slope: f64,
        /// Rescale Intercept (0028,1052).
        intercept: f64,
    },
    /// Modality LUT Sequence (0028,3000).
    Lut(LutTable),
}

/// VOI LUT Module (PS3.3 C.11.2).
#[derive(Clone, Debug, PartialEq)]
pub enum VoiTransform {
    /// Window Center and Width.
    Window(VoiWindow),
    /// VOI LUT Sequence (0028,3010).
    Lut(LutTable),
}

/// A window over modality values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct VoiWindow {
    /// Window Center (0028,1050).
    pub center: f64,
    /// Window Width (0028,1051): at least 1 for LINEAR, above 0 otherwise.
    pub width: f64,
    /// VOI LUT Function (0028,1056).
    pub function: VoiFunction,
}

/// VOI LUT Function (PS3.3 C.11.2.1.2, C.11.2.1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VoiFunction {
    /// LINEAR, the default.
    Linear,
    /// LINEAR_EXACT.
    LinearExact,
    /// SIGMOID.
    Sigmoid,
}

/// A look-up table of an object: values below the first mapped one take the first entry, values above the
/// last (PS3.3 C.11.1.1.1).
#[derive(Clone, Debug, PartialEq)]
pub struct LutTable {
    /// First input value mapped.
    pub first: i32,
    /// Bits of an entry, 8 to 16.
    pub bits: u8,
    /// Entries, at least one.
    pub entries: Vec<u16>,
}

/// How the values of interest were chosen; reported in the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum VoiApplied {
    /// The object's VOI LUT.
    Lut,
    /// The object's window.
    Window,
    /// Percentiles of the image, since the object names none.
    Percentile,
    /// The picture is display-referred already (PNG, JPEG, TIFF).
    None,
}

/// The outcome of [`StoredPixels::render`].
#[derive(Clone, Debug, PartialEq)]
pub struct Rendered {
    /// Display-referred pixels, MONOCHROME2.
    pub frame: PixelFrame,
    /// How they came about.
    pub voi: VoiApplied,
}

/// Why stored pixels cannot be rendered.
#[derive(Debug, thiserror::Error)]
pub enum GrayscaleError {
    /// Bits Stored outside 1..=16.
    #[error("Bits Stored (0028,0101) is {0}, supported are 1 to 16")]
    BitsStored(u8),
    /// A slope of zero or not a number.
    #[error(
        "Rescale Slope (0028,1053) {slope} with Rescale Intercept (0028,1052) {intercept} maps every pixel to one value or none"
    )]
    Rescale {
        /// Slope.
        slope: f64,
        /// Intercept.
        intercept: f64,
    },
    /// A window narrower than its function allows.
    #[error(
        "Window Width (0028,1051) {width} with Window Center (0028,1050) {center} is not valid for its VOI LUT Function"
    )]
    Window {
        /// Width.
        width: f64,
        /// Center.
        center: f64,
    },
    /// A table without entries or with an impossible bit depth.
    #[error("look-up table of {entries} entries of {bits} bits is not valid")]
    Lut {
        /// Entries.
        entries: usize,
        /// Bits of one.
        bits: u8,
    },
    /// Samples do not fill the frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
}

impl StoredPixels {
    /// Applies modality, VOI and presentation transforms once each, in the standard's order.
    pub fn render(mut self) -> Result<Rendered, GrayscaleError> {
        self.validate()?;
        let count = 1_usize << self.bits_stored;
        let modality: Vec<f64> = (0..count).map(|raw| self.modality.apply(self.stored_value(raw))).collect();
        let (mut unit, voi): (Vec<f64>, VoiApplied) = match &self.voi {
            Some(VoiTransform::Window(w)) => {
                (modality.iter().map(|&v| w.apply(v)).collect(), VoiApplied::Window)
            }
            Some(VoiTransform::Lut(lut)) => {
                let top = f64::from((1_u32 << lut.bits) - 1);
                let look = |&v: &f64| (f64::from(lut.get(v.round() as i64)) / top).min(1.0);
                (modality.iter().map(look).collect(), VoiApplied::Lut)
            }
            None => (self.percentile_window(&modality), VoiApplied::Percentile),
        };
        if self.inverted() {
            unit.iter_mut().for_each(|v| *v = 1.0 - *v);
        }
        let table: Vec<u16> =
            unit.into_iter().map(|v| (v.clamp(0.0, 1.0) * 65_535.0).round() as u16).collect();
        let bits = count - 1;
        self.samples.iter_mut().for_each(|v| *v = table[usize::from(*v) & bits]);
        Ok(Rendered { frame: PixelFrame::new(self.rows, self.cols, self.samples)?, voi })
    }

    fn validate(&self) -> Result<(), GrayscaleError> {
        if !(1..=16).contains(&self.bits_stored) {
            return Err(GrayscaleError::BitsStored(self.bits_stored));
        }
        match &self.modality {
            ModalityTransform::Rescale { slope, intercept } => {
                if !slope.is_finite() || !intercept.is_finite() || *slope == 0.0 {
                    return Err(GrayscaleError::Rescale { slope: *slope, intercept: *intercept });
                }
            }
            ModalityTransform::Lut(lut) => lut.validate()?,
        }
        match &self.voi {
            Some(VoiTransform::Window(w)) => w.validate(),
            Some(VoiTransform::Lut(lut)) => lut.validate(),
            None => Ok(()),
        }
    }

    fn inverted(&self) -> bool {
        match self.presentation {
            Some(shape) => shape == PresentationLutShape::Inverse,
            None => self.photometric == Photometric::Monochrome1,
        }
    }

    fn stored_value(&self, raw: usize) -> i32 {
        let sign = 1_i32 << (self.bits_stored - 1);
        let value = raw as i32;
        if self.signed && value & sign != 0 { value - 2 * sign } else { value }
    }

    /// Modality values between the default percentiles of this image, spread over 0..=1.
    fn percentile_window(&self, modality: &[f64]) -> Vec<f64> {
        let mut present: Vec<(f64, u64)> = modality
            .iter()
            .copied()
            .zip(histogram(&self.samples, modality.len() - 1))
            .filter(|&(_, count)| count > 0)
            .collect();
        present.sort_by(|a, b| a.0.total_cmp(&b.0));
        let total: u64 = present.iter().map(|&(_, count)| count).sum();
        let at = |p: f64| {
            let target = total as f64 * p / 100.0;
            let mut seen = 0;
            present
                .iter()
                .find(|&&(_, count)| {
                    seen += count;
                    seen as f64 >= target
                })
                .map_or(0.0, |&(value, _)| value)
        };
        let (low, high) = (at(DEFAULT_PERCENTILES.0), at(DEFAULT_PERCENTILES.1));
        if high <= low {
            return modality.iter().map(|&v| if v > low { 1.0 } else { 0.0 }).collect();
        }
        modality.iter().map(|&v| ((v - low) / (high - low)).clamp(0.0, 1.0)).collect()
    }
}

/// How often each value occurs in the bits of `mask`, which is one less than a power of two.
fn histogram(samples: &[u16], mask: usize) -> impl Iterator<Item = u64> {
    // Four tables in turn: neighbours are often alike, and an addition to the same place would wait for the one before.
    let mut tables = [(); 4].map(|()| vec![0_u32; mask + 1]);
    let mut count = |table: usize, raw: u16| tables[table][usize::from(raw) & mask] += 1;
    let (fours, rest) = samples.as_chunks::<4>();
    for four in fours {
        four.iter().enumerate().for_each(|(table, &raw)| count(table, raw));
    }
    rest.iter().for_each(|&raw| count(0, raw));
    (0..=mask).map(move |value| tables.iter().map(|table| u64::from(table[value])).sum())
}

impl ModalityTransform {
    /// Stored values are the modality values.
    pub const IDENTITY: Self = Self::Rescale { slope: 1.0, intercept: 0.0 };

    fn apply(&self, stored: i32) -> f64 {
        match self {
            Self::Rescale { slope, intercept } => f64::from(stored) * slope + intercept,
            Self::Lut(lut) => f64::from(lut.get(i64::from(stored))),
        }
    }
}

impl VoiWindow {
    fn validate(&self) -> Result<(), GrayscaleError> {
        let least = if self.function == VoiFunction::Linear { 1.0 } else { f64::MIN_POSITIVE };
        if self.center.is_finite() && self.width.is_finite() && self.width >= least {
            return Ok(());
        }
        Err(GrayscaleError::Window { width: self.width, center: self.center })
    }

    /// PS3.3 C.11.2.1.2.1, C.11.2.1.3.1 and C.11.2.1.3.2 with an output range of 0..=1.
    fn apply(&self, x: f64) -> f64 {
        let (c, w) = (self.center, self.width);
        match self.function {
            VoiFunction::Linear => {
                if x <= c - 0.5 - (w - 1.0) / 2.0 {
                    0.0
                } else if x > c - 0.5 + (w - 1.0) / 2.0 {
                    1.0
                } else {
                    (x - (c - 0.5)) / (w - 1.0) + 0.5
                }
            }
            VoiFunction::LinearExact => ((x - c) / w + 0.5).clamp(0.0, 1.0),
            VoiFunction::Sigmoid => 1.0 / (1.0 + (-4.0 * (x - c) / w).exp()),
        }
    }
}

impl LutTable {
    fn validate(&self) -> Result<(), GrayscaleError> {
        if self.entries.is_empty() || !(8..=16).contains(&self.bits) {
            return Err(GrayscaleError::Lut { entries: self.entries.len(), bits: self.bits });
        }
        Ok(())
    }

    fn get(&self, value: i64) -> u16 {
        let last = self.entries.len() as i64 - 1;
        // A huge rescale slope saturates the value already.
        self.entries[value.saturating_sub(i64::from(self.first)).clamp(0, last) as usize]
    }
}

#[cfg(test)]
mod tests;
