use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use shared::mask::{Mask, Rle, RleError};

use crate::dataset::{CodedSample, Sample};
use crate::train::atomic;

/// Pseudo-masks of many images on the model's grid.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PseudoMasks {
    /// Side of the model's grid, pixels.
    pub size: usize,
    /// By image id, by class. A class that is missing takes no part in the image's loss.
    pub images: BTreeMap<String, BTreeMap<String, Rle>>,
}

/// Why pseudo-masks cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PseudoError {
    /// The file cannot be read or written.
    #[error("failed to access {path}: {source}; check free space and permissions")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file holds something else.
    #[error("{path} holds no pseudo-masks: {source}; make them anew")]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// A run-length code that is no mask.
    #[error("the pseudo-mask of {class} in image {id}: {source}; make the pseudo-masks anew")]
    Code {
        /// The image.
        id: String,
        /// The class.
        class: String,
        /// What is wrong.
        source: RleError,
    },
    /// Made for another size.
    #[error(
        "pseudo-masks are {found}² pixels, the network reads {expected}²: make them with this configuration"
    )]
    Size {
        /// Side of the masks.
        found: usize,
        /// Side of the model's grid.
        expected: usize,
    },
    /// No image has any.
    #[error("none of the {0} weak images has a pseudo-mask: see the data sets' findings and the gate")]
    None(usize),
}

impl PseudoMasks {
    /// No masks yet.
    pub fn new(size: usize) -> Self {
        Self { size, images: BTreeMap::new() }
    }

    /// Adds a mask of the model's grid.
    pub fn insert(&mut self, id: &str, class: &str, mask: &Mask) {
        let classes = self.images.entry(id.to_owned()).or_default();
        classes.insert(class.to_owned(), Rle::encode(mask));
    }

    /// The mask of a class of an image, if there is one.
    pub fn mask(&self, id: &str, class: &str) -> Result<Option<Mask>, PseudoError> {
        let Some(code) = self.images.get(id).and_then(|classes| classes.get(class)) else { return Ok(None) };
        let broken = |source| PseudoError::Code { id: id.to_owned(), class: class.to_owned(), source };
        code.decode().map(Some).map_err(broken)
    }

    /// The samples that have a pseudo-mask, with it as target, a class each in the order of `labels`.
    pub fn attach(&self, samples: &[Sample], labels: &[String]) -> Result<Vec<CodedSample>, PseudoError> {
        let mut with = Vec::new();
        for sample in samples {
            let size = |found| PseudoError::Size { found, expected: sample.size() };
            if sample.size() != self.size {
                return Err(size(self.size));
            }
            let Some(classes) = self.images.get(&sample.id) else { continue };
            let codes: Vec<Option<Rle>> = labels.iter().map(|label| classes.get(label).cloned()).collect();
            if let Some(other) = codes.iter().flatten().find(|code| code.size != [self.size; 2]) {
                return Err(size(other.size[0]));
            }
            if codes.iter().any(Option::is_some) {
                let coded = CodedSample::new(sample, codes).map_err(|(class, source)| PseudoError::Code {
                    id: sample.id.clone(),
                    class: labels[class].clone(),
                    source,
                })?;
                with.push(coded);
            }
        }
        if with.is_empty() { Err(PseudoError::None(samples.len())) } else { Ok(with) }
    }

    /// Writes a JSON file, atomically.
    pub fn save(&self, path: &Path) -> Result<(), PseudoError> {
        let json = serde_json::to_vec(self).expect("plain data with text keys");
        atomic::write(path, &json).map_err(|source| PseudoError::Io { path: path.to_owned(), source })
    }

    /// Reads a file.
    pub fn load(path: &Path) -> Result<Self, PseudoError> {
        let bytes =
            std::fs::read(path).map_err(|source| PseudoError::Io { path: path.to_owned(), source })?;
        serde_json::from_slice(&bytes).map_err(|source| PseudoError::Format { path: path.to_owned(), source })
    }
}

#[cfg(test)]
mod tests {
    use shared::preprocess::Letterbox;

    use super::*;

    fn sample(id: &str) -> Sample {
        let image = vec![0; 64].into();
        Sample { id: id.into(), letterbox: Letterbox::new(8, 8, 8), image, targets: vec![None] }
    }

    #[test]
    fn masks_come_back_as_targets_and_images_without_any_stay_out() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("masks.json");
        let mut masks = PseudoMasks::new(8);
        masks.insert("a", "heart", &Mask::from_fn(8, 8, |r, _| r < 3));
        masks.save(&path).unwrap();
        let masks = PseudoMasks::load(&path).unwrap();
        let labels = ["heart".to_owned(), "lungs".to_owned()];
        let with = masks.attach(&[sample("a"), sample("b")], &labels).unwrap();
        assert_eq!(with.len(), 1);
        let sample = with[0].decoded();
        assert_eq!(sample.mask(0), Some(Mask::from_fn(8, 8, |r, _| r < 3)));
        assert_eq!(sample.mask(1), None);
    }

    #[test]
    fn other_sizes_and_strangers_are_refused() {
        let mut masks = PseudoMasks::new(16);
        masks.insert("a", "heart", &Mask::empty(16, 16));
        let labels = ["heart".to_owned()];
        assert!(matches!(masks.attach(&[sample("a")], &labels), Err(PseudoError::Size { .. })));
        masks.size = 8;
        assert!(matches!(masks.attach(&[sample("a")], &labels), Err(PseudoError::Size { found: 16, .. })));
        assert!(matches!(masks.attach(&[sample("b")], &labels), Err(PseudoError::None(1))));
    }
}
