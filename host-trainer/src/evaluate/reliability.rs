use serde::{Deserialize, Serialize};

use super::Calibration;
use super::ranking::CalibrationSums;
use crate::dataset::Sample;

/// Reliability diagrams of pixels, a class each, from images at model size. Padding takes no part: it is background
/// that any network knows.
#[derive(Clone, Debug)]
pub struct Reliability {
    classes: Vec<CalibrationSums>,
}

/// How far the probabilities of one class are what they say.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassReliability {
    /// The class.
    pub label: String,
    /// Over all pixels.
    pub calibration: Calibration,
}

impl Reliability {
    /// Nothing seen yet.
    pub fn new(classes: usize) -> Self {
        Self { classes: vec![CalibrationSums::default(); classes] }
    }

    /// Takes in an image: `logits` is C × S × S.
    ///
    /// # Panics
    /// If the logits do not fill the sample's grid for every class.
    pub fn add(&mut self, sample: &Sample, logits: &[f32]) {
        let size = sample.size();
        assert_eq!(logits.len(), size * size * self.classes.len(), "logits of {}", sample.id);
        let inside = &sample.letterbox;
        for (class, sums) in self.classes.iter_mut().enumerate() {
            let Some(truth) = sample.mask(class) else { continue };
            let plane = &logits[class * size * size..];
            for row in inside.pad_top..inside.pad_top + inside.content_rows {
                for col in inside.pad_left..inside.pad_left + inside.content_cols {
                    let probability = 1.0 / (1.0 + (-f64::from(plane[row * size + col])).exp());
                    if probability.is_finite() {
                        sums.add(probability, truth.get(row, col));
                    }
                }
            }
        }
    }

    /// The diagrams of the classes of these names, in the order that logits have; classes that no image annotates are
    /// left out.
    pub fn diagrams(&self, labels: &[String]) -> Vec<ClassReliability> {
        let of_class = |(label, sums): (&String, &CalibrationSums)| {
            Some(ClassReliability { label: label.clone(), calibration: sums.finish()? })
        };
        labels.iter().zip(&self.classes).filter_map(of_class).collect()
    }
}

#[cfg(test)]
mod tests {
    use shared::preprocess::Letterbox;

    use super::*;
    use crate::evaluate::calibration;

    #[test]
    fn pixels_give_what_their_list_gives_and_padding_and_strangers_nothing() {
        // A picture of 2 × 4 in a grid of 4 × 4: rows 0 and 3 are padding.
        let letterbox = Letterbox::new(2, 4, 4);
        assert_eq!((letterbox.pad_top, letterbox.content_rows), (1, 2));
        let truth: Vec<u8> = (0..16).map(|i| if i % 4 == 0 { 255 } else { 0 }).collect();
        let sample = Sample {
            id: "a".into(),
            letterbox,
            image: vec![0; 16].into(),
            targets: vec![Some(truth.into()), None],
        };
        let logits: Vec<f32> = (0..32).map(|i| (i % 16) as f32 / 4.0 - 2.0).collect();
        let mut reliability = Reliability::new(2);
        reliability.add(&sample, &logits);
        let found = reliability.diagrams(&["heart".into(), "lungs".into()]);
        let pairs: Vec<(f64, bool)> =
            (4..12).map(|i| (1.0 / (1.0 + (-f64::from(logits[i])).exp()), i % 4 == 0)).collect();
        let expected = calibration(&pairs).unwrap();
        assert_eq!(found, [ClassReliability { label: "heart".into(), calibration: expected }]);
    }
}
