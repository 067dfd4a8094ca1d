//! Devices of phantoms over radiographs of people: tubes and lines are too rare among experts' masks to be learned from
//! these alone (Yi et al. 2019, "Automatic catheter and tube detection in pediatric X-ray images using a
//! scale-recurrent network and synthetic data", drew catheters onto radiographs for the same reason).

use std::sync::Arc;

use rand_chacha::ChaCha8Rng;

use shared::mask::BBox;

use super::{AugmentSpec, between, either, warp};
use crate::dataset::{DEVICE_RANGE, DeviceDraw, Sample};

/// Millimetres of soft tissue from black to white, at least and at most. A chest spans some 150, but processing enhances
/// what is as thin as a wire: with that, hardly a line could be seen.
const LATITUDE: [f32; 2] = [25.0, 100.0];

/// How much less a device brightens what is white already.
const SHOULDER: f32 = 0.6;

/// How far the lungs of a phantom are from those of the radiograph that its devices come to, at most: shift as a share of
/// the lungs' size, and magnification.
const LOOSE: (f32, [f32; 2]) = (0.05, [0.9, 1.1]);

/// `sample` with `devices` (of [`crate::dataset::device_pool`]) drawn onto it, in its grey values and in its mask of them,
/// which must be known. They are moved so that they lie to the lungs as in their phantom, more or less, and anywhere where
/// no lungs are known.
pub(in crate::dataset) fn draw_devices(
    sample: &Sample,
    draw: &DeviceDraw,
    devices: &Sample,
    spec: &AugmentSpec,
    rng: &mut ChaCha8Rng,
) -> Sample {
    let class = draw.class;
    let lungs = lungs(sample, &draw.lungs).zip(lungs(devices, &[1]));
    let field = match lungs {
        Some((here, there)) => between_lungs(here, there, sample.size(), rng),
        None => warp::Field::random(spec, sample.size(), rng),
    };
    let moved = field.apply(devices);
    let scale = DEVICE_RANGE / between(rng, LATITUDE);
    let Some(Some(drawn)) = moved.targets.first() else { return sample.clone() };
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

/// The box around the lungs; none if a class of them is unknown or nothing of them is to be seen.
fn lungs(sample: &Sample, classes: &[usize]) -> Option<BBox> {
    let mut masks = classes.iter().map(|class| sample.mask(*class));
    let mut all = masks.next()??;
    for mask in masks {
        all.merge(&mask?);
    }
    all.bbox()
}

/// What brings the box `there` to the box `here`, a little off.
fn between_lungs(here: BBox, there: BBox, size: usize, rng: &mut ChaCha8Rng) -> warp::Field {
    let (shift, magnification) = LOOSE;
    let mut axis = |(here, extent): (usize, usize), (there, of): (usize, usize)| {
        let middle = |at: usize, extent: usize| at as f32 + extent as f32 / 2.0;
        let to = middle(here, extent) + either(rng, shift * extent as f32);
        let scale = extent as f32 / of as f32 * between(rng, magnification);
        (middle(there, of), to, scale)
    };
    let x = axis((here.x, here.width), (there.x, there.width));
    let y = axis((here.y, here.height), (there.y, there.height));
    warp::Field::stretched([x, y], size)
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
            let draw = DeviceDraw { class: 1, lungs: Vec::new(), probability: 1.0 };
            let with = draw_devices(&plain, &draw, devices, &AugmentSpec::default(), &mut rng);
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
    #[test]
    fn devices_come_to_lie_to_the_lungs_as_in_their_phantom() {
        let size = 64;
        // In the phantom a wire along the left border of the lungs; here the lungs are smaller and elsewhere.
        let boxed = |left: usize, top: usize, width: usize, height: usize| -> Option<Arc<[u8]>> {
            let inside = |i: usize| {
                (left..left + width).contains(&(i % size)) && (top..top + height).contains(&(i / size))
            };
            Some((0..size * size).map(|i| if inside(i) { 255 } else { 0 }).collect())
        };
        let of = |image: u16, targets| Sample {
            id: "a".into(),
            letterbox: Letterbox::new(size, size, size),
            image: vec![image; size * size].into(),
            targets,
        };
        let devices = of(9_000, vec![boxed(8, 4, 4, 48), boxed(8, 4, 48, 48)]);
        let chest = of(20_000, vec![boxed(30, 20, 12, 24), boxed(42, 20, 12, 24), boxed(0, 0, 0, 0)]);
        let draw = DeviceDraw { class: 2, lungs: vec![0, 1], probability: 1.0 };
        for n in 0..20 {
            let mut rng = stream_rng(1, Stream::Devices, n);
            let with = draw_devices(&chest, &draw, &devices, &AugmentSpec::default(), &mut rng);
            let wire = with.mask(2).unwrap().bbox().unwrap();
            let near = |value: usize, expected: usize, by: usize| value.abs_diff(expected) <= by;
            assert!(near(wire.x, 30, 3) && near(wire.y, 20, 3), "{wire:?}");
            assert!(near(wire.width, 2, 1) && near(wire.height, 24, 4), "{wire:?}");
        }
    }
}
