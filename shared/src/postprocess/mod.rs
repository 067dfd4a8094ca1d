//! From the network's logits to masks over source pixels.
//!
//! Logits are interpolated bilinearly onto the wanted grid and compared with the logit of the class's
//! threshold times its temperature, which equals interpolating, dividing by the temperature and applying the
//! sigmoid after; of a class that lies within others, what is outside their convex hull goes; then small components go, those of
//! the image and those beside a larger one.

mod sampler;

use serde::{Deserialize, Serialize};

use crate::manifest::ClassSpec;
use crate::mask::{ConvexHull, Mask, remove_small_components};
use crate::preprocess::Letterbox;

use sampler::Sampler;

/// The network's output `[C, h, w]`, row-major, one plane a class, covering the whole letterboxed input.
#[derive(Clone, Copy, Debug)]
pub struct Logits<'a> {
    classes: usize,
    rows: usize,
    cols: usize,
    data: &'a [f32],
}

/// One class of a radiograph.
#[derive(Clone, Debug, PartialEq)]
pub struct ClassResult {
    /// Foreground on the wanted grid.
    pub mask: Mask,
    /// The greatest calibrated probability anywhere in the image, 0..=1: at or above the threshold exactly if some pixel
    /// of the network's output is foreground, also if it goes for want of size or for its place.
    pub score: f32,
}

/// What is left of a plane of logits when its pixels are forgotten: enough to tell that another engine computes something
/// else, and nothing that the last bit of a sum could change.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogitsDigest {
    /// Mean of the plane.
    pub mean: f32,
    /// Standard deviation of the plane.
    pub deviation: f32,
}

impl LogitsDigest {
    /// Of each plane, rounded to four digits after the point.
    pub fn of(logits: &Logits<'_>) -> Vec<Self> {
        let rounded = |v: f64| ((v * 1e4).round() / 1e4) as f32;
        let of_plane = |class: usize| {
            let plane = logits.plane(class);
            let count = plane.len() as f64;
            let mean = plane.iter().map(|v| f64::from(*v)).sum::<f64>() / count;
            let variance = plane.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum::<f64>() / count;
            Self { mean: rounded(mean), deviation: rounded(variance.sqrt()) }
        };
        (0..logits.classes()).map(of_plane).collect()
    }

    /// How far the other's mean or deviation is off, whichever is further.
    pub fn distance(&self, other: &Self) -> f32 {
        (self.mean - other.mean).abs().max((self.deviation - other.deviation).abs())
    }
}

/// Logits that do not fit the bundle.
#[derive(Debug, thiserror::Error)]
pub enum LogitsError {
    /// Values do not fill the shape.
    #[error("logits of shape [{classes}, {rows}, {cols}] cannot hold {values} values")]
    Shape {
        /// Planes.
        classes: usize,
        /// Rows.
        rows: usize,
        /// Columns.
        cols: usize,
        /// Values found.
        values: usize,
    },
    /// The graph has another number of classes than the manifest.
    #[error("the graph puts out {found} classes, the manifest names {expected}")]
    Classes {
        /// Planes of the graph.
        found: usize,
        /// Classes of the manifest.
        expected: usize,
    },
    /// NaN or infinite logits.
    #[error("the graph puts out values that are not finite for class {class}: the model is damaged")]
    NotFinite {
        /// Index of the class.
        class: usize,
    },
}

impl<'a> Logits<'a> {
    /// A view of `[classes, rows, cols]` values.
    pub fn new(classes: usize, rows: usize, cols: usize, data: &'a [f32]) -> Result<Self, LogitsError> {
        if classes * rows * cols != data.len() || data.is_empty() {
            return Err(LogitsError::Shape { classes, rows, cols, values: data.len() });
        }
        Ok(Self { classes, rows, cols, data })
    }

    /// Number of planes.
    pub fn classes(&self) -> usize {
        self.classes
    }

    fn plane(&self, class: usize) -> &'a [f32] {
        &self.data[class * self.rows * self.cols..][..self.rows * self.cols]
    }
}

/// The largest grid of a `rows × cols` image whose longer side is at most `max_side`.
pub fn mask_grid(rows: usize, cols: usize, max_side: usize) -> (usize, usize) {
    let longer = rows.max(cols);
    if longer <= max_side {
        return (rows, cols);
    }
    let fit = |side: usize| ((2 * side * max_side + longer) / (2 * longer)).max(1);
    (fit(rows), fit(cols))
}

