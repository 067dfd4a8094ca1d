use rand::Rng as _;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use shared::mask::Mask;
use shared::pixel::PixelFrame;

use crate::dataset::{Annotated, Stream, stream_rng};

/// What the field does to a radiograph, or a careless set-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Corruption {
    /// The patient leans: rotation, left and right in turn.
    Rotation,
    /// Display curve that darkens.
    GammaDark,
    /// Display curve that brightens.
    GammaBright,
    /// Too much dose: bright regions of the detector's signal saturate, which are dark in the picture.
    Overexposed,
    /// Too little dose: noise.
    Underexposed,
    /// Borders without exposure.
    Collimation,
    /// Burned-in markers and text boxes.
    Markers,
    /// Fewer pixels, and more.
    Size,
    /// Black and white changed (MONOCHROME1 taken for MONOCHROME2).
    Inverted,
    /// Left and right changed.
    Flipped,
}

impl Corruption {
    /// All of them, in the order of tables.
    pub const ALL: [Self; 10] = [
        Self::Rotation,
        Self::GammaDark,
        Self::GammaBright,
        Self::Overexposed,
        Self::Underexposed,
        Self::Collimation,
        Self::Markers,
        Self::Size,
        Self::Inverted,
        Self::Flipped,
    ];

    /// What each strength is; one where there is nothing between not at all and wholly.
    pub fn strengths(self) -> &'static [&'static str] {
        match self {
            Self::Rotation => &["5°", "10°", "15°"],
            Self::GammaDark => &["exponent 1.4", "2", "2.8"],
            Self::GammaBright => &["exponent 0.7", "0.5", "0.35"],
            Self::Overexposed => &["5% of pixels black", "15%", "30%"],
            Self::Underexposed => &["noise 3%", "6%", "12%"],
            Self::Collimation => &["5% of each side", "10%", "15%"],
            Self::Markers => &["1 box", "3", "6"],
            Self::Size => &["255 px", "1500 px", "4000 px"],
            Self::Inverted | Self::Flipped => &["whole"],
        }
    }

    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rotation => "rotation",
            Self::GammaDark => "darker gamma",
            Self::GammaBright => "brighter gamma",
            Self::Overexposed => "overexposure",
            Self::Underexposed => "underexposure",
            Self::Collimation => "collimation borders",
            Self::Markers => "burned-in boxes",
            Self::Size => "size",
            Self::Inverted => "inverted",
            Self::Flipped => "flipped sides",
        }
    }

    /// The image as the field would send it, and its masks where they are now. `number` is the image's place: the same
    /// number gives the same picture for ever.
    ///
    /// # Panics
    /// If there is no such strength.
    pub fn apply(self, image: &Annotated, strength: usize, number: usize) -> Annotated {
        assert!(strength < self.strengths().len(), "{self:?} has no strength {strength}");
        let mut rng = stream_rng(self as u64, Stream::Corruption, number as u64);
        match self {
            Self::Rotation => {
                let degrees = [5.0, 10.0, 15.0][strength];
                let angle: f64 = if number.is_multiple_of(2) { degrees } else { -degrees };
                rotated(image, angle.to_radians())
            }
            Self::GammaDark => with_tone(image, power([1.4, 2.0, 2.8][strength])),
            Self::GammaBright => with_tone(image, power([0.7, 0.5, 0.35][strength])),
            Self::Overexposed => {
                let floor = quantile(&image.frame, [0.05, 0.15, 0.3][strength]);
                with_tone(image, move |v| ((v - floor) / (1.0 - floor).max(1e-3)).max(0.0))
            }
            Self::Underexposed => {
                let deviation = [0.03, 0.06, 0.12][strength];
                // Darker parts of the picture had more signal, and less noise in proportion; nearly Gaussian.
                with_tone(image, move |v| {
                    let gauss = (0..12).map(|_| rng.random::<f32>()).sum::<f32>() - 6.0;
                    v + gauss * deviation * (0.5 + v)
                })
            }
            Self::Collimation => collimated(image, [0.05, 0.10, 0.15][strength]),
            Self::Markers => marked(image, [1, 3, 6][strength], &mut rng),
            Self::Size => resized(image, [255, 1500, 4000][strength]),
            Self::Inverted => with_tone(image, |v| 1.0 - v),
            Self::Flipped => mapped(image, image.frame.rows(), image.frame.cols(), |r, c| {
                Some((r, image.frame.cols() - 1 - c))
            }),
        }
    }
}

