use std::fmt;
use std::str::FromStr;

use image::RgbImage;
use serde::{Deserialize, Serialize};

use super::Mask;
use crate::pixel::PixelFrame;

/// Share of the colour inside a mask; the outline is opaque.
const FILL: f32 = 0.28;

/// An sRGB colour, written `#rrggbb`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Rgb(pub [u8; 3]);

/// A text that is no colour.
#[derive(Debug, thiserror::Error)]
#[error("colour '{0}' is not of the form #rrggbb")]
pub struct ParseRgbError(String);

/// One mask of an overlay.
pub struct Layer<'a> {
    /// The mask, on any grid over the same image.
    pub mask: &'a Mask,
    /// Its colour.
    pub color: Rgb,
}

/// Draws masks over a radiograph: translucent fill, opaque outline. The picture keeps the radiograph's
/// proportions, its longer side at most `max_side` pixels.
pub fn draw_overlay(frame: &PixelFrame, layers: &[Layer<'_>], max_side: usize) -> RgbImage {
    let longer = frame.rows().max(frame.cols());
    let fit = |side: usize| if longer <= max_side { side } else { (side * max_side / longer).max(1) };
    let (rows, cols) = (fit(frame.rows()), fit(frame.cols()));
    let gray = frame.to_image8();
    let gray = crate::preprocess::resize(
        gray.as_raw(),
        fast_image_resize::PixelType::U8,
        (frame.rows(), frame.cols()),
        (rows, cols),
        fast_image_resize::FilterType::Bilinear,
    );
    let mut picture: Vec<[f32; 3]> = gray.iter().map(|&v| [f32::from(v); 3]).collect();
    let stroke = (rows.max(cols) / 400).max(1);
    for layer in layers {
        let mask = layer.mask.resize_nearest(rows, cols);
        let color = layer.color.0.map(f32::from);
        for (i, pixel) in picture.iter_mut().enumerate() {
            if mask.data()[i] == 0 {
                continue;
            }
            let share = if is_edge(&mask, i / cols, i % cols, stroke) { 1.0 } else { FILL };
            for (value, tint) in pixel.iter_mut().zip(color) {
                *value += (tint - *value) * share;
            }
        }
    }
    let bytes = picture.into_iter().flatten().map(|v| v.round() as u8).collect();
    RgbImage::from_raw(cols as u32, rows as u32, bytes).expect("three bytes a pixel")
}

/// Draws a mask's outline in white over a picture of the same image, of whatever size the picture is: an expert's beside
/// a network's.
pub fn draw_outline(picture: &mut RgbImage, mask: &Mask) {
    let (rows, cols) = (picture.height() as usize, picture.width() as usize);
    let mask = mask.resize_nearest(rows, cols);
    for row in 0..rows {
        for col in 0..cols {
            if mask.get(row, col) && is_edge(&mask, row, col, 1) {
                picture.put_pixel(col as u32, row as u32, image::Rgb([255; 3]));
            }
        }
    }
}

/// Whether background lies within `stroke` pixels along a row or column. The picture's border is no edge.
fn is_edge(mask: &Mask, row: usize, col: usize, stroke: usize) -> bool {
    (1..=stroke).any(|d| {
        (row >= d && !mask.get(row - d, col))
            || (row + d < mask.rows() && !mask.get(row + d, col))
            || (col >= d && !mask.get(row, col - d))
            || (col + d < mask.cols() && !mask.get(row, col + d))
    })
}

impl fmt::Display for Rgb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [r, g, b] = self.0;
        write!(f, "#{r:02x}{g:02x}{b:02x}")
    }
}

impl FromStr for Rgb {
    type Err = ParseRgbError;

    fn from_str(text: &str) -> Result<Self, ParseRgbError> {
        let fail = || ParseRgbError(text.to_owned());
        let digits =
            text.strip_prefix('#').filter(|d| d.len() == 6 && d.bytes().all(|b| b.is_ascii_hexdigit()));
        let value = u32::from_str_radix(digits.ok_or_else(fail)?, 16).map_err(|_| fail())?;
        let [_, r, g, b] = value.to_be_bytes();
        Ok(Self([r, g, b]))
    }
}

impl TryFrom<String> for Rgb {
    type Error = ParseRgbError;

    fn try_from(text: String) -> Result<Self, ParseRgbError> {
        text.parse()
    }
}

impl From<Rgb> for String {
    fn from(color: Rgb) -> Self {
        color.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outline_is_opaque_fill_translucent_and_the_rest_untouched() {
        let frame = PixelFrame::new(20, 20, vec![100 * 257; 400]).unwrap();
        let mask = Mask::from_fn(20, 20, |r, c| (5..15).contains(&r) && (5..15).contains(&c));
        let picture = draw_overlay(&frame, &[Layer { mask: &mask, color: Rgb([255, 0, 0]) }], 100);
        assert_eq!(picture.get_pixel(0, 0).0, [100; 3]);
        assert_eq!(picture.get_pixel(5, 10).0, [255, 0, 0]);
        let inside = picture.get_pixel(10, 10).0;
        assert!(inside[0] > 120 && inside[1] < 100, "{inside:?}");
    }

    #[test]
    fn picture_is_bounded_and_keeps_proportions() {
        let frame = PixelFrame::new(300, 150, vec![0; 45_000]).unwrap();
        assert_eq!(draw_overlay(&frame, &[], 100).dimensions(), (50, 100));
    }

    #[test]
    fn colours_parse_both_ways() {
        assert_eq!("#0aff10".parse::<Rgb>().unwrap(), Rgb([10, 255, 16]));
        assert_eq!(Rgb([10, 255, 16]).to_string(), "#0aff10");
        for bad in ["0aff10", "#0aff1", "#0aff1g", "#+aff10"] {
            assert!(bad.parse::<Rgb>().is_err(), "{bad}");
        }
    }
}
