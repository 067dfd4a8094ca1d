use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::anatomy::Structures;
use crate::manifest::Code;
use crate::mask::Mask;

/// A manifest's `[measurements.cardiothoracic_ratio]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CardiothoracicSpec {
    /// Ratio from which the heart counts as enlarged, above 0 and below 1. 0.5 on a posteroanterior
    /// radiograph of an adult (Danzer, Am J Med Sci 1919;157:513).
    pub enlarged_from: f64,
    /// What an enlarged heart is called.
    pub code: Code,
}

impl Default for CardiothoracicSpec {
    fn default() -> Self {
        Self {
            enlarged_from: 0.5,
            code: Code { scheme: "SCT".into(), value: "8186001".into(), meaning: "Cardiomegaly".into() },
        }
    }
}

/// The cardiothoracic ratio of a frontal radiograph (Danzer 1919).
///
/// The heart's width is what its silhouette reaches to the patient's right plus what it reaches to the left
/// of the midline, along the image's rows; wherever the midline lies, that is the distance between the
/// outermost points. The thorax's width is the distance between the outermost points of both lung fields,
/// which end at the inner border of the ribs. Either pair of points may lie at different heights, as on a
/// radiographer's ruler; a patient tilted in the image is measured as tilted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CardiothoracicRatio {
    /// The image-level finding that `enlarged` is about.
    pub code: Code,
    /// The heart's width over the thorax's, above 0.
    pub ratio: f64,
    /// Ratio from which the heart counts as enlarged.
    pub enlarged_from: f64,
    /// Whether it does.
    pub enlarged: bool,
    /// The heart.
    pub heart: Extent,
    /// The thorax, at the lungs' outer borders.
    pub thorax: Extent,
}

/// A measured width.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Extent {
    /// The width in source pixels.
    pub width_px: f64,
    /// The line to draw, `[x1, y, x2, y]` in source pixels: level, midway between the heights of the two
    /// points that it joins.
    pub line: [f64; 4],
}

impl CardiothoracicRatio {
    /// Measures masks over a radiograph of `source` = (rows, columns) pixels. None if the heart or a lung is
    /// absent. Specks widen an extent: they must have been removed, as
    /// [`segment`](crate::postprocess::segment) does.
    pub fn measure(
        spec: &CardiothoracicSpec,
        structures: &Structures<'_>,
        source: (usize, usize),
    ) -> Option<Self> {
        let heart = Extremes::of(structures.heart?)?;
        let lungs = Extremes::of(structures.left_lung?)?.join(Extremes::of(structures.right_lung?)?);
        let (heart, thorax) = (heart.extent(source), lungs.extent(source));
        let ratio = heart.width_px / thorax.width_px;
        Some(Self {
            code: spec.code.clone(),
            ratio,
            enlarged_from: spec.enlarged_from,
            enlarged: ratio >= spec.enlarged_from,
            heart,
            thorax,
        })
    }

    /// What is wrong with one that came over a wire, for an image of `source` = (rows, columns) pixels: the
    /// field and the problem.
    pub(crate) fn contradiction(&self, source: (usize, usize)) -> Option<(&'static str, &'static str)> {
        for (extent, field) in [(&self.heart, "heart"), (&self.thorax, "thorax")] {
            if !extent.fits(source) {
                return Some((field, "is no level line inside the image of the width that it states"));
            }
        }
        let ratio = self.heart.width_px / self.thorax.width_px;
        let off = (ratio - self.ratio).abs();
        if off.is_nan() || off > 1e-6 {
            return Some(("ratio", "is not that of the two widths"));
        }
        if self.enlarged != (self.ratio >= self.enlarged_from) {
            return Some(("enlarged", "does not follow from ratio and enlarged_from"));
        }
        None
    }
}

/// A line for people.
impl fmt::Display for CardiothoracicRatio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "cardiothoracic ratio {:.2}: heart {:.0} px / thorax {:.0} px",
            self.ratio, self.heart.width_px, self.thorax.width_px
        )?;
        if self.enlarged {
            write!(f, "; {}: from {:.2}", self.code.meaning, self.enlarged_from)?;
        }
        Ok(())
    }
}

impl Extent {
    fn fits(&self, (rows, cols): (usize, usize)) -> bool {
        let [x1, y1, x2, y2] = self.line;
        let inside = |v: f64, end: usize| (0.0..=end as f64).contains(&v);
        inside(x1, cols)
            && inside(x2, cols)
            && inside(y1, rows)
            && y1 == y2
            && x2 > x1
            && (x2 - x1 - self.width_px).abs() < 1e-6
    }
}

/// The outermost points of a mask along its rows, in continuous coordinates of its grid.
#[derive(Clone, Copy)]
struct Extremes {
    left: f64,
    left_row: f64,
    right: f64,
    right_row: f64,
    grid: (usize, usize),
}

impl Extremes {
    fn of(mask: &Mask) -> Option<Self> {
        let bbox = mask.bbox()?;
        let last = bbox.x + bbox.width - 1;
        // Several rows may reach the same column: the middle one of them.
        let height = |col: usize| {
            let rows: Vec<usize> = (0..mask.rows()).filter(|&row| mask.get(row, col)).collect();
            rows[rows.len() / 2] as f64 + 0.5
        };
        Some(Self {
            left: bbox.x as f64,
            left_row: height(bbox.x),
            right: (last + 1) as f64,
            right_row: height(last),
            grid: (mask.rows(), mask.cols()),
        })
    }