fn with_tone(image: &Annotated, mut tone: impl FnMut(f32) -> f32) -> Annotated {
    let mut image = image.clone();
    for sample in image.frame.samples_mut() {
        *sample = (tone(f32::from(*sample) / 65535.0) * 65535.0).round().clamp(0.0, 65535.0) as u16;
    }
    image
}

fn power(exponent: f32) -> impl Fn(f32) -> f32 {
    move |v| v.powf(exponent)
}

/// The grey value 0..1 below which this share of pixels lies.
fn quantile(frame: &PixelFrame, share: f64) -> f32 {
    let mut samples = frame.samples().to_vec();
    let at = (share * (samples.len() - 1) as f64) as usize;
    let (_, value, _) = samples.select_nth_unstable(at);
    f32::from(*value) / 65535.0
}

/// Every pixel and mask from where `from` says, black and nothing where it says nothing.
fn mapped(
    image: &Annotated,
    rows: usize,
    cols: usize,
    from: impl Fn(usize, usize) -> Option<(usize, usize)>,
) -> Annotated {
    let places: Vec<Option<usize>> =
        (0..rows * cols).map(|i| from(i / cols, i % cols).map(|(r, c)| r * image.frame.cols() + c)).collect();
    let samples = places.iter().map(|at| at.map_or(0, |at| image.frame.samples()[at])).collect();
    let frame = PixelFrame::new(rows, cols, samples).expect("rows × cols places");
    let moved = |mask: &Mask| {
        let data = places.iter().map(|at| at.map_or(0, |at| mask.data()[at])).collect();
        Mask::from_data(rows, cols, data)
    };
    let masks = image.masks.iter().map(|mask| mask.as_ref().map(moved)).collect();
    Annotated { frame, masks, ..image.clone() }
}

/// About the centre, nearest pixels: the network's own resize smooths them again.
fn rotated(image: &Annotated, angle: f64) -> Annotated {
    let (rows, cols) = (image.frame.rows(), image.frame.cols());
    let (sin, cos) = angle.sin_cos();
    let (middle_row, middle_col) = ((rows - 1) as f64 / 2.0, (cols - 1) as f64 / 2.0);
    mapped(image, rows, cols, |r, c| {
        let (y, x) = (r as f64 - middle_row, c as f64 - middle_col);
        let (row, col) = ((cos * y - sin * x + middle_row).round(), (sin * y + cos * x + middle_col).round());
        let inside = row >= 0.0 && col >= 0.0 && row < rows as f64 && col < cols as f64;
        inside.then_some((row as usize, col as usize))
    })
}

fn collimated(image: &Annotated, share: f64) -> Annotated {
    let (rows, cols) = (image.frame.rows(), image.frame.cols());
    let [top, side] = [rows, cols].map(|length| (length as f64 * share).round() as usize);
    mapped(image, rows, cols, |r, c| {
        let open = (top..rows - top).contains(&r) && (side..cols - side).contains(&c);
        open.then_some((r, c))
    })
}

