use shared::mask::Mask;

use super::{Decision, bilinear, decide, pseudo_mask};
use crate::config::{Config, Gate};
use crate::dataset::{Record, Sample};
use crate::saliency::SaliencyMaps;

/// Where a class is seen in an image, on the model's grid.
#[derive(Clone, Debug, PartialEq)]
pub struct ClassMap {
    /// What becomes of it.
    pub decision: Decision,
    /// S × S values in 0..1, the largest 1 unless all are 0; only meaningful where the map is used.
    pub values: Vec<f32>,
    /// The largest value before it was made 1.
    pub most: f32,
}

impl ClassMap {
    /// Whether it becomes a mask.
    pub fn is_used(&self) -> bool {
        self.decision == Decision::Use
    }
}

/// The maps of an image, one a class of the configuration: the largest of the maps of the findings that name the
/// class. A class that no finding names is skipped.
pub fn class_maps(config: &Config, record: &Record, maps: &SaliencyMaps, gate: Gate) -> Vec<ClassMap> {
    let size = config.preprocess.input_size;
    let Some(seen) = maps.maps.get(&record.id) else {
        let none = || ClassMap { decision: Decision::Skip, values: vec![0.0; size * size], most: 0.0 };
        return config.classes.iter().map(|_| none()).collect();
    };
    let (rows, cols) = (seen.shape[1], seen.shape[2]);
    let class_map = |label: &String| {
        let mut values = vec![0.0_f32; size * size];
        let mut decisions = Vec::new();
        for (i, finding) in config.findings.iter().enumerate() {
            if finding.class.as_ref() != Some(label) {
                continue;
            }
            let map = &seen.data[i * rows * cols..(i + 1) * rows * cols];
            let mut decision = decide(record.findings.get(&finding.label).copied(), gate);
            // A finding that the classifier sees nowhere says nothing of where it is.
            if decision == Decision::Use && gate != Gate::None && map.iter().all(|&v| v <= 0.0) {
                decision = Decision::Skip;
            }
            if decision == Decision::Use {
                let full = bilinear(map, rows, cols, size);
                values.iter_mut().zip(full).for_each(|(value, new)| *value = value.max(new));
            }
            decisions.push(decision);
        }
        let most = values.iter().copied().fold(0.0_f32, f32::max);
        if most > 0.0 {
            values.iter_mut().for_each(|v| *v /= most);
        }
        ClassMap { decision: together(&decisions), values, most }
    };
    config.classes.iter().map(|class| class_map(&class.label)).collect()
}

/// One finding that is seen shows the class; it is absent only if all say so.
fn together(decisions: &[Decision]) -> Decision {
    if decisions.contains(&Decision::Use) {
        Decision::Use
    } else if !decisions.is_empty() && decisions.iter().all(|d| *d == Decision::Empty) {
        Decision::Empty
    } else {
        Decision::Skip
    }
}

/// The mask of a map without refinement: Otsu's threshold on the radiograph's own pixels, contours filled. The paper's
/// code thresholds the map as the network gives it.
pub fn threshold(map: &ClassMap, sample: &Sample, compat_paper: bool) -> Option<Mask> {
    let size = sample.size();
    match map.decision {
        Decision::Skip => None,
        Decision::Empty => Some(Mask::empty(size, size)),
        Decision::Use => {
            let boxed = &sample.letterbox;
            let (rows, cols) = (boxed.content_rows, boxed.content_cols);
            let scale = if compat_paper { map.most } else { 1.0 };
            let line = |r: usize| {
                let first = (boxed.pad_top + r) * size + boxed.pad_left;
                map.values[first..first + cols].iter().map(move |v| v * scale)
            };
            let content: Vec<f32> = (0..rows).flat_map(line).collect();
            let cut = pseudo_mask(&content, rows, cols, compat_paper);
            let mut mask = Mask::empty(size, size);
            for r in 0..rows {
                for c in 0..cols {
                    mask.set(boxed.pad_top + r, boxed.pad_left + c, cut.get(r, c));
                }
            }
            Some(mask)
        }
    }
}

/// Means over cells of `factor`² of a map of `size`², scaled to a largest of 1.
pub fn shrink(values: &[f32], size: usize, factor: usize) -> Vec<f32> {
    let grid = size / factor;
    let cell = |p: usize| {
        let (r, c) = (p / grid * factor, p % grid * factor);
        let sum: f32 =
            (r..r + factor).map(|r| values[r * size + c..r * size + c + factor].iter().sum::<f32>()).sum();
        sum / (factor * factor) as f32
    };
    let mut small: Vec<f32> = (0..grid * grid).map(cell).collect();
    let most = small.iter().copied().fold(0.0_f32, f32::max);
    if most > 0.0 {
        small.iter_mut().for_each(|v| *v /= most);
    }
    small
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shrinking_takes_means_and_rescales() {
        let values: Vec<f32> = (0..16).map(|v| v as f32).collect();
        // Means of the four 2 × 2 cells: 2.5, 4.5, 10.5, 12.5.
        let small = shrink(&values, 4, 2);
        for (a, b) in small.iter().zip([2.5, 4.5, 10.5, 12.5]) {
            assert!((a - b / 12.5).abs() < 1e-6);
        }
        assert_eq!(shrink(&[0.0; 16], 4, 2), [0.0; 4]);
    }

    #[test]
    fn a_class_is_absent_only_if_all_its_findings_are() {
        use Decision::{Empty, Skip, Use};
        assert_eq!(together(&[Empty, Empty]), Empty);
        assert_eq!(together(&[Empty, Skip]), Skip);
        assert_eq!(together(&[Skip, Use, Empty]), Use);
        assert_eq!(together(&[]), Skip);
    }

    #[test]
    fn otsus_threshold_does_not_see_the_padding() {
        use shared::preprocess::Letterbox;
        // A landscape image: a quarter of the square is padding above and below.
        let sample = Sample {
            id: "a".into(),
            letterbox: Letterbox::new(8, 16, 16),
            image: vec![0; 256].into(),
            targets: Vec::new(),
        };
        let content = |p: usize| (4..12).contains(&(p / 16));
        // Within the content 0.6 and 1.0; Otsu over the whole square would part content from padding.
        let value = |p: usize| {
            if !content(p) {
                0.0
            } else if p % 16 < 8 {
                0.6
            } else {
                1.0
            }
        };
        let map = ClassMap { decision: Decision::Use, values: (0..256).map(value).collect(), most: 300.0 };
        for compat in [false, true] {
            let mask = threshold(&map, &sample, compat).unwrap();
            assert_eq!(mask, Mask::from_fn(16, 16, |r, c| (4..12).contains(&r) && c >= 8), "{compat}");
        }
    }
}
