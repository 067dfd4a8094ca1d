//! Random variation of a training image, the same for image and masks where pixels move.
//!
//! One call is a pure function of (sample, settings, generator). The order follows the way of a radiograph:
//! patient and tube move (`warp`), the detector and its processing change grey values (`tone`), and the
//! picture gets collimation borders and burned-in marks (`occlude`). Horizontal flips are left out on
//! purpose: they would swap left and right lung.

mod devices;
mod occlude;
mod tone;
mod warp;

use std::sync::Arc;

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::Sample;
pub(super) use devices::draw_devices;

/// Strength of each variation. Every amplitude is the largest one; draws are uniform in between.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AugmentSpec {
    /// Off: images pass as they are.
    pub enabled: bool,
    /// Rotation either way, degrees.
    pub rotation_deg: f32,
    /// Smallest and largest magnification.
    pub scale: [f32; 2],
    /// Difference of the two axes' magnification: 0.1 is up to ±10%.
    pub aspect: f32,
    /// Shift either way, as a share of the image's side.
    pub translate: f32,
    /// Shear either way, degrees.
    pub shear_deg: f32,
    /// Smooth displacement, as a share of the image's side.
    pub elastic: f32,
    /// Probability of the smooth displacement.
    pub elastic_probability: f32,
    /// Addition to grey values (range 0..1).
    pub brightness: f32,
    /// Smallest and largest factor about mid grey.
    pub contrast: [f32; 2],
    /// Smallest and largest exponent.
    pub gamma: [f32; 2],
    /// Slope of exposure across the image: up to this much brighter at one border than at the other.
    pub exposure_gradient: f32,
    /// Standard deviation of noise (range 0..1).
    pub noise: f32,
    /// Probability of noise.
    pub noise_probability: f32,
    /// Standard deviation of blur, pixels.
    pub blur: f32,
    /// Probability of blur.
    pub blur_probability: f32,
    /// Widest collimation border, as a share of the image's side.
    pub collimation: f32,
    /// Probability of collimation borders.
    pub collimation_probability: f32,
    /// Most burned-in boxes.
    pub markers: u32,
    /// Longest side of a burned-in box, as a share of the image's side.
    pub marker_size: f32,
}

impl Default for AugmentSpec {
    fn default() -> Self {
        Self {
            enabled: true,
            rotation_deg: 15.0,
            scale: [0.8, 1.2],
            aspect: 0.1,
            translate: 0.08,
            shear_deg: 5.0,
            elastic: 0.02,
            elastic_probability: 0.3,
            brightness: 0.12,
            contrast: [0.75, 1.3],
            gamma: [0.6, 1.6],
            exposure_gradient: 0.15,
            noise: 0.04,
            noise_probability: 0.5,
            blur: 1.5,
            blur_probability: 0.25,
            collimation: 0.12,
            collimation_probability: 0.15,
            markers: 2,
            marker_size: 0.12,
        }
    }
}

impl AugmentSpec {
    /// The first field that cannot work, and why.
    pub(crate) fn fault(&self) -> Option<(&'static str, &'static str)> {
        const RANGE: &str = "must be a rising pair above 0 and at most 10";
        const SHARE: &str = "must lie in 0..=1";
        let range = |[low, high]: [f32; 2]| low > 0.0 && low <= high && high <= 10.0;
        let up_to = |most: f32, v: f32| (0.0..=most).contains(&v);
        let share = |v| up_to(1.0, v);
        [
            ("rotation_deg", up_to(180.0, self.rotation_deg), "must lie in 0..=180"),
            ("scale", range(self.scale), RANGE),
            ("aspect", up_to(0.9, self.aspect), "must lie in 0..=0.9"),
            ("translate", share(self.translate), SHARE),
            ("shear_deg", up_to(80.0, self.shear_deg), "must lie in 0..=80"),
            ("elastic", share(self.elastic), SHARE),
            ("elastic_probability", share(self.elastic_probability), SHARE),
            ("brightness", share(self.brightness), SHARE),
            ("contrast", range(self.contrast), RANGE),
            ("gamma", range(self.gamma), RANGE),
            ("exposure_gradient", share(self.exposure_gradient), SHARE),
            ("noise", share(self.noise), SHARE),
            ("noise_probability", share(self.noise_probability), SHARE),
            ("blur", up_to(20.0, self.blur), "must lie in 0..=20"),
            ("blur_probability", share(self.blur_probability), SHARE),
            ("collimation", up_to(0.5, self.collimation), "must lie in 0..=0.5"),
            ("collimation_probability", share(self.collimation_probability), SHARE),
            ("markers", self.markers <= 100, "must be at most 100"),
            ("marker_size", share(self.marker_size), SHARE),
        ]
        .into_iter()
        .find_map(|(field, holds, reason)| (!holds).then_some((field, reason)))
    }
}

