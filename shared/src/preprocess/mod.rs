//! From pixels to the network's input tensor.
//!
//! One way for training and device: anti-aliased resize of the 16-bit pixels so that the longer side fits,
//! percentile stretch, centred zero padding ([`letterbox_frame`]), then mean and standard deviation
//! ([`Letterboxed::normalize`]). The percentile stretch goes beyond the paper: units differ in exposure and
//! windowing by more than any augmentation covers.

mod letterbox;

pub use letterbox::Letterbox;

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use serde::{Deserialize, Serialize};

use crate::pixel::{PixelFrame, percentile_stretch};

/// Every number between pixels and tensor; part of a bundle's manifest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PreprocessSpec {
    /// Side of the square input in pixels.
    pub input_size: usize,
    /// Resampling filter, widened on reduction so that it does not alias.
    pub filter: ResizeFilter,
    /// Percentile of the resized pixels that becomes 0.
    pub low_percentile: f32,
    /// Percentile of the resized pixels that becomes 1.
    pub high_percentile: f32,
    /// Subtracted from the stretched value.
    pub mean: f32,
    /// Divides the difference.
    pub std: f32,
}

/// A convolution filter for resampling.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ResizeFilter {
    /// Area average.
    Box,
    /// Triangle.
    Bilinear,
    /// Cubic, a = −0.5.
    CatmullRom,
    /// Windowed sinc of three lobes.
    Lanczos3,
}

/// A manifest's preprocessing that cannot work.
#[derive(Debug, thiserror::Error)]
#[error("preprocess.{field} = {value}: must be {must}")]
pub struct PreprocessSpecError {
    field: &'static str,
    value: String,
    must: &'static str,
}

/// A radiograph on the network's grid, before normalization.
#[derive(Clone, Debug, PartialEq)]
pub struct Letterboxed {
    /// Where the pixels came from.
    pub letterbox: Letterbox,
    /// Row-major `input_size × input_size` values in 0..=1; padding is 0.
    pub data: Vec<f32>,
}

impl Default for PreprocessSpec {
    fn default() -> Self {
        Self {
            input_size: 320,
            filter: ResizeFilter::Bilinear,
            low_percentile: 0.5,
            high_percentile: 99.5,
            mean: 0.5,
            std: 0.25,
        }
    }
}

impl PreprocessSpec {
    /// Longer side in pixels from which more detail in the source does not matter: a decoder may leave out finer
    /// resolutions, but what it gives must be this large, if the source is. Three pixels for each of the network's, so
    /// that [`ResizeFilter`] and not the decoder's filter decides what the network sees.
    pub fn sufficient_side(&self) -> usize {
        3 * self.input_size
    }

    /// Checks every field's range.
    pub fn validate(&self) -> Result<(), PreprocessSpecError> {
        let fail = |field, value: String, must| Err(PreprocessSpecError { field, value, must });
        if !(16..=4096).contains(&self.input_size) || !self.input_size.is_multiple_of(16) {
            return fail("input_size", self.input_size.to_string(), "a multiple of 16 from 16 to 4096");
        }
        if !(0.0..50.0).contains(&self.low_percentile) {
            return fail("low_percentile", self.low_percentile.to_string(), "from 0 to below 50");
        }
        if !(self.high_percentile > 50.0 && self.high_percentile <= 100.0) {
            return fail("high_percentile", self.high_percentile.to_string(), "above 50 and at most 100");
        }
        if !self.mean.is_finite() {
            return fail("mean", self.mean.to_string(), "a finite number");
        }
        if !(self.std.is_finite() && self.std > 0.0) {
            return fail("std", self.std.to_string(), "a finite number above 0");
        }
        Ok(())
    }
}

impl Letterboxed {
    /// The network's input `[1, 1, S, S]`, row-major: (v − mean) / std.
    pub fn normalize(&self, spec: &PreprocessSpec) -> Vec<f32> {
        let scale = 1.0 / spec.std;
        self.data.iter().map(|v| (v - spec.mean) * scale).collect()
    }
}

/// Resizes, stretches and pads a radiograph onto the network's grid.
pub fn letterbox_frame(frame: &PixelFrame, spec: &PreprocessSpec) -> Letterboxed {
    letterbox_reduced(frame, (frame.rows(), frame.cols()), 1, spec)
}

