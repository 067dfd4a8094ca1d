//! Devices of phantoms over radiographs of people: tubes and lines are too rare among experts' masks to be learned from
//! these alone (Yi et al. 2019, "Automatic catheter and tube detection in pediatric X-ray images using a
//! scale-recurrent network and synthetic data", drew catheters onto radiographs for the same reason).

use std::sync::Arc;

use rand_chacha::ChaCha8Rng;

use super::{AugmentSpec, between, warp};
use crate::dataset::{DEVICE_RANGE, Sample};

/// Millimetres of soft tissue from black to white, at least and at most. A chest spans some 150, but processing enhances
/// what is as thin as a wire: with that, hardly a line could be seen.
const LATITUDE: [f32; 2] = [25.0, 100.0];

/// How much less a device brightens what is white already.
const SHOULDER: f32 = 0.6;

/// `sample` with `devices` (of [`crate::dataset::device_pool`]) moved at random and drawn onto it, in its grey values and
/// in the mask of `class`, which must be known.
pub(in crate::dataset) fn draw_devices(
    sample: &Sample,
    class: usize,
    devices: &Sample,
    spec: &AugmentSpec,
    rng: &mut ChaCha8Rng,
) -> Sample {
    let moved = warp::Field::random(spec, sample.size(), rng).apply(devices);
    let scale = DEVICE_RANGE / between(rng, LATITUDE);
    let [Some(drawn)] = moved.targets.as_slice() else { return sample.clone() };
    let inside = sample.inside();
    let brighter = |((gray, thickness), inside): ((&u16, &f32), &bool)| {
        let gray = f32::from(*gray) / 65535.0;
        let added = if *inside { thickness * scale * (1.0 - SHOULDER * gray) } else { 0.0 };
        ((gray + added).min(1.0) * 65535.0).round() as u16
    };
    let image = sample.image.iter().zip(&moved.image).zip(&inside).map(brighter).collect();
    let mut targets = sample.targets.clone();
    if let Some(mask) = &mut targets[class] {
        let united = |((known, drawn), inside): ((&u8, &f32), &bool)| {
            if *inside { (*known).max((drawn * 255.0).round() as u8) } else { *known }
        };
        *mask = mask.iter().zip(drawn).zip(&inside).map(united).collect::<Arc<[u8]>>();
    }
    Sample { id: sample.id.clone(), letterbox: sample.letterbox, image, targets }
}

#[cfg(test)]
mod tests {
    use shared::preprocess::{Letterbox, PreprocessSpec};

    use super::*;
    use crate::dataset::{PhantomSpec, Stream, device_pool, stream_rng};

    #[test]
    fn devices_brighten_what_their_mask_covers_and_nothing_else() {
        let size = 64;
        let preprocess = PreprocessSpec { input_size: size, ..PreprocessSpec::default() };
        let pool = device_pool(&PhantomSpec { pool: 4, ..PhantomSpec::default() }, &preprocess).unwrap();
        let letterbox = Letterbox::new(96, 128, size);
        let plain = Sample {
            id: "chest".into(),
            image: vec![20_000; size * size].into(),
            targets: vec![None, Some(vec![0; size * size].into())],
            letterbox,
        };
        for (n, devices) in pool.iter().enumerate() {
            let mut rng = stream_rng(1, Stream::Devices, n as u64);
            let with = draw_devices(&plain, 1, devices, &AugmentSpec::default(), &mut rng);
            assert!(with.targets[0].is_none() && with.mask(1).unwrap().area() > 0, "{n}");
            let covered = with.targets[1].as_ref().unwrap();
            for (i, (gray, covered)) in with.image.iter().zip(covered.iter()).enumerate() {
                assert!(*gray >= 20_000 && (*gray < 20_100 || *covered > 0), "{n}: pixel {i}");
                let row = i / size;
                let padding = !(letterbox.pad_top..size - letterbox.pad_top).contains(&row);
                assert!(!padding || (*gray, *covered) == (20_000, 0), "{n}: padding {i}");
            }
        }
    }
}
