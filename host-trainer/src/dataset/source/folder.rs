use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::super::{DatasetError, Index, MaskSource, Record, Template};
use super::finding::{read_attributes, read_findings, unrecognised};
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
    /// Our label → the data set's mask names that are cut out of it, where its experts mean more by a class than we do.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub without: BTreeMap<String, Vec<String>>,
    /// Our labels of what is in no image of the data set: experts need not draw what cannot be there. They count as
    /// annotated where the other classes are.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub absent: BTreeSet<String>,
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
        let mut taken = Vec::new();
        for row in table.rows() {
            if !self.is_wanted(row) {
                continue;
            }
            if self.exclude_patients.contains(&row.fill(&self.patient)) {
                aside += 1;
                continue;
            }
            taken.push(row);
            match self.record(name, &folder, row) {
                Ok(record) => index.records.push(record),
                Err(error) => problems.push(error.into()),
            }
        }
        if aside > 0 {
            let (dataset, reason) = (name.to_owned(), "exclude_patients names their patients".to_owned());
            problems.push(Problem::LeftAside { dataset, images: aside, reason });
        }
        problems.extend(self.without_masks(name, &mut index));
        problems.extend(self.unread_findings(&folder.join(&self.labels), &taken));
        Ok(Imported { index, problems })
    }

    /// Classes of which not one mask file exists: a wrong name or template, which must not teach that nobody has
    /// them. Nothing is known of them then.
    fn without_masks(&self, name: &str, index: &mut Index) -> Vec<Problem> {
        let mut problems = Vec::new();
        let Some(template) = &self.mask else { return problems };
        for (label, names) in &self.classes {
            let mut masks = index.records.iter().filter_map(|record| record.masks.get(label)).peekable();
            let absent = |source: &MaskSource| matches!(source, MaskSource::Files(files) if files.is_empty());
            if masks.peek().is_none() || !masks.all(absent) {
                continue;
            }
            for record in &mut index.records {
                record.masks.remove(label);
            }
            let error = DatasetError::NoMasks {
                dataset: name.to_owned(),
                label: label.clone(),
                template: template.to_string(),
                names: names.join(", "),
            };
            problems.push(error.into());
        }
        problems
    }

    /// Columns of findings that have values, none of which says anything.
    fn unread_findings(&self, path: &Path, rows: &[Row<'_>]) -> Vec<Problem> {
        let unread = |(label, finding): (&String, &FindingSpec)| {
            let error = DatasetError::NoFindings {
                path: path.to_owned(),
                column: finding.column.clone(),
                label: label.clone(),
                seen: unrecognised(finding, rows)?,
            };
            Some(error.into())
        };
        self.findings.iter().filter_map(unread).collect()
    }

    /// What is wrong with the settings themselves: field and reason.
    pub(super) fn fault(&self) -> Option<(String, String)> {
        if self.mask.is_none() && !self.classes.is_empty() {
            return Some(("mask".into(), "classes need it; name it or remove them".into()));
        }
        if let Some(unknown) = self.without.keys().find(|label| !self.classes.contains_key(*label)) {
            return Some((format!("without.{unknown}"), "cuts a class that `classes` does not name".into()));
        }
        if let Some(both) = self.absent.iter().find(|label| self.classes.contains_key(*label)) {
            return Some((
                "absent".into(),
                format!("`classes` says where \"{both}\" is; remove one of both"),
            ));
        }
        if self.classes.is_empty() && !self.absent.is_empty() {
            return Some(("absent".into(), "needs `classes`: no image has masks".into()));
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
        let files = |names: &[String]| {
            let mut files = Vec::new();
            for class in names {
                let file = template.fill(|field| if field == "class" { Some(class) } else { row.get(field) });
                match existing(folder, &file, place) {
                    Ok(path) => files.push(path),
                    Err(DatasetError::MissingFile { .. }) if self.missing_mask == MissingMask::Absent => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(files)
        };
        for (label, names) in &self.classes {
            let of = files(names)?;
            let without = files(self.without.get(label).map_or(&[], Vec::as_slice))?;
            let source = match of.is_empty() || without.is_empty() {
                true => MaskSource::Files(of),
                false => MaskSource::Cut { of, without },
            };
            masks.insert(label.clone(), source);
        }
        masks.extend(self.absent.iter().map(|label| (label.clone(), MaskSource::Files(Vec::new()))));
        Ok(masks)
    }
}

#[cfg(test)]
mod tests;
