use serde::{Deserialize, Serialize};
use shared::mask::Mask;

use crate::evaluate::{Counts, Measure};

/// Agreement of pseudo-masks with experts' masks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PseudoQuality {
    /// By class.
    pub classes: Vec<ClassQuality>,
}

/// Agreement in one class, on the model's grid.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassQuality {
    /// The class.
    pub label: String,
    /// Images compared.
    pub images: usize,
    /// Of all images together.
    pub intersection: u64,
    /// Of all images together.
    pub union: u64,
    /// Sum over images of IoU.
    pub sum_iou: f64,
}

impl PseudoQuality {
    /// Nothing compared yet.
    pub fn new(labels: &[String]) -> Self {
        let class = |label: &String| ClassQuality {
            label: label.clone(),
            images: 0,
            intersection: 0,
            union: 0,
            sum_iou: 0.0,
        };
        Self { classes: labels.iter().map(class).collect() }
    }

    /// Adds an image. Images where both masks are empty say nothing.
    pub fn add(&mut self, class: usize, truth: &Mask, found: &Mask) {
        let counts = Counts::of(truth, found);
        if let Some(iou) = Measure::Iou.of(counts) {
            let sums = &mut self.classes[class];
            sums.images += 1;
            sums.intersection += counts.intersection;
            sums.union += counts.union();
            sums.sum_iou += iou;
        }
    }
}

impl ClassQuality {
    /// Mean over images of IoU; none without images.
    pub fn mean_iou(&self) -> Option<f64> {
        (self.images > 0).then(|| self.sum_iou / self.images as f64)
    }
}
