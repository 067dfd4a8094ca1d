use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::super::{DatasetError, Index, MaskSource, Record, Template};
use super::finding::{read_attributes, read_findings};
use super::place::existing;
use super::table::{Row, Table};
use super::{FindingSpec, Imported, Problem, parse_split, pseudonym};

/// A data set that lies in a folder: images, perhaps mask pictures, and a CSV table with one line an image.
///
/// ```toml
/// [data.heart-lung]
/// format = "folder"
/// path = "heart-lung"                       # below the data root
/// image = "{source}/png/{filename}"         # {column} of the table
/// mask = "{source}/mask/{class}/{filename}" # {class}: the data set's name of the mask
/// source = "{source}"
/// patient = "{filename}"
/// [data.heart-lung.classes]                 # our label → masks whose union it is
/// left_lung = ["left_lung"]
/// [data.heart-lung.findings]                # our label → how a column says whether it is there
/// enlarged_heart = { column = "enlarged_heart" }
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
    /// Path of a mask, relative to the folder; foreground is above 127. None: no masks, and no classes.
    #[serde(default)]
    pub mask: Option<Template>,
    /// The split; without placeholders it is that of all images.
    #[serde(default = "default_split")]
    pub split: Template,
    /// The source; the data set's name if left out.
    #[serde(default)]
    pub source: Option<Template>,
    /// The patient's pseudonym.
    pub patient: Template,
    /// Whose pseudonyms they are; the data set's own if left out. Data sets cut from one collection name it,
    /// so that its patients are known to be the same people in both.
    #[serde(default)]
    pub patients: Option<String>,
    /// Column → values: only lines with one of the values in each of these columns are read.
    #[serde(default)]
    pub only: BTreeMap<String, BTreeSet<String>>,
    /// Patients to leave out.
    #[serde(default)]
    pub exclude_patients: BTreeSet<String>,
    /// Our label → the data set's mask names. Only these classes count as annotated.
    #[serde(default)]
    pub classes: BTreeMap<String, Vec<String>>,
    /// What a mask file that is not there means.
    #[serde(default)]
    pub missing_mask: MissingMask,
    /// Our label → the column that says whether the finding is there.
    #[serde(default)]
    pub findings: BTreeMap<String, FindingSpec>,
    /// Name → column of what subgroups may be formed by: sex, age, view.
    #[serde(default)]
    pub attributes: BTreeMap<String, String>,
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

impl FolderSpec {
    /// Reads the table and looks whether every file that it promises exists. Pictures are not opened yet.
    pub fn import(&self, name: &str, root: &Path) -> Result<Imported, DatasetError> {
        let folder = root.join(&self.path);
        let table = Table::read(&folder.join(&self.labels))?;
        self.check_columns(&table)?;
        let (mut index, mut problems, mut aside) = (Index::default(), Vec::new(), 0);
        for row in table.rows() {
            if !self.is_wanted(row) {
                continue;
            }
            if self.exclude_patients.contains(&row.fill(&self.patient)) {
                aside += 1;
                continue;
            }
            match self.record(name, &folder, row) {
                Ok(record) => index.records.push(record),
                Err(error) => problems.push(error.into()),
            }
        }
        if aside > 0 {
            let (dataset, reason) = (name.to_owned(), "exclude_patients names their patients".to_owned());
            problems.push(Problem::LeftAside { dataset, images: aside, reason });
        }
        Ok(Imported { index, problems })
    }

    /// What is wrong with the settings themselves: field and reason.
    pub(super) fn fault(&self) -> Option<(String, String)> {
        if self.mask.is_none() && !self.classes.is_empty() {
            return Some(("mask".into(), "classes need it; name it or remove them".into()));
        }
        None
    }

    fn check_columns(&self, table: &Table) -> Result<(), DatasetError> {
        // Each with the field that is no column.
        let templates = [(&self.image, ""), (&self.split, ""), (&self.patient, "")];
        let optional = [(self.source.as_ref(), ""), (self.mask.as_ref(), "class")];
        let optional = optional.into_iter().filter_map(|(template, given)| Some((template?, given)));
        for (template, given) in templates.into_iter().chain(optional) {
            table.require_fields(template, given)?;
        }
        for (label, finding) in &self.findings {
            table.require(&finding.column, format_args!("the finding \"{label}\""))?;
        }
        for (name, column) in &self.attributes {
            table.require(column, format_args!("the attribute \"{name}\""))?;
        }
        for column in self.only.keys() {
            table.require(column, format_args!("`only`"))?;
        }
        Ok(())
    }