/// One augmented image.
#[derive(Clone, Debug, PartialEq)]
pub struct Example {
    /// Side of the grid, pixels.
    pub size: usize,
    /// Grey values 0..1, padding 0.
    pub image: Vec<f32>,
    /// Coverage 0..1 of each class; `None` where it is not annotated.
    pub targets: Vec<Option<Vec<f32>>>,
}

/// One random variation of `sample`.
pub fn augment(sample: &Sample, spec: &AugmentSpec, rng: &mut ChaCha8Rng) -> Example {
    if !spec.enabled {
        let unit = |coverage: &Arc<[u8]>| coverage.iter().map(|&v| f32::from(v) / 255.0).collect();
        let targets = sample.targets.iter().map(|t| t.as_ref().map(unit)).collect();
        return Example { size: sample.size(), image: sample.gray(), targets };
    }
    let field = warp::Field::random(spec, sample.size(), rng);
    let warp::Warped { mut image, inside, targets } = field.apply(sample);
    regray(&mut image, &inside, sample.size(), spec, rng);
    Example { size: sample.size(), image, targets }
}

/// One image as teacher and student see it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ShownViews {
    /// Moved pixels, grey values as they are, 0..1.
    pub(super) weak: Vec<f32>,
    /// Whether the pixel shows the radiograph, not padding.
    pub(super) inside: Vec<bool>,
    /// The same geometry with other grey values, 0..1.
    pub(super) strong: Vec<Vec<f32>>,
}

/// One random movement of `sample`, and `count` random changes of its grey values.
pub(super) fn augment_views(
    sample: &Sample,
    spec: &AugmentSpec,
    count: usize,
    rng: &mut ChaCha8Rng,
) -> ShownViews {
    if !spec.enabled {
        let weak = sample.gray();
        return ShownViews { inside: sample.inside(), strong: vec![weak.clone(); count], weak };
    }
    let warp::Warped { image: weak, inside, .. } =
        warp::Field::random(spec, sample.size(), rng).apply(sample);
    let view = |_| {
        let mut image = weak.clone();
        regray(&mut image, &inside, sample.size(), spec, rng);
        image
    };
    let strong = (0..count).map(view).collect();
    ShownViews { weak, inside, strong }
}

/// Changes grey values in place.
fn regray(image: &mut [f32], inside: &[bool], size: usize, spec: &AugmentSpec, rng: &mut ChaCha8Rng) {
    tone::vary(image, size, spec, rng);
    occlude::burn_in_markers(image, size, spec, rng);
    occlude::collimate(image, size, spec, rng);
    // The device pads with exact zeros: brightness and noise end at the radiograph's border.
    for (value, inside) in image.iter_mut().zip(inside) {
        *value = if *inside { value.clamp(0.0, 1.0) } else { 0.0 };
    }
}

/// Uniform in ±`amplitude`.
fn either(rng: &mut ChaCha8Rng, amplitude: f32) -> f32 {
    (rng.random::<f32>() * 2.0 - 1.0) * amplitude
}

/// Uniform between two values, in whichever order.
fn between(rng: &mut ChaCha8Rng, [low, high]: [f32; 2]) -> f32 {
    low + rng.random::<f32>() * (high - low)
}

/// True with `probability`.
fn chance(rng: &mut ChaCha8Rng, probability: f32) -> bool {
    rng.random::<f32>() < probability
}

#[cfg(test)]
mod tests {
    use shared::preprocess::Letterbox;

    use super::*;
    use crate::dataset::{Stream, stream_rng};

