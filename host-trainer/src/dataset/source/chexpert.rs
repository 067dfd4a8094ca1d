use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::super::{DatasetError, Finding, Index, Record, Template};
use super::place::existing;
use super::table::{Row, Table};
use super::{Imported, Problem, parse_split, pseudonym};

const COLUMNS: [&str; 5] = ["Path", "Sex", "Age", "Frontal/Lateral", "AP/PA"];

/// CheXpert's table: `Path,Sex,Age,Frontal/Lateral,AP/PA` and a column an observation, with 1, 0, −1
/// (uncertain) or nothing.
///
/// ```toml
/// [data.chexpert]
/// format = "chexpert"
/// path = "CheXpert-v1.0-small"
/// labels = "train.csv"
/// strip = "CheXpert-v1.0-small/"   # what Path says before the path below the folder
/// [data.chexpert.findings]         # our label → observation
/// airspace_opacity = "Lung Opacity"
/// ```
///
/// Patient and study come from the path (`…/patient00001/study1/view1_frontal.jpg`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheXpertSpec {
    /// Folder, relative to the data root or absolute.
    pub path: PathBuf,
    /// The table, relative to the folder.
    pub labels: PathBuf,
    /// What stands before the path below the folder in the column `Path`.
    #[serde(default)]
    pub strip: String,
    /// The split: a literal, or `{column}`.
    #[serde(default = "weak")]
    pub split: Template,
    /// The source; the data set's name if left out.
    #[serde(default)]
    pub source: Option<Template>,
    /// Whose pseudonyms the patients are; the data set's own if left out.
    #[serde(default)]
    pub patients: Option<String>,
    /// Patients to leave out.
    #[serde(default)]
    pub exclude_patients: BTreeSet<String>,
    /// What −1 becomes.
    #[serde(default)]
    pub uncertain: Uncertain,
    /// What a blank means.
    #[serde(default)]
    pub blank: Blank,
    /// Lateral views as well.
    #[serde(default)]
    pub lateral: bool,
    /// Our label → the observation's column.
    pub findings: BTreeMap<String, String>,
}

/// What an uncertain label becomes: the policies of the CheXpert paper.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Uncertain {
    /// It stays uncertain and takes no part in losses (U-Ignore).
    #[default]
    Ignore,
    /// Absent (U-Zeros).
    Zeros,
    /// Present (U-Ones).
    Ones,
}

/// What a blank means. CheXpert leaves an observation blank that the report does not mention.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Blank {
    /// Nothing is known.
    #[default]
    Unknown,
    /// Not mentioned, so not there.
    Absent,
}

fn weak() -> Template {
    Template::new("weak").expect("a well-formed literal")
}

impl CheXpertSpec {
    /// Reads the table and looks whether every image is there. Pictures are not opened yet.
    pub fn import(&self, name: &str, root: &Path) -> Result<Imported, DatasetError> {
        let folder = root.join(&self.path);
        let table = Table::read(&folder.join(&self.labels))?;
        for column in COLUMNS {
            table.require(column, "a CheXpert table")?;
        }
        for (label, column) in &self.findings {
            table.require(column, format_args!("the finding \"{label}\""))?;
        }
        for template in [Some(&self.split), self.source.as_ref()].into_iter().flatten() {
            table.require_fields(template, "")?;
        }
        let (mut index, mut problems) = (Index::default(), Vec::new());
        let (mut lateral, mut excluded) = (0, 0);
        for row in table.rows() {
            if !self.lateral && row.get("Frontal/Lateral").is_some_and(|view| view == "Lateral") {
                lateral += 1;
                continue;
            }
            match self.record(name, &folder, row) {
                Ok(Some(record)) => index.records.push(record),
                Ok(None) => excluded += 1,
                Err(error) => problems.push(error.into()),
            }
        }
        let reasons = [
            (lateral, "lateral views (lateral = true takes them)"),
            (excluded, "exclude_patients names them"),
        ];
        for (images, reason) in reasons.into_iter().filter(|(images, _)| *images > 0) {
            problems.push(Problem::LeftAside { dataset: name.into(), images, reason: reason.into() });
        }
        Ok(Imported { index, problems })
    }

    /// The row's image; none if its patient is to be left out.
    fn record(&self, name: &str, folder: &Path, row: Row<'_>) -> Result<Option<Record>, DatasetError> {
        let place = row.place();
        let given = row.get("Path").unwrap_or_default();
        let relative = given.strip_prefix(self.strip.as_str()).unwrap_or(given);
        let Some(patient) = relative.split('/').find(|part| part.starts_with("patient")) else {
            let reason =
                format!("\"{given}\" names no patient; expected …/patient00001/study1/view1_frontal.jpg");
            return Err(DatasetError::Entry { place, reason });
        };
        if self.exclude_patients.contains(patient) {
            return Ok(None);
        }
        let mut findings = BTreeMap::new();
        for (label, column) in &self.findings {
            if let Some(finding) = self.finding(column, row.get(column).unwrap_or_default(), &place)? {
                findings.insert(label.clone(), finding);
            }
        }
        let attribute = |(name, column): (&str, &str)| {
            let value = row.get(column).filter(|value| !value.is_empty())?;
            Some((name.to_owned(), value.to_owned()))
        };
        Ok(Some(Record {
            id: format!("{name}/{relative}"),
            dataset: name.to_owned(),
            source: self.source.as_ref().map_or_else(|| name.to_owned(), |source| row.fill(source)),
            patient: pseudonym(self.patients.as_deref(), name, patient),
            split: parse_split(&row.fill(&self.split), &place)?,
            image: existing(folder, relative, &place)?,
            masks: BTreeMap::new(),
            findings,
            attributes: [("sex", "Sex"), ("age", "Age"), ("side", "Frontal/Lateral"), ("view", "AP/PA")]
                .into_iter()
                .filter_map(attribute)
                .collect(),
        }))
    }

