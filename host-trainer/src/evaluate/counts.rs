use std::collections::BTreeMap;
use std::ops::AddAssign;

use serde::{Deserialize, Serialize};
use shared::mask::Mask;
use shared::preprocess::Letterbox;

use super::{EvaluateError, SurfaceCounts, surface_tolerance};
use crate::config::{Config, DerivedClass};
use crate::dataset::Annotated;

/// Pixels of an expert mask and of a predicted one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counts {
    /// In the expert's mask.
    pub truth: u64,
    /// In the predicted mask.
    pub predicted: u64,
    /// In both.
    pub intersection: u64,
}

/// One class of one image, on both grids.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassCounts {
    /// At the image's own resolution.
    pub source: Counts,
    /// On the model's grid: pixels that a mask covers by half or more.
    pub model: Counts,
    /// Boundaries on the model's grid, within [`surface_tolerance`] of its side.
    pub surface: SurfaceCounts,
}

/// One image's counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageCounts {
    /// The image.
    pub id: String,
    /// Where it comes from.
    pub source: String,
    /// Whose it is.
    pub patient: String,
    /// What subgroups are formed by, as [`crate::dataset::Record::attributes`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, String>,
    /// By class, derived classes last; `None` where experts did not annotate it.
    pub classes: Vec<Option<ClassCounts>>,
}

/// Counts pixels for the classes of a configuration, derived ones included.
#[derive(Clone, Debug)]
pub struct Judge {
    labels: Vec<String>,
    derived: Vec<DerivedClass>,
    input_size: usize,
}

impl Counts {
    /// Of two masks of one size.
    ///
    /// # Panics
    /// If the sizes differ.
    pub fn of(truth: &Mask, predicted: &Mask) -> Self {
        Self {
            truth: truth.area() as u64,
            predicted: predicted.area() as u64,
            intersection: truth.intersection(predicted) as u64,
        }
    }

    /// Pixels in either mask.
    pub fn union(&self) -> u64 {
        self.truth + self.predicted - self.intersection
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.truth += other.truth;
        self.predicted += other.predicted;
        self.intersection += other.intersection;
    }
}

impl Judge {
    /// A judge for the classes of `config`.
    pub fn new(config: &Config) -> Self {
        Self {
            labels: config.labels(),
            derived: config.derived.clone(),
            input_size: config.preprocess.input_size,
        }
    }

    /// Labels in the order of [`ImageCounts::classes`].
    pub fn labels(&self) -> Vec<String> {
        self.labels.iter().cloned().chain(self.derived.iter().map(|derived| derived.label.clone())).collect()
    }

    /// How many of them are classes of the network.
    pub fn own_classes(&self) -> usize {
        self.labels.len()
    }

    /// Tolerance of [`ClassCounts::surface`] in pixels of the model's grid.
    pub fn surface_tolerance(&self) -> f64 {
        surface_tolerance(self.input_size)
    }

