use std::collections::BTreeSet;

use super::{ImageCounts, Measure, Protocol, protocol::value, statistic};

/// What is computed of images: the figure of one class, or the mean over several classes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Figure {
    classes: Vec<usize>,
    protocol: Protocol,
    measure: Measure,
}

impl Figure {
    /// The figure of one class.
    pub fn of_class(class: usize, protocol: Protocol, measure: Measure) -> Self {
        Self { classes: vec![class], protocol, measure }
    }

    /// The mean over those of the classes `among` that some expert mask of `images` contains. The classes are fixed
    /// here, before anything is resampled, and are the same for all models: a mean over other classes in every
    /// resample or model would compare what is not the same. None if the images contain none of them.
    pub fn mean(
        images: &[&ImageCounts],
        among: &[usize],
        protocol: Protocol,
        measure: Measure,
    ) -> Option<Self> {
        let contained = |class: &usize| {
            images.iter().any(|image| image.classes[*class].is_some_and(|counts| counts.source.truth > 0))
        };
        let classes: Vec<usize> = among.iter().copied().filter(contained).collect();
        (!classes.is_empty()).then_some(Self { classes, protocol, measure })
    }

    /// How many classes it is the mean of.
    pub fn classes(&self) -> usize {
        self.classes.len()
    }

    /// Its value over images; none if one of its classes has none, as under [`Protocol::Chexlocalize`] where a model
    /// never finds the class.
    pub fn of(&self, images: &[&ImageCounts]) -> Option<f64> {
        let mut sum = 0.0;
        for &class in &self.classes {
            sum += statistic(images.iter().copied(), class, self.protocol, self.measure)?;
        }
        Some(sum / self.classes.len() as f64)
    }

    /// Images that have a value of it: of a mean, in one of its classes.
    pub fn images(&self, images: &[&ImageCounts]) -> usize {
        let counts = |image: &&&ImageCounts| self.classes.iter().any(|&class| self.has_value(image, class));
        images.iter().filter(counts).count()
    }

    /// Patients that contribute to it: of a mean, to the class that fewest contribute to.
    pub fn patients(&self, images: &[&ImageCounts]) -> usize {
        let of_class = |&class: &usize| {
            let own = images.iter().filter(|image| self.has_value(image, class));
            own.map(|image| image.patient.as_str()).collect::<BTreeSet<_>>().len()
        };
        self.classes.iter().map(of_class).min().unwrap_or(0)
    }

    fn has_value(&self, image: &ImageCounts, class: usize) -> bool {
        image.classes[class].is_some_and(|counts| value(&counts, self.protocol, self.measure).is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::{ClassCounts, Counts};

    /// (truth, predicted) of two classes; what is in both masks is the smaller one.
    fn image(patient: &str, areas: [(u64, u64); 2]) -> ImageCounts {
        let counts = |(truth, predicted): (u64, u64)| {
            let counts = Counts { truth, predicted, intersection: truth.min(predicted) };
            Some(ClassCounts { source: counts, model: counts, ..ClassCounts::default() })
        };
        let classes = areas.into_iter().map(counts).collect();
        ImageCounts { patient: patient.into(), classes, ..ImageCounts::default() }
    }

    fn mean(images: &[&ImageCounts], protocol: Protocol) -> Option<Figure> {
        Figure::mean(images, &[0, 1], protocol, Measure::Iou)
    }

    #[test]
    fn the_classes_of_a_mean_are_those_that_experts_saw() {
        // A false alarm of the second class does not make it a class of the mean.
        let (a, b) = (image("1", [(10, 5), (0, 7)]), image("1", [(0, 0), (10, 0)]));
        let figure = mean(&[&a], Protocol::ChexlocalizeFull).unwrap();
        assert_eq!((figure.classes(), figure.of(&[&a])), (1, Some(0.5)));
        let figure = mean(&[&a, &b], Protocol::ChexlocalizeFull).unwrap();
        assert_eq!((figure.classes(), figure.of(&[&a, &b])), (2, Some(0.25)));
        assert_eq!(mean(&[&image("1", [(0, 3), (0, 3)])], Protocol::Dataset), None);
    }

    #[test]
    fn a_class_that_is_never_found_leaves_no_mean_over_true_positives() {
        let (a, b) = (image("1", [(10, 5), (10, 0)]), image("2", [(10, 5), (10, 10)]));
        let figure = mean(&[&a, &b], Protocol::Chexlocalize).unwrap();
        // The same classes for a resample of the first image alone.
        assert_eq!((figure.of(&[&a]), figure.of(&[&a, &b])), (None, Some(0.75)));
        assert_eq!((figure.images(&[&a, &b]), figure.patients(&[&a, &b])), (2, 1));
    }
}
