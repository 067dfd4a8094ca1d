use shared::mask::{Mask, Rle};

use super::{CrfSpec, refine_labels};
use crate::config::IrnetSpec;
use crate::dataset::{CodedSample, Sample};
use crate::pseudo::ClassMap;

/// Confident pixels of an image from its classes' maps, on the model's grid: masks of background, class 1, class 2, …; a
/// pixel in none is unsure. None if no map is used.
///
/// A pixel is a class where that class's map is the largest of all and at least `foreground` of its maximum, and
/// background where all are below `background`; both after a dense CRF has drawn them to the image's own borders.
pub fn seeds(sample: &Sample, maps: &[ClassMap], spec: &IrnetSpec) -> Option<CodedSample> {
    let used: Vec<&ClassMap> = maps.iter().filter(|map| map.is_used()).collect();
    if used.is_empty() {
        return None;
    }
    let size = sample.size();
    let gray: Vec<u8> = sample.image.iter().map(|v| (v >> 8) as u8).collect();
    let labels = |level: f32| labels(&gray, size, &used, level, &spec.crf);
    let (sure, likely) = (labels(spec.foreground), labels(spec.background));
    let inside = sample.inside();
    let plane = |wanted: &dyn Fn(usize) -> bool| {
        Some(Rle::encode(&Mask::from_fn(size, size, |r, c| inside[r * size + c] && wanted(r * size + c))))
    };
    let mut masks = vec![plane(&|p| sure[p] == 0 && likely[p] == 0)];
    // One plane a class of the configuration, so that all images have as many.
    for map in maps {
        let label = used.iter().position(|used| std::ptr::eq(*used, map)).map(|i| i as u8 + 1);
        masks.push(plane(&|p| label == Some(sure[p])));
    }
    Some(CodedSample::new(sample, masks).expect("masks that were just encoded"))
}

/// The largest class of every pixel from `level` on, 0 below, refined by the CRF.
fn labels(gray: &[u8], size: usize, maps: &[&ClassMap], level: f32, crf: &CrfSpec) -> Vec<u8> {
    let label = |p: usize| {
        let best = (0..maps.len()).max_by(|&a, &b| maps[a].values[p].total_cmp(&maps[b].values[p]));
        best.filter(|&class| maps[class].values[p] >= level).map_or(0, |class| class as u8 + 1)
    };
    let labels: Vec<u8> = (0..size * size).map(label).collect();
    refine_labels(gray, size, size, &labels, maps.len() + 1, crf)
}

#[cfg(test)]
mod tests {
    use shared::preprocess::Letterbox;

    use super::*;
    use crate::pseudo::Decision;

    #[test]
    fn a_bright_disc_under_a_blurred_map_is_foreground_and_the_far_dark_background() {
        let size = 48;
        let distance = |p: usize| {
            let (r, c) = ((p / size) as f32 - 24.0, (p % size) as f32 - 24.0);
            (r * r + c * c).sqrt()
        };
        let sample = Sample {
            id: "disc".into(),
            letterbox: Letterbox::new(size, size, size),
            image: (0..size * size).map(|p| if distance(p) < 10.0 { 60_000 } else { 5000 }).collect(),
            targets: Vec::new(),
        };
        let values: Vec<f32> = (0..size * size).map(|p| (-(distance(p) / 9.0).powi(4)).exp()).collect();
        let map = ClassMap { decision: Decision::Use, values, most: 1.0 };
        let unused = ClassMap { decision: Decision::Skip, values: vec![0.0; size * size], most: 0.0 };
        let seeded = seeds(&sample, &[map, unused], &IrnetSpec::default()).unwrap().decoded();
        let is =
            |plane: usize, r: usize, c: usize| seeded.targets[plane].as_ref().unwrap()[r * size + c] == 255;
        assert!(is(1, 24, 24) && !is(0, 24, 24));
        assert!(is(0, 2, 2) && !is(1, 2, 2));
        assert!(seeded.targets[2].as_ref().unwrap().iter().all(|&v| v == 0));
        assert_eq!(seeded.targets.len(), 3);
    }

    #[test]
    fn an_image_without_a_used_map_has_no_seeds() {
        let sample = Sample {
            id: "a".into(),
            letterbox: Letterbox::new(8, 8, 8),
            image: vec![0; 64].into(),
            targets: Vec::new(),
        };
        let map = ClassMap { decision: Decision::Empty, values: vec![0.0; 64], most: 0.0 };
        assert!(seeds(&sample, &[map], &IrnetSpec::default()).is_none());
    }
}
