use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{DatasetError, Index, MaskSource, Record, Split, Template};

/// A data set that lies in a folder: images, mask pictures and a CSV table with one line an image.
///
/// ```toml
/// [data.heart-lung]
/// path = "heart-lung"                       # below the data root
/// image = "{source}/png/{filename}"         # {column} of the table
/// mask = "{source}/mask/{class}/{filename}" # {class}: the data set's name of the mask
/// source = "{source}"
/// patient = "{filename}"
/// [data.heart-lung.classes]                 # our label → masks whose union it is
/// left_lung = ["left_lung"]
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FolderSpec {
    /// Folder, relative to the data root or absolute.
    pub path: PathBuf,
    /// The table, relative to the folder.
    #[serde(default = "default_labels")]
    pub labels: PathBuf,
    /// Path of an image, relative to the folder.
    pub image: Template,
    /// Path of a mask, relative to the folder; foreground is above 127.
    pub mask: Template,
    /// The split.
    #[serde(default = "default_split")]
    pub split: Template,
    /// The source; the data set's name if left out.
    #[serde(default)]
    pub source: Option<Template>,
    /// The patient's pseudonym.
    pub patient: Template,
    /// Our label → the data set's mask names. Only these classes count as annotated.
    pub classes: BTreeMap<String, Vec<String>>,
    /// What a mask file that is not there means.
    #[serde(default)]
    pub missing_mask: MissingMask,
}

/// What it means when a strong image lacks a mask file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MissingMask {
    /// The data set is broken.
    #[default]
    Error,
    /// Readers drew nothing: the class is absent.
    Absent,
}

fn default_labels() -> PathBuf {
    "labels.csv".into()
}

fn default_split() -> Template {
    Template::new("{split}").expect("a well-formed literal")
}

/// One line of the table under its header.
struct Row<'a> {
    columns: &'a [String],
    values: &'a csv::StringRecord,
}

impl<'a> Row<'a> {
    fn get(&self, column: &str) -> Option<&'a str> {
        let at = self.columns.iter().position(|name| name == column)?;
        self.values.get(at)
    }
}

impl FolderSpec {
    /// Reads the table and checks that every file it promises exists, that splits are known and that no
    /// patient stands in two of them. Pictures are not opened yet.
    pub fn import(&self, name: &str, root: &Path) -> Result<Index, DatasetError> {
        if let Some((label, _)) = self.classes.iter().find(|(_, masks)| masks.is_empty()) {
            return Err(DatasetError::EmptyMapping { dataset: name.to_owned(), label: label.clone() });
        }
        let folder = root.join(&self.path);
        let table = folder.join(&self.labels);
        let labels_error = |source| DatasetError::Labels { path: table.clone(), source };
        let mut reader = csv::Reader::from_path(&table).map_err(labels_error)?;
        let columns: Vec<String> =
            reader.headers().map_err(labels_error)?.iter().map(|name| name.trim().to_owned()).collect();
        self.check_columns(&table, &columns)?;

        let mut index = Index::default();
        let mut seen = BTreeSet::new();
        let mut split_of: BTreeMap<String, Split> = BTreeMap::new();
        for values in reader.records() {
            let values = values.map_err(labels_error)?;
            let line = values.position().map_or(0, csv::Position::line);
            let record =
                self.record(name, &folder, &table, line, &Row { columns: &columns, values: &values })?;
            if !seen.insert(record.id.clone()) {
                return Err(DatasetError::Duplicate { path: table, line, id: record.id });
            }
            let first = *split_of.entry(record.patient.clone()).or_insert(record.split);
            if first != record.split {
                let (patient, second) = (record.patient, record.split);
                return Err(DatasetError::PatientInTwoSplits { path: table, patient, first, second });
            }
            index.records.push(record);
        }
        Ok(index)
    }

    fn check_columns(&self, table: &Path, columns: &[String]) -> Result<(), DatasetError> {
        // Each with the field that is no column.
        let templates = [(&self.image, ""), (&self.mask, "class"), (&self.split, ""), (&self.patient, "")];
        for (template, given) in templates.into_iter().chain(self.source.as_ref().map(|t| (t, ""))) {
            let missing =
                template.fields().find(|&field| field != given && !columns.iter().any(|name| name == field));
            if let Some(column) = missing {
                return Err(DatasetError::NoColumn {
                    path: table.to_owned(),
                    column: column.to_owned(),
                    template: template.to_string(),
                    columns: columns.join(", "),
                });
            }
        }
        Ok(())
    }