/// Masks and scores of every class, on a grid of `grid` = (rows, columns) over the source image.
pub fn segment(
    logits: &Logits<'_>,
    letterbox: &Letterbox,
    classes: &[ClassSpec],
    grid: (usize, usize),
) -> Result<Vec<ClassResult>, LogitsError> {
    if logits.classes != classes.len() {
        return Err(LogitsError::Classes { found: logits.classes, expected: classes.len() });
    }
    let sampler = Sampler::new(letterbox, (logits.rows, logits.cols), grid);
    let bare = |(class, spec): (usize, &ClassSpec)| {
        let plane = logits.plane(class);
        if plane.iter().any(|v| !v.is_finite()) {
            return Err(LogitsError::NotFinite { class });
        }
        let mask = sampler.threshold(plane, spec.temperature * logit(spec.threshold));
        Ok(ClassResult { mask, score: sigmoid(sampler.greatest(plane) / spec.temperature) })
    };
    let mut results: Vec<ClassResult> = classes.iter().enumerate().map(bare).collect::<Result<_, _>>()?;
    let clear = |mask: &mut Mask, spec: &ClassSpec| {
        let least = (f64::from(spec.min_area_fraction) * (grid.0 * grid.1) as f64).ceil() as usize;
        remove_small_components(mask, least, spec.min_part_fraction);
    };
    for (result, spec) in results.iter_mut().zip(classes).filter(|(_, spec)| spec.within.is_empty()) {
        clear(&mut result.mask, spec);
    }
    for (class, spec) in classes.iter().enumerate().filter(|(_, spec)| !spec.within.is_empty()) {
        let around = results.iter().zip(classes).filter(|(_, other)| spec.within.contains(&other.label));
        let around: Vec<&Mask> = around.map(|(result, _)| &result.mask).collect();
        let hull = ConvexHull::around(&around);
        let mask = &mut results[class].mask;
        // Where nothing is found that it could lie in, nothing is known of its place.
        if let Some(hull) = hull {
            hull.clip(mask);
        }
        clear(mask, spec);
    }
    Ok(results)
}