    fn join(self, other: Self) -> Self {
        let (left, right) = (
            if self.left <= other.left { self } else { other },
            if self.right >= other.right { self } else { other },
        );
        Self {
            left: left.left,
            left_row: left.left_row,
            right: right.right,
            right_row: right.right_row,
            grid: self.grid,
        }
    }

    fn extent(self, (rows, cols): (usize, usize)) -> Extent {
        let (down, across) = (rows as f64 / self.grid.0 as f64, cols as f64 / self.grid.1 as f64);
        let y = 0.5 * (self.left_row + self.right_row) * down;
        let (x1, x2) = (self.left * across, self.right * across);
        Extent { width_px: x2 - x1, line: [x1, y, x2, y] }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::phantom::{Anatomy, HeartShape, PhantomParams, Structure, render};

    fn block(x: std::ops::Range<usize>, y: std::ops::Range<usize>) -> Mask {
        Mask::from_fn(100, 200, |r, c| y.contains(&r) && x.contains(&c))
    }

    fn measure(heart: &Mask, right_lung: &Mask, left_lung: &Mask) -> Option<CardiothoracicRatio> {
        let structures =
            Structures { left_lung: Some(left_lung), right_lung: Some(right_lung), heart: Some(heart) };
        CardiothoracicRatio::measure(&CardiothoracicSpec::default(), &structures, (200, 600))
    }

    #[test]
    fn widths_are_in_source_pixels_and_lines_midway_between_the_ends() {
        let found =
            measure(&block(80..130, 50..71), &block(20..80, 10..80), &block(120..180, 20..61)).unwrap();
        // Three source columns and two rows a mask pixel.
        assert_eq!(found.heart, Extent { width_px: 150.0, line: [240.0, 121.0, 390.0, 121.0] });
        assert_eq!(found.thorax.width_px, 480.0);
        assert_eq!(found.thorax.line, [60.0, 86.0, 540.0, 86.0]);
        assert!((found.ratio - 50.0 / 160.0).abs() < 1e-12 && !found.enlarged);
        assert_eq!(found.contradiction((200, 600)), None);
        let wide = measure(&block(60..140, 50..70), &block(20..80, 10..80), &block(120..180, 20..60));
        let wide = wide.unwrap();
        assert!(wide.enlarged, "0.5 exactly counts");
        let text = "cardiothoracic ratio 0.50: heart 240 px / thorax 480 px; Cardiomegaly: from 0.50";
        assert_eq!(wide.to_string(), text);
    }

    #[test]
    fn nothing_is_measured_where_a_structure_is_missing() {
        let (some, none) = (block(0..50, 0..50), Mask::empty(100, 200));
        assert!(measure(&none, &some, &some).is_none());
        assert!(measure(&some, &none, &some).is_none());
        assert!(measure(&some, &some, &none).is_none());
        let structures = Structures { heart: Some(&some), left_lung: Some(&some), right_lung: None };
        assert!(CardiothoracicRatio::measure(&CardiothoracicSpec::default(), &structures, (9, 9)).is_none());
    }

    #[test]
    fn tampered_values_contradict() {
        let found =
            || measure(&block(80..130, 50..70), &block(20..80, 10..80), &block(120..180, 20..60)).unwrap();
        let field = |change: fn(&mut CardiothoracicRatio)| {
            let mut found = found();
            change(&mut found);
            found.contradiction((200, 600)).map(|(field, _)| field)
        };
        assert_eq!(field(|f| f.ratio = 0.4), Some("ratio"));
        assert_eq!(field(|f| f.ratio = f64::NAN), Some("ratio"));
        assert_eq!(field(|f| f.enlarged = true), Some("enlarged"));
        assert_eq!(field(|f| f.heart.line[2] = 700.0), Some("heart"));
        assert_eq!(field(|f| f.thorax.width_px = 0.0), Some("thorax"));
        assert_eq!(field(|f| f.thorax.line[1] = -1.0), Some("thorax"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]

        /// The phantom's anatomy says how wide its heart is drawn.
        #[test]
        fn a_phantoms_ratio_is_measured_as_drawn(seed: u64, ratio in 0.38..0.62_f64) {
            let heart = HeartShape { cardiothoracic_ratio: ratio, ..HeartShape::default() };
            let anatomy = Anatomy { heart, ..Anatomy::default() };
            let base = PhantomParams::random(seed, 256, 256);
            let params = PhantomParams {
                anatomy,
                findings: Default::default(),
                acquisition: Default::default(),
                ..base
            };
            let phantom = render(&params).unwrap();
            let structures = Structures {
                left_lung: Some(phantom.mask(Structure::LeftLung)),
                right_lung: Some(phantom.mask(Structure::RightLung)),
                heart: Some(phantom.mask(Structure::Heart)),
            };
            let found =
                CardiothoracicRatio::measure(&CardiothoracicSpec::default(), &structures, (256, 256)).unwrap();
            prop_assert!((found.ratio - ratio).abs() < 0.04, "{} {ratio}", found.ratio);
        }
    }
}
