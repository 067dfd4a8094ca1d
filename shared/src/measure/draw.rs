use image::RgbImage;

use super::{Extent, Measurements};
use crate::mask::Rgb;

/// Stands out from grey and from the colours that classes usually have.
const COLOR: Rgb = Rgb([255, 214, 10]);

/// Draws the measured widths over a picture of a radiograph of `source` = (rows, columns) pixels, of whatever
/// size the picture is: a line with a tick at each end.
pub fn draw_measurements(picture: &mut RgbImage, measurements: &Measurements, source: (usize, usize)) {
    let Some(ratio) = &measurements.cardiothoracic_ratio else { return };
    for extent in [&ratio.heart, &ratio.thorax] {
        draw(picture, extent, source);
    }
}

fn draw(picture: &mut RgbImage, extent: &Extent, (rows, cols): (usize, usize)) {
    let (width, height) = picture.dimensions();
    let scale = (f64::from(width) / cols as f64, f64::from(height) / rows as f64);
    let stroke = f64::from(width.max(height) / 500).max(1.0);
    let [x1, y, x2, _] = extent.line;
    let (x1, y, x2) = (x1 * scale.0, y * scale.1, x2 * scale.0);
    fill(picture, (x1, x2), (y - stroke / 2.0, y + stroke / 2.0));
    for left in [x1, x2 - stroke] {
        fill(picture, (left, left + stroke), (y - 5.0 * stroke, y + 5.0 * stroke));
    }
}

/// Fills a rectangle, at least a pixel wide and high, as far as it lies in the picture.
fn fill(picture: &mut RgbImage, x: (f64, f64), y: (f64, f64)) {
    let range = |(from, to): (f64, f64), end: u32| {
        let from = (from.round().max(0.0) as u32).min(end.saturating_sub(1));
        from..(to.round().max(0.0) as u32).max(from + 1).min(end)
    };
    let (width, height) = picture.dimensions();
    for row in range(y, height) {
        for col in range(x, width) {
            picture.put_pixel(col, row, image::Rgb(COLOR.0));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::{CardiothoracicRatio, CardiothoracicSpec};

    #[test]
    fn lines_lie_where_they_were_measured_at_any_scale() {
        let extent = |x1, y, x2| Extent { width_px: x2 - x1, line: [x1, y, x2, y] };
        let measurements = Measurements {
            cardiothoracic_ratio: Some(CardiothoracicRatio {
                code: CardiothoracicSpec::default().code,
                ratio: 0.5,
                enlarged_from: 0.5,
                enlarged: true,
                heart: extent(200.0, 300.0, 400.0),
                thorax: extent(0.0, 200.0, 400.0),
            }),
        };
        let mut picture = RgbImage::new(200, 200);
        draw_measurements(&mut picture, &measurements, (400, 400));
        let drawn = |x, y| picture.get_pixel(x, y).0 == COLOR.0;
        assert!(drawn(100, 150) && drawn(199, 150) && !drawn(98, 150) && !drawn(150, 140));
        assert!(drawn(0, 100) && drawn(0, 97) && drawn(50, 100) && !drawn(50, 97));
        let mut untouched = RgbImage::new(200, 200);
        draw_measurements(&mut untouched, &Measurements::default(), (400, 400));
        assert!(untouched.pixels().all(|p| p.0 == [0; 3]));
    }
}
