use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use shared::mask::{Rle, RleError};

use super::json::{self, ByImage};
use super::{ChexlocalizeError, Entry};
use crate::evaluate::Counts;

/// The masks of one file: image id → pathology → run-length code, every code checked.
#[derive(Clone, Debug)]
pub struct Segmentations {
    path: PathBuf,
    images: ByImage<Code>,
}

/// A mask that stays compressed: a test set decoded would be tens of gigabytes.
#[derive(Clone, Debug)]
pub(super) struct Code {
    rle: Rle,
    area: usize,
}

impl Segmentations {
    /// Reads a file.
    pub fn read(path: &Path) -> Result<Self, ChexlocalizeError> {
        let images = json::read(path, |image, pathology, value| {
            let (path, image, pathology) = (path.to_owned(), image.to_owned(), pathology.to_owned());
            let rle: Rle = match serde_json::from_value(value) {
                Ok(rle) => rle,
                Err(error) => {
                    let (reason, expected) =
                        (error.to_string(), "{\"size\": [rows, columns], \"counts\": \"compressed runs\"}");
                    return Err(ChexlocalizeError::Form { path, image, pathology, reason, expected });
                }
            };
            match rle.area() {
                Ok(area) => Ok(Code { rle, area }),
                Err(source) => Err(ChexlocalizeError::Code { path, image, pathology, source }),
            }
        })?;
        Ok(Self { path: path.to_owned(), images })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All pathologies of the file, in order of their names.
    pub fn pathologies(&self) -> BTreeSet<&str> {
        self.images.values().flat_map(|entries| entries.keys().map(String::as_str)).collect()
    }

    /// Foreground pixels; none without a mask.
    pub fn area(&self, image: &str, pathology: &str) -> Option<u64> {
        Some(self.code(image, pathology)?.area as u64)
    }

    pub(super) fn images(&self) -> &ByImage<Code> {
        &self.images
    }

    pub(super) fn code(&self, image: &str, pathology: &str) -> Option<&Code> {
        self.images.get(image)?.get(pathology)
    }

    /// What an image of this file lacks of the given pathologies.
    pub(super) fn gaps(&self, pathologies: &BTreeSet<&str>) -> Vec<Entry> {
        let lacks = |(image, entries): (&String, &std::collections::BTreeMap<String, Code>)| {
            let absent = pathologies.iter().filter(|pathology| !entries.contains_key(**pathology));
            let entry = |pathology: &&str| Entry { image: image.clone(), pathology: (*pathology).to_owned() };
            absent.map(entry).collect::<Vec<_>>()
        };
        self.images.iter().flat_map(lacks).collect()
    }

    /// Pixels of the ground truth (`self`) and of a prediction; a mask that is not there is empty.
    pub(super) fn compare(
        &self,
        predicted: &Self,
        image: &str,
        pathology: &str,
    ) -> Result<Counts, ChexlocalizeError> {
        let (truth, found) = (self.code(image, pathology), predicted.code(image, pathology));
        let area = |code: Option<&Code>| code.map_or(0, |code| code.area as u64);
        let mut counts = Counts { truth: area(truth), predicted: area(found), intersection: 0 };
        if let (Some(truth), Some(found)) = (truth, found) {
            let (image, pathology) = (image.to_owned(), pathology.to_owned());
            if truth.rle.size != found.rle.size {
                let (truth, predicted) = (truth.rle.size, found.rle.size);
                return Err(ChexlocalizeError::Size { image, pathology, truth, predicted });
            }
            let path = predicted.path.clone();
            counts.intersection = intersection(&truth.rle, &found.rle)
                .map_err(|source| ChexlocalizeError::Code { path, image, pathology, source })?;
        }
        Ok(counts)
    }
}

impl Code {
    /// `[rows, columns]`.
    pub(super) fn size(&self) -> [usize; 2] {
        self.rle.size
    }

    /// Foreground pixels.
    pub(super) fn area(&self) -> usize {
        self.area
    }