    fn finding(&self, column: &str, value: &str, place: &str) -> Result<Option<Finding>, DatasetError> {
        if value.is_empty() {
            return Ok((self.blank == Blank::Absent).then_some(Finding::Absent));
        }
        match value.parse::<f64>() {
            Ok(1.0) => Ok(Some(Finding::Present)),
            Ok(0.0) => Ok(Some(Finding::Absent)),
            Ok(-1.0) => Ok(Some(match self.uncertain {
                Uncertain::Ignore => Finding::Uncertain,
                Uncertain::Zeros => Finding::Absent,
                Uncertain::Ones => Finding::Present,
            })),
            _ => Err(DatasetError::Entry {
                place: place.to_owned(),
                reason: format!("{column} is \"{value}\"; expected 1, 0, -1 or nothing"),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::dataset::Split;

    const HEADER: &str = "Path,Sex,Age,Frontal/Lateral,AP/PA,No Finding,Enlarged Cardiomediastinum,Cardiomegaly,\
                          Lung Opacity,Lung Lesion,Edema,Consolidation,Pneumonia,Atelectasis,Pneumothorax,\
                          Pleural Effusion,Pleural Other,Fracture,Support Devices";

    /// A folder with CheXpert's tree and the rows of `table`.
    fn folder(rows: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let set = dir.path().join("small");
        for patient in ["patient00001", "patient00002"] {
            fs::create_dir_all(set.join("train").join(patient).join("study1")).unwrap();
            for view in ["view1_frontal.jpg", "view2_lateral.jpg"] {
                fs::write(set.join("train").join(patient).join("study1").join(view), b"").unwrap();
            }
        }
        fs::write(set.join("train.csv"), format!("{HEADER}\n{rows}")).unwrap();
        dir
    }

    fn spec(extra: &str) -> CheXpertSpec {
        let text = format!(
            "path = \"small\"\nlabels = \"train.csv\"\nstrip = \"CheXpert-v1.0/\"\n{extra}\n[findings]\n\
             airspace_opacity = \"Lung Opacity\"\nedema = \"Edema\"\nfracture = \"Fracture\"\n"
        );
        toml::from_str(&text).unwrap()
    }

    const ROWS: &str = "\
CheXpert-v1.0/train/patient00001/study1/view1_frontal.jpg,Female,68,Frontal,AP,,,,1.0,,-1.0,0.0,,,,,,,1.0
CheXpert-v1.0/train/patient00001/study1/view2_lateral.jpg,Female,68,Lateral,,,,,1.0,,-1.0,0.0,,,,,,,1.0
";

    #[test]
    fn a_row_gives_patient_findings_and_attributes_and_laterals_are_told() {
        let dir = folder(ROWS);
        let imported = spec("").import("chexpert", dir.path()).unwrap();
        assert_eq!(imported.index.records.len(), 1);
        let record = &imported.index.records[0];
        assert_eq!(record.patient, "chexpert/patient00001");
        assert_eq!(record.split, Split::Weak);
        assert_eq!(record.findings["airspace_opacity"], Finding::Present);
        assert_eq!(record.findings["edema"], Finding::Uncertain);
        assert!(!record.findings.contains_key("fracture"));
        assert_eq!((record.attributes["sex"].as_str(), record.attributes["view"].as_str()), ("Female", "AP"));
        assert!(matches!(imported.problems[..], [Problem::LeftAside { images: 1, .. }]));
        assert_eq!(spec("lateral = true").import("c", dir.path()).unwrap().index.records.len(), 2);
    }

    #[test]
    fn the_policies_of_the_paper() {
        let dir = folder(ROWS);
        let edema = |extra: &str| {
            let records = spec(extra).import("c", dir.path()).unwrap().index.records;
            (records[0].findings["edema"], records[0].findings.get("fracture").copied())
        };
        assert_eq!(edema("uncertain = \"ignore\""), (Finding::Uncertain, None));
        assert_eq!(edema("uncertain = \"zeros\""), (Finding::Absent, None));
        assert_eq!(edema("uncertain = \"ones\""), (Finding::Present, None));
        assert_eq!(edema("blank = \"absent\""), (Finding::Uncertain, Some(Finding::Absent)));
    }

    #[test]
    fn bad_rows_and_columns_are_named() {
        let dir = folder(
            "CheXpert-v1.0/train/patient00002/study1/view1_frontal.jpg,Male,1,Frontal,AP,,,,maybe,,,,,,,,,,\n\
             CheXpert-v1.0/train/p2/view1_frontal.jpg,Male,1,Frontal,AP,,,,,,,,,,,,,,\n\
             CheXpert-v1.0/train/patient00009/study1/view1_frontal.jpg,Male,1,Frontal,AP,,,,,,,,,,,,,,\n",
        );
        let imported = spec("").import("c", dir.path()).unwrap();
        let texts: Vec<String> = imported.problems.iter().map(ToString::to_string).collect();
        for (text, part) in
            texts.iter().zip(["line 2: Lung Opacity is \"maybe\"", "names no patient", "does not exist"])
        {
            assert!(text.contains(part), "{text}");
        }
        assert_eq!(texts.len(), 3);
        let mut unknown = spec("");
        unknown.findings.insert("effusion".into(), "Effusion".into());
        let error = unknown.import("c", dir.path()).unwrap_err().to_string();
        assert!(error.contains("no column \"Effusion\"") && error.contains("Pleural Effusion"), "{error}");
    }
}
