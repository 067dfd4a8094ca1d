use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};
use shared::schema::SchemaVersion;

use super::{ClassCounts, Counts, EvaluateError, ImageCounts, Judge};
use crate::dataset::Split;
use crate::train::atomic;

/// Version of the files that [`write_counts`] writes.
const SCHEMA: SchemaVersion = SchemaVersion { major: 1, minor: 0 };

/// Counts of one set of predictions, as JSON on disk: all that figures and comparisons need, without pixels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoredCounts {
    /// Version of the form.
    pub schema: SchemaVersion,
    /// The split that was judged.
    pub split: Split,
    /// Labels in the order of [`ImageCounts::classes`], derived ones last.
    pub labels: Vec<String>,
    /// How many of them are classes of the network.
    pub own_classes: usize,
    /// The images.
    pub images: Vec<ImageCounts>,
}

impl StoredCounts {
    /// What `judge` counted.
    pub fn new(judge: &Judge, split: Split, images: Vec<ImageCounts>) -> Self {
        Self { schema: SCHEMA, split, labels: judge.labels(), own_classes: judge.own_classes(), images }
    }

    /// What is wrong with it, if anything.
    fn flaw(&self) -> Option<String> {
        if let Err(error) = self.schema.check("file of counts", SCHEMA) {
            return Some(error.to_string());
        }
        let classes = self.labels.len();
        if self.own_classes > classes {
            return Some(format!("own_classes is {}, but there are {classes} labels", self.own_classes));
        }
        let mut seen = BTreeSet::new();
        for image in &self.images {
            let id = &image.id;
            if !seen.insert(id) {
                return Some(format!("image {id} stands there twice"));
            }
            if image.classes.len() != classes {
                return Some(format!("image {id} has {} classes of {classes}", image.classes.len()));
            }
            let counted = image.classes.iter().zip(&self.labels);
            for (counts, label) in counted.filter_map(|(counts, label)| Some((counts.as_ref()?, label))) {
                if !is_possible(counts) {
                    return Some(format!("image {id}, class {label}: a part exceeds its whole"));
                }
            }
        }
        None
    }
}

fn is_possible(counts: &ClassCounts) -> bool {
    let areas = |c: Counts| c.intersection <= c.truth.min(c.predicted);
    let surface = counts.surface;
    areas(counts.source)
        && areas(counts.model)
        && surface.truth_near <= surface.truth
        && surface.predicted_near <= surface.predicted
}

/// Writes counts as JSON, whole or not at all.
pub fn write_counts(path: &Path, counts: &StoredCounts) -> Result<(), EvaluateError> {
    let mut json = serde_json::to_vec(counts).expect("counts are plain data with text keys");
    json.push(b'\n');
    atomic::write(path, &json).map_err(|source| EvaluateError::WriteCounts { path: path.to_owned(), source })
}

/// Reads counts that [`write_counts`] wrote, and checks that they can be counts.
pub fn read_counts(path: &Path) -> Result<StoredCounts, EvaluateError> {
    let bytes =
        fs::read(path).map_err(|source| EvaluateError::ReadCounts { path: path.to_owned(), source })?;
    let flawed = |reason| EvaluateError::Counts { path: path.to_owned(), reason };
    let counts: StoredCounts = serde_json::from_slice(&bytes).map_err(|error| flawed(error.to_string()))?;
    match counts.flaw() {
        Some(reason) => Err(flawed(reason)),
        None => Ok(counts),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::SurfaceCounts;

    fn stored() -> StoredCounts {
        let counts = Counts { truth: 10, predicted: 8, intersection: 6 };
        let surface = SurfaceCounts { truth: 5, truth_near: 4, predicted: 6, predicted_near: 6 };
        let image = ImageCounts {
            id: "a".into(),
            source: "s".into(),
            patient: "p".into(),
            attributes: [("view".to_owned(), "AP".to_owned())].into(),
            classes: vec![Some(ClassCounts { source: counts, model: counts, surface }), None],
        };
        StoredCounts {
            schema: SCHEMA,
            split: Split::StrongTest,
            labels: vec!["heart".into(), "lungs".into()],
            own_classes: 1,
            images: vec![image],
        }
    }

    fn refusal(change: impl Fn(&mut StoredCounts)) -> String {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("counts.json");
        let mut counts = stored();
        change(&mut counts);
        write_counts(&path, &counts).unwrap();
        let text = read_counts(&path).unwrap_err().to_string();
        assert!(text.contains("counts.json"), "{text}");
        text
    }

    #[test]
    fn what_is_written_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("counts.json");
        write_counts(&path, &stored()).unwrap();
        assert_eq!(read_counts(&path).unwrap(), stored());
        let error = read_counts(&dir.path().join("absent.json")).unwrap_err().to_string();
        assert!(error.contains("absent.json"), "{error}");
    }

    #[test]
    fn what_cannot_be_is_named() {
        assert!(refusal(|counts| counts.schema.major = 9).contains("schema 9.0"));
        assert!(refusal(|counts| counts.own_classes = 3).contains("own_classes"));
        assert!(refusal(|counts| counts.images.push(counts.images[0].clone())).contains("image a stands"));
        assert!(refusal(|counts| counts.images[0].classes.truncate(1)).contains("1 classes of 2"));
        let too_much = |counts: &mut StoredCounts| {
            if let Some(counts) = &mut counts.images[0].classes[0] {
                counts.source.intersection = 9;
            }
        };
        assert!(refusal(too_much).contains("image a, class heart"));
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("counts.json");
        std::fs::write(&path, "{\"schema\": \"1.0\", \"colour\": 3}").unwrap();
        assert!(read_counts(&path).unwrap_err().to_string().contains("colour"));
    }
}