/// White boxes with black stripes, as a side marker or a line of text looks from afar. Masks stay: anatomy is still there.
fn marked(image: &Annotated, boxes: usize, rng: &mut ChaCha8Rng) -> Annotated {
    let mut image = image.clone();
    let (rows, cols) = (image.frame.rows(), image.frame.cols());
    for _ in 0..boxes {
        let height = (rows as f32 * rng.random_range(0.03..0.06)).max(1.0) as usize;
        let width = (cols as f32 * rng.random_range(0.04..0.16)).max(1.0) as usize;
        let (top, left) = (rng.random_range(0..=rows - height), rng.random_range(0..=cols - width));
        let stripe = (width / 8).max(1);
        for row in top..top + height {
            for col in left..left + width {
                let white = ((col - left) / stripe).is_multiple_of(2);
                image.frame.samples_mut()[row * cols + col] = if white { u16::MAX } else { 0 };
            }
        }
    }
    image
}

fn resized(image: &Annotated, longer: usize) -> Annotated {
    let (rows, cols) = (image.frame.rows(), image.frame.cols());
    let fit = |side: usize| (side * longer / rows.max(cols)).max(1);
    let (rows, cols) = (fit(rows), fit(cols));
    let filter = image::imageops::FilterType::Triangle;
    let picture = image::imageops::resize(&image.frame.to_image16(), cols as u32, rows as u32, filter);
    let frame = PixelFrame::new(rows, cols, picture.into_raw()).expect("rows × cols samples");
    let masks =
        image.masks.iter().map(|mask| mask.as_ref().map(|mask| mask.resize_nearest(rows, cols))).collect();
    Annotated { frame, masks, ..image.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image() -> Annotated {
        let ramp = (0..40 * 30).map(|i| (i % 30 * 2000 + i / 30 * 100) as u16).collect();
        Annotated {
            id: "a".into(),
            source: "s".into(),
            patient: "p".into(),
            frame: PixelFrame::new(40, 30, ramp).unwrap(),
            masks: vec![Some(Mask::from_fn(40, 30, |r, c| r > 10 && c < 12)), None],
        }
    }

    #[test]
    fn every_strength_gives_a_picture_with_masks_of_its_size_and_the_same_again() {
        for corruption in Corruption::ALL {
            for strength in 0..corruption.strengths().len() {
                let [first, again] = [(); 2].map(|()| corruption.apply(&image(), strength, 3));
                assert_eq!(first.frame, again.frame, "{corruption:?}");
                assert_ne!(first.frame, image().frame, "{corruption:?}");
                let mask = first.masks[0].as_ref().unwrap();
                assert_eq!((mask.rows(), mask.cols()), (first.frame.rows(), first.frame.cols()));
                assert!(first.masks[1].is_none());
            }
        }
    }

    #[test]
    fn stronger_is_further_from_the_image() {
        let off = |corruption: Corruption, strength: usize| -> f64 {
            let changed = corruption.apply(&image(), strength, 0);
            let pairs = changed.frame.samples().iter().zip(image().frame.samples().to_vec());
            pairs.map(|(a, b)| (f64::from(*a) - f64::from(b)).abs()).sum()
        };
        use Corruption::{Collimation, GammaBright, GammaDark, Overexposed, Rotation, Underexposed};
        for corruption in [Rotation, GammaDark, GammaBright, Overexposed, Underexposed, Collimation] {
            assert!(
                off(corruption, 0) < off(corruption, 1) && off(corruption, 1) < off(corruption, 2),
                "{corruption:?}"
            );
        }
    }

    #[test]
    fn masks_go_with_the_anatomy() {
        let flipped = Corruption::Flipped.apply(&image(), 0, 0);
        assert_eq!(flipped.masks[0], Some(Mask::from_fn(40, 30, |r, c| r > 10 && c >= 18)));
        let turned = Corruption::Rotation.apply(&image(), 2, 0);
        let back = Corruption::Rotation.apply(&turned, 2, 1);
        let (mask, truth) = (back.masks[0].clone().unwrap(), image().masks[0].clone().unwrap());
        assert!(mask.intersection(&truth) as f64 > 0.8 * truth.area() as f64);
        let narrowed = Corruption::Collimation.apply(&image(), 2, 0).masks[0].clone().unwrap();
        assert!(narrowed.area() < truth.area() && narrowed.area() > 0);
    }
}
