use rand::Rng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::augment::{AugmentSpec, augment_views};
use super::sample::normalize;
use super::{Sample, Stream, stream_rng};

/// How images without masks are shown to teacher and student (Yang et al. 2023, UniMatch, arXiv:2208.09910, §3).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ViewSpec {
    /// Images a step.
    pub batch: usize,
    /// Strongly varied views of each image.
    pub views: usize,
    /// Probability that a strong view gets a box of another image (Yun et al. 2019, CutMix, arXiv:1905.04899).
    pub cutmix: f32,
    /// Smallest and largest share of the image that the box covers.
    pub cutmix_area: [f32; 2],
}

impl Default for ViewSpec {
    fn default() -> Self {
        Self { batch: 4, views: 2, cutmix: 0.5, cutmix_area: [0.02, 0.4] }
    }
}

/// Images of one step for which no mask is known.
#[derive(Clone, Debug, PartialEq)]
pub struct UnlabeledBatch {
    /// Images in it (N).
    pub len: usize,
    /// Their ids.
    pub ids: Vec<String>,
    /// N × 1 × S × S: moved pixels, grey values as they are, normalised. The teacher reads these.
    pub weak: Vec<f32>,
    /// N × 1 × S × S: 1 where the pixel shows the radiograph, 0 on padding.
    pub inside: Vec<f32>,
    /// The student's views.
    pub strong: Vec<StrongView>,
}

/// One strongly varied view of every image of a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct StrongView {
    /// N × 1 × S × S: the same geometry, other grey values, boxes of the next image pasted in; normalised.
    pub images: Vec<f32>,
    /// N × 1 × S × S: 1 where the pixel comes from the next image of the batch (the first follows the last).
    pub pasted: Vec<f32>,
}

impl UnlabeledBatch {
    /// The unlabeled images of step `number`.
    pub(super) fn draw(
        pool: &[Sample],
        spec: &ViewSpec,
        augment: &AugmentSpec,
        seed: u64,
        number: u64,
        [mean, std]: [f32; 2],
    ) -> Self {
        let len = spec.batch;
        let mut batch =
            Self { len, ids: Vec::new(), weak: Vec::new(), inside: Vec::new(), strong: Vec::new() };
        let mut views: Vec<Vec<Vec<f32>>> = vec![Vec::new(); spec.views];
        let mut size = 0;
        for draw in number * len as u64..(number + 1) * len as u64 {
            let mut rng = stream_rng(seed, Stream::Unlabeled, draw);
            let sample = super::order::nth_of_epochs(pool, seed, Stream::UnlabeledOrder, draw);
            size = sample.size();
            batch.ids.push(sample.id.clone());
            let shown = augment_views(sample, augment, spec.views, &mut rng);
            batch.weak.extend(normalize(&shown.weak, mean, std));
            batch.inside.extend(shown.inside.iter().map(|&inside| if inside { 1.0 } else { 0.0 }));
            for (view, image) in views.iter_mut().zip(&shown.strong) {
                view.push(normalize(image, mean, std).collect());
            }
        }
        let mut rng = stream_rng(seed, Stream::CutMix, number);
        batch.strong = views.iter().map(|images| mix(images, size, spec, &mut rng)).collect();
        batch
    }
}

/// Pastes boxes of the next image into each image.
fn mix(images: &[Vec<f32>], size: usize, spec: &ViewSpec, rng: &mut ChaCha8Rng) -> StrongView {
    let plane = size * size;
    let mut view = StrongView { images: Vec::new(), pasted: vec![0.0; images.len() * plane] };
    for (i, image) in images.iter().enumerate() {
        let mut mixed = image.clone();
        if images.len() > 1 && rng.random::<f32>() < spec.cutmix {
            let next = &images[(i + 1) % images.len()];
            let [rows, cols] = cut_box(size, spec.cutmix_area, rng);
            for r in rows {
                let line = r * size + cols.start..r * size + cols.end;
                mixed[line.clone()].copy_from_slice(&next[line.clone()]);
                view.pasted[i * plane..][line].fill(1.0);
            }
        }
        view.images.extend(mixed);
    }
    view
}

/// Rows and columns of a random box whose area lies in `share` of the image, its sides at most 1 : 3.
fn cut_box(size: usize, share: [f32; 2], rng: &mut ChaCha8Rng) -> [std::ops::Range<usize>; 2] {
    let area = (share[0] + rng.random::<f32>() * (share[1] - share[0])) * (size * size) as f32;
    let ratio = (1.0_f32 / 3.0) * 9.0_f32.powf(rng.random::<f32>());
    let side = |v: f32| (v.round() as usize).clamp(1, size);
    let (height, width) = (side((area * ratio).sqrt()), side((area / ratio).sqrt()));
    let (top, left) = (rng.random_range(0..=size - height), rng.random_range(0..=size - width));
    [top..top + height, left..left + width]
}

#[cfg(test)]
mod tests {
    use shared::preprocess::Letterbox;

    use super::*;

    fn pool() -> Vec<Sample> {
        let sample = |i: u16| Sample {
            id: i.to_string(),
            letterbox: Letterbox::new(16, 16, 16),
            image: vec![(i + 1) * 10_000; 256].into(),
            targets: vec![None],
        };
        (0..5).map(sample).collect()
    }

    #[test]
    fn pasted_pixels_are_the_next_images_and_all_others_its_own() {
        // Without variation each image is flat, so that every pixel tells whose it is.
        let spec = ViewSpec { batch: 3, views: 2, cutmix: 1.0, ..ViewSpec::default() };
        let still = AugmentSpec { enabled: false, ..AugmentSpec::default() };
        let batch = UnlabeledBatch::draw(&pool(), &spec, &still, 1, 4, [0.0, 1.0]);
        assert_eq!((batch.weak.len(), batch.strong.len()), (3 * 256, 2));
        for view in &batch.strong {
            assert!(view.pasted.contains(&1.0) && view.pasted.contains(&0.0));
            for i in 0..3 {
                for p in 0..256 {
                    let from = if view.pasted[i * 256 + p] == 1.0 { (i + 1) % 3 } else { i };
                    assert_eq!(view.images[i * 256 + p], batch.weak[from * 256 + p]);
                }
            }
        }
    }

    #[test]
    fn a_batch_is_a_function_of_its_number() {
        let spec = ViewSpec::default();
        let draw =
            |number| UnlabeledBatch::draw(&pool(), &spec, &AugmentSpec::default(), 1, number, [0.5, 0.25]);
        assert_eq!(draw(3), draw(3));
        assert_ne!(draw(3), draw(4));
    }

    #[test]
    fn boxes_stay_inside_and_near_the_asked_area() {
        let mut rng = stream_rng(1, Stream::CutMix, 0);
        for _ in 0..200 {
            let [rows, cols] = cut_box(64, [0.1, 0.3], &mut rng);
            assert!(rows.end <= 64 && cols.end <= 64);
            let share = (rows.len() * cols.len()) as f32 / 4096.0;
            assert!((0.05..0.36).contains(&share), "{share}");
        }
    }
}