    /// A landscape picture, letterboxed, with a bright square that is its own mask.
    fn sample() -> Sample {
        let size = 64;
        let square = |i: usize| (24..40).contains(&(i / size)) && (20..36).contains(&(i % size));
        let letterbox = Letterbox::new(96, 128, size);
        let top = letterbox.pad_top;
        let content = |i: usize| (top..size - top).contains(&(i / size));
        let image = (0..size * size).map(|i| match (square(i), content(i)) {
            (true, _) => 60_000,
            (_, true) => 20_000,
            _ => 0,
        });
        Sample {
            id: "square".into(),
            image: image.collect(),
            targets: vec![Some((0..size * size).map(|i| if square(i) { 255 } else { 0 }).collect()), None],
            letterbox,
        }
    }

    fn only_warp() -> AugmentSpec {
        AugmentSpec {
            brightness: 0.0,
            contrast: [1.0, 1.0],
            gamma: [1.0, 1.0],
            exposure_gradient: 0.0,
            noise_probability: 0.0,
            blur_probability: 0.0,
            collimation_probability: 0.0,
            markers: 0,
            ..AugmentSpec::default()
        }
    }

    #[test]
    fn same_generator_same_image() {
        let draw = |n| augment(&sample(), &AugmentSpec::default(), &mut stream_rng(1, Stream::Augment, n));
        assert_eq!(draw(0), draw(0));
        assert_ne!(draw(0), draw(1));
    }

    #[test]
    fn image_and_mask_move_together() {
        for n in 0..20 {
            let example = augment(&sample(), &only_warp(), &mut stream_rng(2, Stream::Augment, n));
            let mask = example.targets[0].as_ref().unwrap();
            for (value, coverage) in example.image.iter().zip(mask) {
                if *coverage > 0.999 {
                    assert!(*value > 0.9, "bright where the mask is full: {value}");
                } else if *coverage < 0.001 {
                    assert!(*value < 0.4, "dark where the mask is empty: {value}");
                }
            }
            let area: f32 = mask.iter().sum();
            assert!((100.0..500.0).contains(&area), "16 × 16 scaled by 0.8..1.2: {area}");
            assert!(example.targets[1].is_none());
        }
    }

    #[test]
    fn values_stay_in_range_and_padding_stays_black() {
        let still = AugmentSpec {
            rotation_deg: 0.0,
            scale: [1.0, 1.0],
            aspect: 0.0,
            translate: 0.0,
            shear_deg: 0.0,
            elastic_probability: 0.0,
            ..AugmentSpec::default()
        };
        for n in 0..20 {
            let example = augment(&sample(), &still, &mut stream_rng(3, Stream::Augment, n));
            assert!(example.image.iter().all(|v| (0.0..=1.0).contains(v)));
            let top = sample().letterbox.pad_top;
            assert!(top > 0);
            assert!(example.image[..top * 64].iter().all(|&v| v == 0.0));
        }
    }

    #[test]
    fn nothing_changes_when_disabled() {
        let spec = AugmentSpec { enabled: false, ..AugmentSpec::default() };
        let example = augment(&sample(), &spec, &mut stream_rng(4, Stream::Augment, 0));
        assert_eq!(example.image, sample().gray());
    }

    #[test]
    fn padding_is_outside_whether_pixels_move_or_not() {
        let views = |enabled| {
            let spec = AugmentSpec {
                enabled,
                rotation_deg: 0.0,
                scale: [1.0, 1.0],
                aspect: 0.0,
                translate: 0.0,
                shear_deg: 0.0,
                elastic_probability: 0.0,
                ..only_warp()
            };
            augment_views(&sample(), &spec, 1, &mut stream_rng(6, Stream::Unlabeled, 0))
        };
        let still = views(false);
        assert_eq!(still.inside, views(true).inside);
        assert!(!still.inside[0] && still.inside[32 * 64 + 32]);
    }

    #[test]
    fn all_amplitudes_at_zero_change_nothing() {
        let still = AugmentSpec {
            rotation_deg: 0.0,
            scale: [1.0, 1.0],
            aspect: 0.0,
            translate: 0.0,
            shear_deg: 0.0,
            elastic_probability: 0.0,
            ..only_warp()
        };
        let example = augment(&sample(), &still, &mut stream_rng(5, Stream::Augment, 0));
        for (a, b) in example.image.iter().zip(sample().gray()) {
            assert!((a - b).abs() < 1e-4, "{a} {b}");
        }
    }
}
