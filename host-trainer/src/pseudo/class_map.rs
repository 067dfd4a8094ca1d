use shared::mask::Mask;

use super::{Decision, bilinear, decide, pseudo_mask};
use crate::config::{Config, Gate};
use crate::dataset::{Record, Sample};
use crate::irnet::content;
use crate::saliency::SaliencyMaps;

/// Where a class is seen in an image, on the model's grid.
#[derive(Clone, Debug, PartialEq)]
pub struct ClassMap {
    /// What becomes of it.
    pub decision: Decision,
    /// S × S values in 0..1, the largest 1 unless all are 0; only meaningful where the map is used.
    pub values: Vec<f32>,
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
        let none = || ClassMap { decision: Decision::Skip, values: vec![0.0; size * size] };
        return config.classes.iter().map(|_| none()).collect();
    };
    let (rows, cols) = (seen.shape[1], seen.shape[2]);
    let class_map = |label: &String| {
        let mut values = vec![0.0_f32; size * size];
        let mut decision = Decision::Skip;
        for (i, finding) in config.findings.iter().enumerate() {
            if finding.class.as_ref() != Some(label) {
                continue;
            }
            match decide(record.findings.get(&finding.label).copied(), gate) {
                Decision::Use => {
                    decision = Decision::Use;
                    let map = &seen.data[i * rows * cols..(i + 1) * rows * cols];
                    let most = map.iter().copied().fold(0.0_f32, f32::max).max(f32::MIN_POSITIVE);
                    for (value, new) in values.iter_mut().zip(bilinear(map, rows, cols, size)) {
                        *value = value.max(new / most);
                    }
                }
                Decision::Empty if decision == Decision::Skip => decision = Decision::Empty,
                Decision::Empty | Decision::Skip => (),
            }
        }
        ClassMap { decision, values }
    };
    config.classes.iter().map(|class| class_map(&class.label)).collect()
}

/// The mask of a map without refinement: Otsu's threshold on the radiograph's pixels, contours filled.
pub fn threshold(map: &ClassMap, sample: &Sample, compat_paper: bool) -> Option<Mask> {
    let size = sample.size();
    match map.decision {
        Decision::Skip => None,
        Decision::Empty => Some(Mask::empty(size, size)),
        Decision::Use => {
            let mut mask = pseudo_mask(&map.values, size, size, compat_paper);
            let inside = content(sample);
            for r in 0..size {
                for c in 0..size {
                    if !inside.get(r, c) {
                        mask.set(r, c, false);
                    }
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
}