/// The value whose sigmoid is `p`.
fn logit(p: f32) -> f32 {
    (p / (1.0 - p)).ln()
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::tests::class;

    fn plane(size: usize, f: impl Fn(usize, usize) -> f32) -> Vec<f32> {
        (0..size * size).map(|i| f(i / size, i % size)).collect()
    }

    #[test]
    fn a_mask_comes_back_where_it_was() {
        let truth = Mask::from_fn(600, 400, |r, c| {
            let (y, x) = (r as f64 - 310.0, c as f64 - 190.0);
            (y / 200.0).powi(2) + (x / 120.0).powi(2) < 1.0
        });
        let boxed = Letterbox::new(600, 400, 320);
        let coverage = boxed.mask_to_model(&truth);
        let logits: Vec<f32> = coverage.iter().map(|v| (v - 0.5) * 10.0).collect();
        let view = Logits::new(1, 320, 320, &logits).unwrap();
        let out = segment(&view, &boxed, &[class("heart")], (600, 400)).unwrap();
        assert!(out[0].mask.iou(&truth) > 0.985, "{}", out[0].mask.iou(&truth));
        assert!(out[0].score > 0.99);
        let coarse = segment(&view, &boxed, &[class("heart")], mask_grid(600, 400, 150)).unwrap();
        assert_eq!((coarse[0].mask.rows(), coarse[0].mask.cols()), (150, 100));
        assert!(coarse[0].mask.resize_nearest(600, 400).iou(&truth) > 0.97);
    }

    #[test]
    fn padding_counts_for_nothing() {
        // Hot padding above a cold image.
        let boxed = Letterbox::new(100, 400, 32);
        let logits = plane(32, |r, _| if r < boxed.pad_top - 1 { 9.0 } else { -9.0 });
        let view = Logits::new(1, 32, 32, &logits).unwrap();
        let out = segment(&view, &boxed, &[class("heart")], (100, 400)).unwrap();
        assert!(out[0].mask.is_empty() && out[0].score < 0.01);
    }

    #[test]
    fn threshold_compares_probabilities() {
        let boxed = Letterbox::new(16, 16, 16);
        let logits = plane(16, |_, c| if c < 8 { logit(0.69) } else { logit(0.71) });
        let view = Logits::new(1, 16, 16, &logits).unwrap();
        let spec = ClassSpec { threshold: 0.7, min_area_fraction: 0.0, ..class("heart") };
        let out = segment(&view, &boxed, &[spec], (16, 16)).unwrap();
        assert_eq!(out[0].mask, Mask::from_fn(16, 16, |_, c| c >= 8));
        assert!((out[0].score - 0.71).abs() < 1e-5);
    }

    #[test]
    fn thresholds_and_scores_are_of_calibrated_probabilities() {
        let boxed = Letterbox::new(16, 16, 16);
        let logits = plane(16, |_, c| c as f32 - 7.3);
        let view = Logits::new(1, 16, 16, &logits).unwrap();
        let run = |temperature, threshold| {
            let spec = ClassSpec { temperature, threshold, min_area_fraction: 0.0, ..class("heart") };
            segment(&view, &boxed, &[spec], (16, 16)).unwrap().remove(0)
        };
        let calibrated = run(2.5, 0.7);
        assert!((calibrated.score - sigmoid(7.7 / 2.5)).abs() < 1e-6);
        let share = |c: usize| sigmoid((c as f32 - 7.3) / 2.5);
        assert_eq!(calibrated.mask, Mask::from_fn(16, 16, |_, c| share(c) >= 0.7));
        // At one half a temperature moves no mask.
        assert_eq!(run(2.5, 0.5).mask, run(1.0, 0.5).mask);
    }

    #[test]
    fn specks_below_the_least_area_go() {
        let boxed = Letterbox::new(32, 32, 32);
        let logits = plane(32, |r, c| if (r, c) == (4, 4) || r > 20 { 5.0 } else { -5.0 });
        let view = Logits::new(1, 32, 32, &logits).unwrap();
        let spec = ClassSpec { min_area_fraction: 0.01, ..class("heart") };
        let out = segment(&view, &boxed, &[spec], (32, 32)).unwrap();
        assert_eq!(out[0].mask, Mask::from_fn(32, 32, |r, _| r > 20));
    }

    #[test]
    fn parts_that_are_little_beside_the_largest_go_whatever_part_of_the_image_they_are() {
        let boxed = Letterbox::new(32, 32, 32);
        // 320 pixels and 24.
        let logits = plane(32, |r, c| if r < 10 || (r > 28 && c < 8) { 5.0 } else { -5.0 });
        let view = Logits::new(1, 32, 32, &logits).unwrap();
        let area = |min_part_fraction| {
            let spec = ClassSpec { min_area_fraction: 0.001, min_part_fraction, ..class("left_lung") };
            segment(&view, &boxed, &[spec], (32, 32)).unwrap()[0].mask.area()
        };
        assert_eq!([0.0, 0.07, 0.1].map(area), [344, 344, 320]);
    }

    #[test]
    fn what_lies_outside_the_classes_around_it_goes_before_small_parts_do() {
        let boxed = Letterbox::new(32, 32, 32);
        let disc = |r: usize, c: usize, at: f32| (r as f32 - 15.5).hypot(c as f32 - at) < 4.0;
        let lungs = |found: bool| {
            plane(32, move |r, c| if found && (disc(r, c, 6.0) || disc(r, c, 25.0)) { 5.0 } else { -5.0 })
        };
        // A bar through both lungs and beyond, and a speck that the bar's lower end has as its neighbour.
        let bar = plane(32, |r, c| if (14..20).contains(&r) || c == 15 && r > 18 { 5.0 } else { -5.0 });
        let masks = |found| {
            let logits = [bar.clone(), lungs(found)].concat();
            let opacity =
                ClassSpec { within: vec!["lungs".into()], min_area_fraction: 0.0, ..class("opacity") };
            let view = Logits::new(2, 32, 32, &logits).unwrap();
            segment(&view, &boxed, &[opacity, class("lungs")], (32, 32)).unwrap()
        };
        let [opacity, lung] = &masks(true)[..] else { panic!("two classes") };
        let mut expected = masks(false)[0].mask.clone();
        assert_eq!(expected.area(), 6 * 32 + 12);
        ConvexHull::around(&[&lung.mask]).unwrap().clip(&mut expected);
        assert_eq!(opacity.mask, expected);
        assert!(opacity.mask.get(15, 15) && !opacity.mask.get(15, 1) && !opacity.mask.get(25, 15));
    }

    #[test]
    fn a_digest_of_logits_tells_planes_apart_by_mean_and_spread() {
        let data = [1.0, 3.0, 1.0, 3.0, 2.0, 2.0, 2.0, 2.0];
        let digests = LogitsDigest::of(&Logits::new(2, 2, 2, &data).unwrap());
        assert_eq!(digests[0], LogitsDigest { mean: 2.0, deviation: 1.0 });
        assert_eq!(digests[1], LogitsDigest { mean: 2.0, deviation: 0.0 });
        assert_eq!(digests[0].distance(&digests[1]), 1.0);
    }

    #[test]
    fn wrong_shapes_and_values_are_named() {
        assert!(Logits::new(2, 2, 2, &[0.0; 7]).unwrap_err().to_string().contains("7 values"));
        let boxed = Letterbox::new(4, 4, 16);
        let nan = [f32::NAN; 4];
        let view = Logits::new(1, 2, 2, &nan).unwrap();
        assert!(
            segment(&view, &boxed, &[class("heart")], (4, 4)).unwrap_err().to_string().contains("damaged")
        );
        assert!(segment(&view, &boxed, &[], (4, 4)).unwrap_err().to_string().contains("manifest names 0"));
    }
}