    fn record(
        &self,
        name: &str,
        folder: &Path,
        table: &Path,
        line: u64,
        row: &Row<'_>,
    ) -> Result<Record, DatasetError> {
        let existing = |relative: String| {
            let path = inside(folder, relative, table, line)?;
            if path.is_file() {
                return Ok(path);
            }
            Err(DatasetError::MissingFile { path, labels: table.to_owned(), line })
        };
        let fill = |template: &Template| template.fill(|field| row.get(field));
        let split_text = fill(&self.split);
        let split = split_text.parse().map_err(|_| DatasetError::UnknownSplit {
            path: table.to_owned(),
            line,
            value: split_text.clone(),
        })?;
        let relative = fill(&self.image);
        let mut masks = BTreeMap::new();
        if Split::is_strong(split) {
            for (label, names) in &self.classes {
                let mut files = Vec::new();
                for class in names {
                    let file =
                        self.mask.fill(|field| if field == "class" { Some(class) } else { row.get(field) });
                    match existing(file) {
                        Ok(path) => files.push(path),
                        Err(DatasetError::MissingFile { .. }) if self.missing_mask == MissingMask::Absent => {
                        }
                        Err(error) => return Err(error),
                    }
                }
                masks.insert(label.clone(), MaskSource::Files(files));
            }
        }
        Ok(Record {
            id: format!("{name}/{relative}"),
            dataset: name.to_owned(),
            source: self.source.as_ref().map_or_else(|| name.to_owned(), fill),
            patient: format!("{name}/{}", fill(&self.patient)),
            split,
            image: existing(relative)?,
            masks,
            findings: BTreeMap::new(),
            attributes: BTreeMap::new(),
        })
    }
}

/// `relative` below `folder`; a table must not point elsewhere.
fn inside(folder: &Path, relative: String, table: &Path, line: u64) -> Result<PathBuf, DatasetError> {
    let plain = Path::new(&relative).components().all(|part| matches!(part, Component::Normal(_)));
    if plain && !relative.is_empty() {
        return Ok(folder.join(relative));
    }
    Err(DatasetError::Escapes { path: table.to_owned(), line, value: relative })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A folder with one picture a line of `table`, and masks of one class.
    fn folder(table: &str, masks: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let set = dir.path().join("set");
        fs::create_dir_all(set.join("png")).unwrap();
        fs::create_dir_all(set.join("mask/heart")).unwrap();
        fs::write(set.join("labels.csv"), table).unwrap();
        for name in ["a.png", "b.png"] {
            fs::write(set.join("png").join(name), b"").unwrap();
        }
        for name in masks {
            fs::write(set.join("mask/heart").join(name), b"").unwrap();
        }
        dir
    }

    fn spec() -> FolderSpec {
        toml::from_str(
            r#"
            path = "set"
            image = "png/{filename}"
            mask = "mask/{class}/{filename}"
            patient = "{patient}"
            [classes]
            heart = ["heart"]
            "#,
        )
        .unwrap()
    }

    #[test]
    fn strong_records_have_masks_and_weak_ones_none() {
        let dir = folder("filename,patient,split\na.png,1,weak\nb.png,2,strong_train\n", &["b.png"]);
        let index = spec().import("set", dir.path()).unwrap();
        assert_eq!(index.records.len(), 2);
        assert!(index.records[0].masks.is_empty());
        let file = dir.path().join("set/mask/heart/b.png");
        assert_eq!(index.records[1].masks["heart"], MaskSource::Files(vec![file]));
        assert_eq!(index.of(Split::StrongTrain)[0].patient, "set/2");
        assert_eq!(index.counts()[&("set".to_owned(), "set".to_owned(), Split::Weak)], 1);
    }

    #[test]
    fn missing_mask_is_an_error_or_absence_as_configured() {
        let dir = folder("filename,patient,split\na.png,1,strong_val\n", &[]);
        let error = spec().import("set", dir.path()).unwrap_err();
        assert!(error.to_string().contains("mask/heart/a.png"), "{error}");
        let lenient = FolderSpec { missing_mask: MissingMask::Absent, ..spec() };
        let index = lenient.import("set", dir.path()).unwrap();
        assert_eq!(index.records[0].masks["heart"], MaskSource::Files(Vec::new()));
    }

    #[test]
    fn missing_image_is_named() {
        let dir = folder("filename,patient,split\nc.png,1,weak\n", &[]);
        let error = spec().import("set", dir.path()).unwrap_err();
        assert!(matches!(&error, DatasetError::MissingFile { line: 2, .. }), "{error}");
    }

    #[test]
    fn patient_in_two_splits_is_refused() {
        let dir = folder("filename,patient,split\na.png,1,weak\nb.png,1,strong_test\n", &["b.png"]);
        let error = spec().import("set", dir.path()).unwrap_err();
        assert!(matches!(error, DatasetError::PatientInTwoSplits { .. }), "{error}");
    }

    #[test]
    fn unknown_split_duplicate_and_escape_are_refused() {
        for (table, part) in [
            ("filename,patient,split\na.png,1,train\n", "unknown split"),
            ("filename,patient,split\na.png,1,weak\na.png,1,weak\n", "listed before"),
            ("filename,patient,split\n../../etc/x.png,1,weak\n", "leaves the data folder"),
            ("filename,split\na.png,weak\n", "no column \"patient\""),
        ] {
            let dir = folder(table, &[]);
            let error = spec().import("set", dir.path()).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn unknown_keys_are_refused() {
        assert!(toml::from_str::<FolderSpec>("path = \"a\"\nimages = \"b\"\n").is_err());
    }
}