/// The same of a radiograph of which a reduced picture was decoded. `source` is its own size in rows and columns, and the
/// picture has a sample, of whatever was filtered, where every `step`th pixel of every `step`th row is. The geometry is the
/// source's: the picture's size is rounded, and its first sample does not lie in the middle of the pixels that it stands for.
///
/// # Panics
/// If the picture's size is not the source's divided by `step` and rounded up.
pub fn letterbox_reduced(
    frame: &PixelFrame,
    source: (usize, usize),
    step: usize,
    spec: &PreprocessSpec,
) -> Letterboxed {
    let size = (frame.rows(), frame.cols());
    assert_eq!(size, (source.0.div_ceil(step), source.1.div_ceil(step)), "picture and source differ in size");
    let letterbox = Letterbox::new(source.0, source.1, spec.input_size);
    let content = (letterbox.content_rows, letterbox.content_cols);
    let content = match step {
        1 => resize_u16(frame.samples(), size, content, spec.filter),
        _ => resize_stepped(frame, source, step, content, spec.filter),
    };
    let stretched = percentile_stretch(&content, spec.low_percentile, spec.high_percentile);
    let data = letterbox.pad(&stretched);
    Letterboxed { letterbox, data }
}

/// The network's input tensor of a radiograph and the geometry that leads back.
pub fn preprocess(frame: &PixelFrame, spec: &PreprocessSpec) -> (Vec<f32>, Letterbox) {
    let boxed = letterbox_frame(frame, spec);
    (boxed.normalize(spec), boxed.letterbox)
}

/// Resamples 16-bit pixels; sizes are (rows, columns).
pub(crate) fn resize_u16(
    samples: &[u16],
    from: (usize, usize),
    to: (usize, usize),
    filter: ResizeFilter,
) -> Vec<u16> {
    if from == to {
        return samples.to_vec();
    }
    words(&resize(bytemuck::cast_slice(samples), PixelType::U16, from, to, filter.into()))
}

/// Resamples a reduced picture over the area of its source, as [`letterbox_reduced`] says.
fn resize_stepped(
    frame: &PixelFrame,
    source: (usize, usize),
    step: usize,
    to: (usize, usize),
    filter: ResizeFilter,
) -> Vec<u16> {
    // The source's last pixels may lie behind the last sample, which stands for them.
    let (rows, cols) = (frame.rows() + 1, frame.cols() + 1);
    let mut samples = Vec::with_capacity(rows * cols);
    for row in frame.samples().chunks_exact(frame.cols()) {
        samples.extend_from_slice(row);
        samples.extend(row.last());
    }
    samples.extend_from_within(samples.len() - cols..);
    // From where half a pixel before the middle of the first one is.
    let start = 0.5 - 0.5 / step as f64;
    let side = |side: usize| side as f64 / step as f64;
    let part = [start, start, side(source.1), side(source.0)];
    let bytes = bytemuck::cast_slice(&samples);
    words(&resize_part(bytes, PixelType::U16, (rows, cols), Some(part), to, filter.into()))
}

fn words(bytes: &[u8]) -> Vec<u16> {
    bytes.chunks_exact(2).map(|b| u16::from_ne_bytes([b[0], b[1]])).collect()
}

/// Resamples single-channel pixels; sizes are (rows, columns).
pub(crate) fn resize(
    bytes: &[u8],
    pixel: PixelType,
    from: (usize, usize),
    to: (usize, usize),
    filter: FilterType,
) -> Vec<u8> {
    resize_part(bytes, pixel, from, None, to, filter)
}

/// The same of a part of them: left, top, width and height.
fn resize_part(
    bytes: &[u8],
    pixel: PixelType,
    from: (usize, usize),
    part: Option<[f64; 4]>,
    to: (usize, usize),
    filter: FilterType,
) -> Vec<u8> {
    let source = ImageRef::new(from.1 as u32, from.0 as u32, bytes, pixel)
        .expect("a frame holds rows × cols samples, aligned as their type");
    let mut target = Image::new(to.1 as u32, to.0 as u32, pixel);
    let mut options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(filter));
    if let Some([left, top, width, height]) = part {
        options = options.crop(left, top, width, height);
    }
    Resizer::new()
        .resize(&source, &mut target, &options)
        .expect("source and target share a pixel type and are not empty, and the part lies in the source");
    target.into_vec()
}