    fn is_wanted(&self, row: Row<'_>) -> bool {
        self.only.iter().all(|(column, values)| row.get(column).is_some_and(|value| values.contains(value)))
    }

    fn record(&self, name: &str, folder: &Path, row: Row<'_>) -> Result<Record, DatasetError> {
        let place = row.place();
        let split = parse_split(&row.fill(&self.split), &place)?;
        let relative = row.fill(&self.image);
        let patient = row.fill(&self.patient);
        if patient.is_empty() {
            let reason = format!("no patient: the template \"{}\" is empty here", self.patient);
            return Err(DatasetError::Entry { place, reason });
        }
        Ok(Record {
            id: format!("{name}/{relative}"),
            dataset: name.to_owned(),
            source: self.source.as_ref().map_or_else(|| name.to_owned(), |source| row.fill(source)),
            patient: pseudonym(self.patients.as_deref(), name, &patient),
            split,
            image: existing(folder, &relative, &place)?,
            masks: if split.is_strong() { self.masks(folder, row, &place)? } else { BTreeMap::new() },
            findings: read_findings(&self.findings, row),
            attributes: read_attributes(&self.attributes, row),
        })
    }

    fn masks(
        &self,
        folder: &Path,
        row: Row<'_>,
        place: &str,
    ) -> Result<BTreeMap<String, MaskSource>, DatasetError> {
        let mut masks = BTreeMap::new();
        let Some(template) = &self.mask else { return Ok(masks) };
        for (label, names) in &self.classes {
            let mut files = Vec::new();
            for class in names {
                let file = template.fill(|field| if field == "class" { Some(class) } else { row.get(field) });
                match existing(folder, &file, place) {
                    Ok(path) => files.push(path),
                    Err(DatasetError::MissingFile { .. }) if self.missing_mask == MissingMask::Absent => {}
                    Err(error) => return Err(error),
                }
            }
            masks.insert(label.clone(), MaskSource::Files(files));
        }
        Ok(masks)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::dataset::{DataSpec, Finding, Split, import_all};

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

    /// Through [`import_all`], as a configuration would.
    fn import(spec: FolderSpec, root: &Path) -> Result<Index, DatasetError> {
        import_all([(&"set".to_owned(), &DataSpec::Folder(spec))], root)?.into_index()
    }

    #[test]
    fn only_lines_with_the_wanted_values_are_read() {
        let dir = folder("filename,patient,split\na.png,1,weak\nb.png,2,strong_test\n", &[]);
        let text = |extra: &str| {
            format!("path = \"set\"\nimage = \"png/{{filename}}\"\npatient = \"{{patient}}\"\n{extra}")
        };
        let spec = |extra: &str| toml::from_str::<FolderSpec>(&text(extra)).unwrap();
        let read =
            |extra: &str| spec(extra).import("d", dir.path()).map(|imported| imported.index.records.len());
        assert_eq!(read("").unwrap(), 2);
        assert_eq!(read("only = { split = [\"weak\"] }").unwrap(), 1);
        assert!(read("only = { hospital = [\"x\"] }").unwrap_err().to_string().contains("hospital"));
    }

    #[test]
    fn strong_records_have_masks_and_weak_ones_none() {
        let dir = folder("filename,patient,split\na.png,1,weak\nb.png,2,strong_train\n", &["b.png"]);
        let index = import(spec(), dir.path()).unwrap();
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
        let error = import(spec(), dir.path()).unwrap_err();
        assert!(error.to_string().contains("mask/heart/a.png"), "{error}");
        let lenient = FolderSpec { missing_mask: MissingMask::Absent, ..spec() };
        let index = import(lenient, dir.path()).unwrap();
        assert_eq!(index.records[0].masks["heart"], MaskSource::Files(Vec::new()));
    }

    #[test]
    fn missing_image_is_named_and_the_others_are_kept() {
        let dir = folder("filename,patient,split\nc.png,1,weak\na.png,2,weak\n", &[]);
        let imported = spec().import("set", dir.path()).unwrap();
        assert_eq!(imported.index.records.len(), 1);
        let text = imported.problems[0].to_string();
        assert!(text.contains("png/c.png does not exist") && text.contains("labels.csv line 2"), "{text}");
        assert!(imported.into_index().is_err());
    }

    #[test]
    fn patient_in_two_splits_is_refused_and_may_be_left_out() {
        let dir = folder("filename,patient,split\na.png,1,weak\nb.png,1,strong_test\n", &["b.png"]);
        let error = import(spec(), dir.path()).unwrap_err();
        assert!(matches!(error, DatasetError::PatientInTwoSplits { .. }), "{error}");
        assert!(error.to_string().contains("patient set/1"), "{error}");
        let without = FolderSpec { exclude_patients: BTreeSet::from(["1".to_owned()]), ..spec() };
        assert!(import(without, dir.path()).unwrap().records.is_empty());
    }

    #[test]
    fn data_sets_of_one_collection_share_its_patients() {
        let dir = folder("filename,patient,split\na.png,1,weak\n", &[]);
        let strong = |spec| FolderSpec {
            split: Template::new("strong_val").unwrap(),
            classes: BTreeMap::new(),
            ..spec
        };
        let both = |spec: FolderSpec| {
            let sets = BTreeMap::from([
                ("a".to_owned(), DataSpec::Folder(spec.clone())),
                ("b".to_owned(), DataSpec::Folder(strong(spec))),
            ]);
            import_all(&sets, dir.path()).and_then(Imported::into_index)
        };
        assert_eq!(both(spec()).unwrap().records.len(), 2);
        let error = both(FolderSpec { patients: Some("clinic".into()), ..spec() }).unwrap_err();
        assert!(error.to_string().contains("patient clinic/1 stands in strong_val (b/"), "{error}");
    }

    #[test]
    fn unknown_split_duplicate_and_escape_are_refused() {
        for (table, part) in [
            ("filename,patient,split\na.png,1,train\n", "unknown split"),
            ("filename,patient,split\na.png,1,weak\na.png,1,weak\n", "listed before"),
            ("filename,patient,split\n../../etc/x.png,1,weak\n", "leaves the data folder"),
            ("filename,patient,split\na.png,,weak\n", "no patient"),
            ("filename,split\na.png,weak\n", "no column \"patient\""),
            ("filename,patient,split\na.png,1\n", "labels.csv"),
        ] {
            let dir = folder(table, &[]);
            let error = import(spec(), dir.path()).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn findings_and_attributes_come_from_columns_and_quoted_fields_are_read() {
        let dir = folder(
            "\u{feff}filename,patient,why,tube,age\na.png,1,\"Flu, ARDS\",Y,40\nb.png,2,No Finding,,\n",
            &[],
        );
        let spec: FolderSpec = toml::from_str(
            r#"
            path = "set"
            image = "png/{filename}"
            split = "weak"
            patient = "{patient}"
            findings.lung_opacity = { column = "why", present = ["*"], absent = ["No Finding"] }
            findings.support_devices = { column = "tube", present = ["Y"], absent = ["N"] }
            attributes.age = "age"
            "#,
        )
        .unwrap();
        let records = import(spec.clone(), dir.path()).unwrap().records;
        assert_eq!(records[0].findings["lung_opacity"], Finding::Present);
        assert_eq!(records[0].findings["support_devices"], Finding::Present);
        assert_eq!(records[0].attributes["age"], "40");
        assert_eq!(records[1].findings, BTreeMap::from([("lung_opacity".to_owned(), Finding::Absent)]));
        assert!(records[1].attributes.is_empty());
        let mut wrong = spec;
        wrong.attributes.insert("sex".into(), "sex".into());
        let error = import(wrong, dir.path()).unwrap_err().to_string();
        assert!(error.contains("no column \"sex\" for the attribute \"sex\""), "{error}");
    }

    #[test]
    fn unknown_keys_are_refused() {
        assert!(toml::from_str::<FolderSpec>("path = \"a\"\nimages = \"b\"\n").is_err());
    }
}
