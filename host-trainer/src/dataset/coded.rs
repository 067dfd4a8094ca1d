use std::sync::Arc;

use shared::mask::{Rle, RleError};

use super::Sample;

/// An image on the model's grid whose masks stay run-length codes until they are drawn. Planes of ten classes would take
/// five times the image's memory, their codes next to none.
#[derive(Clone, Debug)]
pub struct CodedSample {
    image: Sample,
    codes: Vec<Option<Rle>>,
}

impl CodedSample {
    /// The image with other masks, one entry a class; `None`: not annotated.
    ///
    /// # Errors
    /// The place of a code that is no mask, and why.
    ///
    /// # Panics
    /// If a code is of another size than the model's grid.
    pub fn new(image: &Sample, codes: Vec<Option<Rle>>) -> Result<Self, (usize, RleError)> {
        let side = image.size();
        for (place, code) in codes.iter().enumerate().filter_map(|(i, code)| Some((i, code.as_ref()?))) {
            assert_eq!(code.size, [side, side], "a mask on the model's grid");
            code.decode().map_err(|error| (place, error))?;
        }
        Ok(Self { image: Sample { targets: Vec::new(), ..image.clone() }, codes })
    }

    /// Whether each class is annotated.
    pub fn annotated(&self) -> Vec<bool> {
        self.codes.iter().map(Option::is_some).collect()
    }

    /// The image with its masks as planes.
    pub fn decoded(&self) -> Sample {
        let plane = |code: &Rle| -> Arc<[u8]> {
            let mask = code.decode().expect("it was decoded once when this was made");
            mask.data().iter().map(|v| v * 255).collect()
        };
        let targets = self.codes.iter().map(|code| code.as_ref().map(plane)).collect();
        Sample { targets, ..self.image.clone() }
    }
}

#[cfg(test)]
mod tests {
    use shared::mask::Mask;
    use shared::preprocess::Letterbox;

    use super::*;

    #[test]
    fn codes_become_planes_and_broken_ones_are_found_at_once() {
        let image = vec![7; 64].into();
        let image = Sample { id: "a".into(), letterbox: Letterbox::new(8, 8, 8), image, targets: vec![None] };
        let mask = Mask::from_fn(8, 8, |r, c| r > c);
        let coded = CodedSample::new(&image, vec![None, Some(Rle::encode(&mask))]).unwrap();
        assert_eq!(coded.annotated(), [false, true]);
        let decoded = coded.decoded();
        assert_eq!((&decoded.image, decoded.mask(0), decoded.mask(1)), (&image.image, None, Some(mask)));
        let broken = Rle { size: [8, 8], counts: "~".into() };
        assert_eq!(CodedSample::new(&image, vec![None, Some(broken)]).unwrap_err().0, 1);
    }
}