impl From<ResizeFilter> for FilterType {
    fn from(filter: ResizeFilter) -> Self {
        match filter {
            ResizeFilter::Box => Self::Box,
            ResizeFilter::Bilinear => Self::Bilinear,
            ResizeFilter::CatmullRom => Self::CatmullRom,
            ResizeFilter::Lanczos3 => Self::Lanczos3,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(input_size: usize) -> PreprocessSpec {
        PreprocessSpec {
            input_size,
            low_percentile: 0.0,
            high_percentile: 100.0,
            ..PreprocessSpec::default()
        }
    }

    #[test]
    fn padding_is_black_and_content_centred() {
        let frame =
            PixelFrame::new(40, 80, (0..3200).map(|i| if i == 0 { 0 } else { 65_535 }).collect()).unwrap();
        let boxed = letterbox_frame(&frame, &spec(32));
        assert_eq!((boxed.letterbox.content_rows, boxed.letterbox.pad_top), (16, 8));
        assert!(boxed.data[..8 * 32].iter().all(|&v| v == 0.0));
        assert!(boxed.data[24 * 32..].iter().all(|&v| v == 0.0));
        assert!(boxed.data[9 * 32..23 * 32].iter().all(|&v| v == 1.0));
    }

    #[test]
    fn normalization_is_affine() {
        let frame = PixelFrame::new(16, 16, (0..256).map(|i| i * 257).collect()).unwrap();
        let (tensor, _) = preprocess(&frame, &spec(16));
        assert_eq!((tensor[0], tensor[255]), (-2.0, 2.0));
    }

    #[test]
    fn reduction_does_not_alias() {
        // A one-pixel checkerboard averages to grey at a quarter of the size.
        let mut samples: Vec<u16> =
            (0..128 * 128).map(|i| if (i / 128 + i % 128) % 2 == 0 { 0 } else { 65_535 }).collect();
        // Two corners pin the stretch.
        for r in 0..16 {
            for c in 0..16 {
                samples[r * 128 + c] = 0;
                samples[(127 - r) * 128 + 127 - c] = 65_535;
            }
        }
        let boxed = letterbox_frame(&PixelFrame::new(128, 128, samples).unwrap(), &spec(32));
        let middle = boxed.data[16 * 32 + 16];
        assert!((middle - 0.5).abs() < 0.02, "{middle}");
    }

    #[test]
    fn a_reduced_picture_lies_where_its_source_does() {
        let shade = |r: usize, c: usize| {
            (32_000.0 + 15_000.0 * ((r as f64 / 20.0).sin() + (c as f64 / 15.0).cos())) as u16
        };
        let picture = |(rows, cols): (usize, usize), step: usize| {
            let sample = |i: usize| shade(i / cols * step, i % cols * step);
            PixelFrame::new(rows, cols, (0..rows * cols).map(sample).collect()).unwrap()
        };
        let spec = spec(64);
        for source in [(401, 200), (400, 199), (256, 403)] {
            let full = picture(source, 1);
            let expected = letterbox_frame(&full, &spec);
            assert_eq!(letterbox_reduced(&full, source, 1, &spec), expected);
            for step in [2, 4] {
                let reduced = picture((source.0.div_ceil(step), source.1.div_ceil(step)), step);
                let boxed = letterbox_reduced(&reduced, source, step, &spec);
                assert_eq!(boxed.letterbox, expected.letterbox);
                let off = boxed.data.iter().zip(&expected.data).map(|(a, b)| (a - b).abs());
                let off = off.sum::<f32>() / (64.0 * 64.0);
                // Where samples are taken for averages of theirs it is 0.0023 and more.
                assert!(off < 0.002, "{source:?} / {step}: {off}");
            }
        }
        assert_eq!(spec.sufficient_side(), 192);
    }

    #[test]
    fn every_field_out_of_range_is_named() {
        let bad = |f: fn(&mut PreprocessSpec)| {
            let mut s = PreprocessSpec::default();
            f(&mut s);
            s.validate().unwrap_err().to_string()
        };
        assert!(bad(|s| s.input_size = 0).contains("input_size"));
        assert!(bad(|s| s.input_size = 100).contains("multiple of 16"));
        assert!(bad(|s| s.low_percentile = f32::NAN).contains("low_percentile"));
        assert!(bad(|s| s.high_percentile = 101.0).contains("high_percentile"));
        assert!(bad(|s| s.mean = f32::INFINITY).contains("mean"));
        assert!(bad(|s| s.std = 0.0).contains("std"));
        assert!(PreprocessSpec::default().validate().is_ok());
    }
}