    /// Counts one image; `predicted` holds a mask a class at source resolution. Attributes stay empty: the
    /// image does not know them, its record does.
    pub fn judge(&self, image: &Annotated, predicted: &[Mask]) -> Result<ImageCounts, EvaluateError> {
        let expected = (image.frame.rows(), image.frame.cols());
        if let Some(mask) = predicted.iter().find(|mask| (mask.rows(), mask.cols()) != expected) {
            let found = (mask.rows(), mask.cols());
            return Err(EvaluateError::Size { what: image.id.clone(), found, expected });
        }
        let letterbox = Letterbox::new(expected.0, expected.1, self.input_size);
        let tolerance = self.surface_tolerance();
        let count = |truth: &Mask, predicted: &Mask| {
            let source = Counts::of(truth, predicted);
            let (truth, predicted) = (on_model_grid(&letterbox, truth), on_model_grid(&letterbox, predicted));
            let model = Counts::of(&truth, &predicted);
            ClassCounts { source, model, surface: SurfaceCounts::of(&truth, &predicted, tolerance) }
        };
        let mut classes: Vec<Option<ClassCounts>> = image
            .masks
            .iter()
            .zip(predicted)
            .map(|(truth, found)| Some(count(truth.as_ref()?, found)))
            .collect();
        for derived in &self.derived {
            let parts: Vec<usize> = self
                .labels
                .iter()
                .enumerate()
                .filter(|(_, l)| derived.of.contains(l))
                .map(|(i, _)| i)
                .collect();
            let mut truth = Some(Mask::empty(expected.0, expected.1));
            let mut found = Mask::empty(expected.0, expected.1);
            for &part in &parts {
                found.merge(&predicted[part]);
                truth = truth.zip(image.masks[part].as_ref()).map(|(mut union, mask)| {
                    union.merge(mask);
                    union
                });
            }
            classes.push(truth.map(|truth| count(&truth, &found)));
        }
        let (id, source, patient) = (image.id.clone(), image.source.clone(), image.patient.clone());
        Ok(ImageCounts { id, source, patient, attributes: BTreeMap::new(), classes })
    }
}

fn on_model_grid(letterbox: &Letterbox, mask: &Mask) -> Mask {
    let coverage = letterbox.mask_to_model(mask);
    let size = letterbox.input_size;
    Mask::from_data(size, size, coverage.iter().map(|&v| u8::from(v >= 0.5)).collect())
}

#[cfg(test)]
mod tests {
    use shared::pixel::PixelFrame;

    use super::*;

    fn columns(range: std::ops::Range<usize>) -> Mask {
        Mask::from_fn(32, 32, |_, c| range.contains(&c))
    }

    fn judge() -> Judge {
        Judge {
            labels: vec!["left_lung".into(), "right_lung".into()],
            derived: vec![DerivedClass {
                label: "lungs".into(),
                of: vec!["left_lung".into(), "right_lung".into()],
            }],
            input_size: 16,
        }
    }

    fn image(masks: Vec<Option<Mask>>) -> Annotated {
        let frame = PixelFrame::new(32, 32, vec![0; 1024]).unwrap();
        Annotated { id: "a".into(), source: "s".into(), patient: "p".into(), frame, masks }
    }

    #[test]
    fn both_grids_and_the_union_are_counted() {
        let truth = image(vec![Some(columns(0..8)), Some(columns(16..24))]);
        let counts = judge().judge(&truth, &[columns(0..12), columns(16..20)]).unwrap();
        let left = counts.classes[0].unwrap();
        assert_eq!(left.source, Counts { truth: 256, predicted: 384, intersection: 256 });
        assert_eq!(left.model, Counts { truth: 64, predicted: 96, intersection: 64 });
        // The outer column of the expert's 4 × 16 box and the prediction's 6 × 16 one are 2 pixels apart, beyond
        // the tolerance of 1; what they share of the border of the grid is not.
        assert_eq!((left.surface.truth, left.surface.predicted), (36, 40));
        assert!(left.surface.truth_near < 36 && left.surface.nsd().unwrap() > 0.5);
        let lungs = counts.classes[2].unwrap();
        assert_eq!(lungs.source, Counts { truth: 512, predicted: 512, intersection: 384 });
    }

    #[test]
    fn a_union_with_an_unknown_part_is_unknown() {
        let truth = image(vec![Some(columns(0..8)), None]);
        let counts = judge().judge(&truth, &[columns(0..12), columns(16..20)]).unwrap();
        assert!(counts.classes[0].is_some());
        assert_eq!(counts.classes[1..], [None, None]);
    }

    #[test]
    fn a_prediction_of_another_size_is_refused() {
        let truth = image(vec![Some(columns(0..8)), None]);
        let error = judge().judge(&truth, &[Mask::empty(16, 16), columns(0..1)]).unwrap_err();
        assert!(matches!(error, EvaluateError::Size { .. }), "{error}");
    }
}
