use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{ClassCounts, Counts, ImageCounts};

/// How pixels of many images become one figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// Pixels summed over all images at model size, then one ratio (CheXseg, Gadgil et al. 2021).
    Dataset,
    /// A ratio for every image at source resolution, averaged over images where expert and prediction are
    /// both non-empty: CheXlocalize's `eval.py` with `true_pos_only` (Saporta et al. 2022). Misses and false
    /// alarms go unseen.
    Chexlocalize,
    /// The same, averaged over images where either is non-empty: a miss or a false alarm counts 0.
    ChexlocalizeFull,
}

/// What is measured of two masks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Measure {
    /// Intersection over union.
    Iou,
    /// 2 · intersection over the sum of areas.
    Dice,
    /// Normalized surface distance ([`super::SurfaceCounts::nsd`]) on the model's grid. By image only: boundaries
    /// summed over images would weigh images by their contours.
    Nsd,
}

impl Protocol {
    /// All protocols.
    pub const ALL: [Self; 3] = [Self::Dataset, Self::Chexlocalize, Self::ChexlocalizeFull];

    /// Its name in manifests and tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dataset => "dataset",
            Self::Chexlocalize => "chexlocalize",
            Self::ChexlocalizeFull => "chexlocalize-full",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Protocol {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|protocol| protocol.name() == text).ok_or_else(|| {
            format!("unknown protocol \"{text}\" (one of dataset, chexlocalize, chexlocalize-full)")
        })
    }
}

impl Measure {
    /// All measures.
    pub const ALL: [Self; 3] = [Self::Iou, Self::Dice, Self::Nsd];

    /// Its name in manifests and tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Iou => "iou",
            Self::Dice => "dice",
            Self::Nsd => "nsd",
        }
    }

    /// Of two masks; none if both are empty, and for the surface distance, which areas do not tell.
    pub fn of(self, counts: Counts) -> Option<f64> {
        let Counts { truth, predicted, intersection } = counts;
        let (part, whole) = match self {
            Self::Iou => (intersection, counts.union()),
            Self::Dice => (2 * intersection, truth + predicted),
            Self::Nsd => return None,
        };
        if whole == 0 { None } else { Some(part as f64 / whole as f64) }
    }
}

/// What one class of one image has to say under a protocol: its own ratio, at the size that the protocol looks at. None
/// if it is left out.
pub(super) fn value(counts: &ClassCounts, protocol: Protocol, measure: Measure) -> Option<f64> {
    let Counts { truth, predicted, .. } = counts.source;
    let of_image = || match measure {
        Measure::Iou | Measure::Dice => measure.of(counts.source),
        Measure::Nsd => counts.surface.nsd(),
    };
    match protocol {
        Protocol::Dataset => measure.of(counts.model),
        Protocol::Chexlocalize => (truth > 0 && predicted > 0).then(of_image).flatten(),
        // Masks that vanish on the model's grid have no boundaries there, but a finding that was missed all the same.
        Protocol::ChexlocalizeFull => of_image().or((truth > 0 || predicted > 0).then_some(0.0)),
    }
}

/// The figure of one class over images; none if no image can be judged.
pub fn statistic<'a>(
    images: impl Iterator<Item = &'a ImageCounts>,
    class: usize,
    protocol: Protocol,
    measure: Measure,
) -> Option<f64> {
    let counted = images.filter_map(|image| image.classes[class]);
    if protocol == Protocol::Dataset {
        let mut sum = Counts::default();
        counted.for_each(|counts| sum += counts.model);
        return measure.of(sum);
    }
    let (mut sum, mut n) = (0.0, 0_u32);
    for value in counted.filter_map(|counts| value(&counts, protocol, measure)) {
        sum += value;
        n += 1;
    }
    if n == 0 { None } else { Some(sum / f64::from(n)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::{ClassCounts, SurfaceCounts};

    fn image(truth: u64, predicted: u64, intersection: u64) -> ImageCounts {
        let counts = Counts { truth, predicted, intersection };
        let surface = SurfaceCounts { truth, truth_near: intersection, predicted, predicted_near: 0 };
        ImageCounts {
            classes: vec![Some(ClassCounts { source: counts, model: counts, surface }), None],
            ..ImageCounts::default()
        }
    }

    fn iou(images: &[ImageCounts], protocol: Protocol) -> Option<f64> {
        statistic(images.iter(), 0, protocol, Measure::Iou)
    }

    #[test]
    fn protocols_differ_as_their_definitions_do() {
        // A hit of IoU 1/2, a miss, a false alarm, a true negative.
        let images = [image(10, 5, 5), image(10, 0, 0), image(0, 20, 0), image(0, 0, 0)];
        assert_eq!(iou(&images, Protocol::Dataset), Some(5.0 / 40.0));
        assert_eq!(iou(&images, Protocol::Chexlocalize), Some(0.5));
        assert_eq!(iou(&images, Protocol::ChexlocalizeFull), Some(0.5 / 3.0));
    }

    #[test]
    fn dice_is_two_thirds_where_iou_is_half() {
        let images = [image(10, 5, 5)];
        assert_eq!(statistic(images.iter(), 0, Protocol::Dataset, Measure::Dice), Some(2.0 / 3.0));
    }

    #[test]
    fn surface_distance_is_by_image() {
        let images = [image(10, 5, 5), image(10, 0, 0)];
        let nsd = |protocol| statistic(images.iter(), 0, protocol, Measure::Nsd);
        assert_eq!(nsd(Protocol::Dataset), None);
        assert_eq!(nsd(Protocol::Chexlocalize), Some(1.0 / 3.0));
        assert_eq!(nsd(Protocol::ChexlocalizeFull), Some(1.0 / 6.0));
    }

    #[test]
    fn a_finding_that_vanishes_on_the_grid_counts_as_missed() {
        let mut tiny = image(10, 0, 0);
        if let Some(counts) = &mut tiny.classes[0] {
            (counts.model, counts.surface) = (Counts::default(), SurfaceCounts::default());
        }
        let images = [image(10, 5, 5), tiny];
        let nsd = |protocol| statistic(images.iter(), 0, protocol, Measure::Nsd);
        assert_eq!(nsd(Protocol::ChexlocalizeFull), Some(1.0 / 6.0));
        assert_eq!(nsd(Protocol::Chexlocalize), Some(1.0 / 3.0));
    }

    #[test]
    fn names_are_read_back() {
        assert!(Protocol::ALL.iter().all(|protocol| protocol.name().parse() == Ok(*protocol)));
        assert!("chexlocalise".parse::<Protocol>().unwrap_err().contains("chexlocalize-full"));
    }

    #[test]
    fn nothing_to_judge_is_none() {
        for protocol in Protocol::ALL {
            assert_eq!(iou(&[image(0, 0, 0)], protocol), None);
            assert_eq!(statistic([image(1, 1, 1)].iter(), 1, protocol, Measure::Iou), None);
        }
    }
}
