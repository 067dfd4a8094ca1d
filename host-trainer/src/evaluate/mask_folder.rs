use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use shared::mask::Mask;
use shared::pixel::{ImageLimits, PixelFrame};

use super::EvaluateError;
use crate::dataset::Record;

/// Predicted masks as the edge agent writes them (`edge-agent infer --out DIR`): `<stem>.<class>.png`, 0 or
/// 255, at source resolution.
#[derive(Clone, Debug)]
pub struct MaskFolder {
    dir: PathBuf,
    labels: Vec<String>,
}

impl MaskFolder {
    /// The masks of `labels` in `dir` for these images, whose file names must differ.
    pub fn new(dir: &Path, labels: Vec<String>, records: &[Record]) -> Result<Self, EvaluateError> {
        let mut seen: BTreeMap<_, &Record> = BTreeMap::new();
        for record in records {
            if let Some(first) = seen.insert(record.image.file_stem().map(ToOwned::to_owned), record) {
                let (first, second) = (first.id.clone(), record.id.clone());
                return Err(EvaluateError::SameStem { first, second });
            }
        }
        Ok(Self { dir: dir.to_owned(), labels })
    }

    /// Writes one mask of an image, as the agent does.
    pub fn write(dir: &Path, record: &Record, label: &str, mask: &Mask) -> Result<(), EvaluateError> {
        let path = dir.join(file_name(&record.image, label));
        mask.to_gray().save(&path).map_err(|source| EvaluateError::Write { path, source })
    }

    /// The masks of one image, a class each.
    pub fn masks(&self, record: &Record) -> Result<Vec<Mask>, EvaluateError> {
        self.labels.iter().map(|label| read(&self.dir.join(file_name(&record.image, label)))).collect()
    }
}

fn file_name(image: &Path, label: &str) -> String {
    let stem = image.file_stem().unwrap_or_default().to_string_lossy();
    format!("{stem}.{label}.png")
}

fn read(path: &Path) -> Result<Mask, EvaluateError> {
    if !path.is_file() {
        return Err(EvaluateError::NoPrediction { path: path.to_owned() });
    }
    let broken = |source| EvaluateError::Prediction { path: path.to_owned(), source };
    let file = File::open(path).map_err(|error| broken(error.into()))?;
    let frame = PixelFrame::decode(BufReader::new(file), ImageLimits::default()).map_err(broken)?;
    let data = frame.samples().iter().map(|&v| u8::from(v > 127 * 257)).collect();
    Ok(Mask::from_data(frame.rows(), frame.cols(), data))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::Split;

    fn record(image: &str) -> Record {
        Record {
            id: image.into(),
            dataset: "d".into(),
            source: "s".into(),
            patient: "p".into(),
            split: Split::StrongTest,
            image: image.into(),
            masks: BTreeMap::new(),
            findings: BTreeMap::new(),
            attributes: BTreeMap::new(),
        }
    }

    #[test]
    fn masks_are_found_by_stem_and_class() {
        let dir = tempfile::tempdir().unwrap();
        let mask = Mask::from_fn(3, 5, |r, _| r == 1);
        let records = [record("/x/1.2.840.png")];
        MaskFolder::write(dir.path(), &records[0], "heart", &mask).unwrap();
        assert!(dir.path().join("1.2.840.heart.png").is_file());
        let folder = MaskFolder::new(dir.path(), vec!["heart".into()], &records).unwrap();
        assert_eq!(folder.masks(&records[0]).unwrap(), [mask]);
        let error = folder.masks(&record("/x/other.png")).unwrap_err().to_string();
        assert!(error.contains("other.heart.png"), "{error}");
    }

    #[test]
    fn equal_file_names_are_refused() {
        let records = [record("/x/a.png"), record("/y/a.png")];
        let error = MaskFolder::new(Path::new("."), Vec::new(), &records).unwrap_err();
        assert!(matches!(error, EvaluateError::SameStem { .. }), "{error}");
    }
}