    /// Whether a pixel is foreground.
    pub(super) fn contains(&self, row: usize, col: usize) -> Result<bool, RleError> {
        let [rows, cols] = self.rle.size;
        if row >= rows || col >= cols {
            return Ok(false);
        }
        let (at, mut end) = (col * rows + row, 0);
        for (i, run) in self.rle.runs()?.into_iter().enumerate() {
            end += run;
            if at < end {
                return Ok(i % 2 == 1);
            }
        }
        Ok(false)
    }
}

/// Pixels in both masks of one size, run by run: a decoded radiograph would take a thousand times the work.
fn intersection(a: &Rle, b: &Rle) -> Result<u64, RleError> {
    let spans = |rle: &Rle| -> Result<Vec<(usize, usize)>, RleError> {
        let (mut at, mut spans) = (0, Vec::new());
        for (i, run) in rle.runs()?.into_iter().enumerate() {
            if i % 2 == 1 && run > 0 {
                spans.push((at, at + run));
            }
            at += run;
        }
        Ok(spans)
    };
    let (a, b) = (spans(a)?, spans(b)?);
    let (mut i, mut j, mut sum) = (0, 0, 0_u64);
    while let (Some(&(a_from, a_to)), Some(&(b_from, b_to))) = (a.get(i), b.get(j)) {
        sum += a_to.min(b_to).saturating_sub(a_from.max(b_from)) as u64;
        if a_to <= b_to {
            i += 1;
        } else {
            j += 1;
        }
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use shared::mask::Mask;

    use super::*;

    fn masks() -> impl Strategy<Value = (Mask, Mask)> {
        (1_usize..20, 1_usize..20, prop::collection::vec(any::<[bool; 2]>(), 400)).prop_map(
            |(rows, cols, bits)| {
                let mask = |k: usize| Mask::from_fn(rows, cols, |r, c| bits[r * 20 + c][k]);
                (mask(0), mask(1))
            },
        )
    }

    proptest! {
        #[test]
        fn runs_intersect_as_pixels_do((a, b) in masks()) {
            let found = intersection(&Rle::encode(&a), &Rle::encode(&b)).unwrap();
            prop_assert_eq!(found, a.intersection(&b) as u64);
            let code = Code { rle: Rle::encode(&a), area: a.area() };
            for (r, c) in (0..a.rows()).flat_map(|r| (0..a.cols()).map(move |c| (r, c))) {
                prop_assert_eq!(code.contains(r, c).unwrap(), a.get(r, c));
            }
        }
    }

    fn refusal(text: &str) -> String {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("gt.json");
        std::fs::write(&path, text).unwrap();
        let error = Segmentations::read(&path).unwrap_err().to_string();
        assert!(error.contains("gt.json"), "{error}");
        error
    }

    #[test]
    fn broken_files_are_named_with_image_and_pathology() {
        assert!(refusal("[]").contains("expected JSON of the form"));
        assert!(refusal("{}").contains("no image"));
        assert!(refusal(r#"{"a": 3}"#).contains("expected JSON of the form"));
        let error = refusal(r#"{"p1": {"img_size": [2, 2], "Edema": [[[0, 0], [1, 1], [1, 0]]]}}"#);
        assert!(error.contains("image p1") && error.contains("polygons"), "{error}");
        let error = refusal(r#"{"p1": {"Edema": {"size": [2, 2], "counts": [1, 3]}}}"#);
        assert!(error.contains("image p1, Edema") && error.contains("compressed runs"), "{error}");
        let error = refusal(r#"{"p1": {"Edema": {"size": [2, 2], "counts": "5"}}}"#);
        assert!(error.contains("image p1, Edema") && error.contains("5 pixels"), "{error}");
        let error = Segmentations::read(Path::new("/absent/gt.json")).unwrap_err().to_string();
        assert!(error.contains("/absent/gt.json"), "{error}");
    }
}
