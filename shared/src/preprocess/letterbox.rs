use fast_image_resize::{FilterType, PixelType};
use serde::{Deserialize, Serialize};

use crate::mask::Mask;

/// The geometry between a source image and the square grid of the network: the longer side fills the grid,
/// the shorter is centred.
///
/// Coordinates are continuous, in pixels, with pixel centres at half-integers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Letterbox {
    /// Rows of the source image.
    pub source_rows: usize,
    /// Columns of the source image.
    pub source_cols: usize,
    /// Side of the network's grid.
    pub input_size: usize,
    /// Rows of the grid that hold image.
    pub content_rows: usize,
    /// Columns of the grid that hold image.
    pub content_cols: usize,
    /// Rows of padding above the image.
    pub pad_top: usize,
    /// Columns of padding left of the image.
    pub pad_left: usize,
}

impl Letterbox {
    /// The letterbox of a `rows × cols` image on a grid of `input_size`, all at least 1.
    pub fn new(rows: usize, cols: usize, input_size: usize) -> Self {
        let longer = rows.max(cols).max(1) as u128;
        // Rounded to the nearest pixel; a sliver keeps one. Wide, for sizes that came over a wire.
        let fit = |side: usize| {
            ((side as u128 * input_size as u128 + longer / 2) / longer).clamp(1, input_size as u128) as usize
        };
        let (content_rows, content_cols) = (fit(rows), fit(cols));
        Self {
            source_rows: rows,
            source_cols: cols,
            input_size,
            content_rows,
            content_cols,
            pad_top: (input_size - content_rows) / 2,
            pad_left: (input_size - content_cols) / 2,
        }
    }

    /// Whether the numbers fit together, for a letterbox that came over a wire.
    pub fn is_consistent(&self) -> bool {
        self.source_rows > 0
            && self.source_cols > 0
            && self.input_size > 0
            && *self == Self::new(self.source_rows, self.source_cols, self.input_size)
    }

    /// From a source point (x right, y down) to the network's grid.
    pub fn to_model(&self, x: f64, y: f64) -> (f64, f64) {
        (
            self.pad_left as f64 + x * self.content_cols as f64 / self.source_cols as f64,
            self.pad_top as f64 + y * self.content_rows as f64 / self.source_rows as f64,
        )
    }

    /// From a point on the network's grid to the source; padding maps outside the image.
    pub fn to_source(&self, x: f64, y: f64) -> (f64, f64) {
        (
            (x - self.pad_left as f64) * self.source_cols as f64 / self.content_cols as f64,
            (y - self.pad_top as f64) * self.source_rows as f64 / self.content_rows as f64,
        )
    }

    /// A source mask as coverage 0..=1 of every pixel of the network's grid, row-major; padding is 0.
    ///
    /// # Panics
    /// If the mask's size is not the source's.
    pub fn mask_to_model(&self, mask: &Mask) -> Vec<f32> {
        assert_eq!(
            (mask.rows(), mask.cols()),
            (self.source_rows, self.source_cols),
            "mask and image differ in size"
        );
        let bytes: Vec<u8> = mask.data().iter().map(|v| v * 255).collect();
        let content = super::resize(
            &bytes,
            PixelType::U8,
            (mask.rows(), mask.cols()),
            (self.content_rows, self.content_cols),
            FilterType::Box,
        );
        let coverage: Vec<f32> = content.iter().map(|&v| f32::from(v) / 255.0).collect();
        self.pad(&coverage)
    }

    /// Centres `content_rows × content_cols` values on the grid.
    pub(super) fn pad(&self, content: &[f32]) -> Vec<f32> {
        let size = self.input_size;
        let mut grid = vec![0.0; size * size];
        for (r, line) in content.chunks_exact(self.content_cols).enumerate() {
            let start = (self.pad_top + r) * size + self.pad_left;
            grid[start..start + self.content_cols].copy_from_slice(line);
        }
        grid
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn inverse_returns_to_the_point(
            rows in 1_usize..5000, cols in 1_usize..5000, fx in 0.0..1.0_f64, fy in 0.0..1.0_f64,
        ) {
            let boxed = Letterbox::new(rows, cols, 320);
            let (x, y) = (fx * cols as f64, fy * rows as f64);
            let (mx, my) = boxed.to_model(x, y);
            prop_assert!((0.0..=320.0).contains(&mx) && (0.0..=320.0).contains(&my));
            let (bx, by) = boxed.to_source(mx, my);
            prop_assert!((bx - x).abs() < 1e-6 && (by - y).abs() < 1e-6);
        }

        /// The ideal letterbox scales both axes alike and centres exactly. Whole pixels of content move its
        /// border by a quarter of a model pixel at most, whole pixels of padding by half of one.
        #[test]
        fn geometry_is_within_three_quarters_of_a_pixel_of_the_ideal(
            rows in 16_usize..5000, cols in 16_usize..5000, fx in 0.0..1.0_f64, fy in 0.0..1.0_f64,
        ) {
            let size = 320.0;
            let boxed = Letterbox::new(rows, cols, 320);
            let scale = size / rows.max(cols) as f64;
            let (x, y) = (fx * cols as f64, fy * rows as f64);
            let ideal_x = (size - cols as f64 * scale) / 2.0 + x * scale;
            let ideal_y = (size - rows as f64 * scale) / 2.0 + y * scale;
            let (mx, my) = boxed.to_model(x, y);
            prop_assert!((mx - ideal_x).abs() <= 0.75 && (my - ideal_y).abs() <= 0.75, "{mx} {ideal_x} {my} {ideal_y}");
        }

        #[test]
        fn content_and_padding_fill_the_grid(rows in 1_usize..9000, cols in 1_usize..9000) {
            let boxed = Letterbox::new(rows, cols, 320);
            prop_assert_eq!(boxed.content_rows.max(boxed.content_cols), 320);
            prop_assert!(boxed.pad_top * 2 + boxed.content_rows >= 319);
            prop_assert!(boxed.pad_left * 2 + boxed.content_cols >= 319);
            prop_assert!(boxed.is_consistent());
        }
    }

    #[test]
    fn mask_coverage_keeps_its_place_and_area() {
        let mask = Mask::from_fn(400, 200, |r, c| (100..300).contains(&r) && (50..150).contains(&c));
        let boxed = Letterbox::new(400, 200, 64);
        let coverage = boxed.mask_to_model(&mask);
        let total: f32 = coverage.iter().sum();
        assert!((total - 32.0 * 16.0).abs() < 1.0, "{total}");
        assert_eq!(coverage[32 * 64 + 32], 1.0);
        assert_eq!(coverage[32 * 64 + 2], 0.0);
    }

    #[test]
    fn tampered_geometry_is_seen() {
        let mut boxed = Letterbox::new(400, 200, 64);
        boxed.pad_left += 1;
        assert!(!boxed.is_consistent());
    }
}
