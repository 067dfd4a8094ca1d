//! Where radiographs come from: one reader a format, and what all of them must keep to.

mod chexlocalize;
mod chexpert;
mod coco;
mod finding;
mod folder;
pub(super) mod place;
mod polygon;
mod problem;
mod table;

#[cfg(test)]
mod shared_data;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::{Deserialize, Serialize};
use shared::pixel::ImageLimits;

pub use chexlocalize::CheXlocalizeSpec;
pub use chexpert::{Blank, CheXpertSpec, Uncertain};
pub use coco::CocoSpec;
pub use finding::FindingSpec;
pub use folder::{FolderSpec, MissingMask};
pub use problem::Problem;

use super::normal::IndexSpec;
use super::{DatasetError, Index, Record, Split};

/// A data set of a configuration: `format` says which kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "format", rename_all = "lowercase")]
pub enum DataSpec {
    /// Images, masks and a CSV table in a folder.
    Folder(FolderSpec),
    /// CheXpert's CSV.
    CheXpert(CheXpertSpec),
    /// CheXlocalize's JSON of run-length codes or polygons.
    CheXlocalize(CheXlocalizeSpec),
    /// COCO instances.
    Coco(CocoSpec),
    /// What `host-trainer import` wrote.
    Index(IndexSpec),
}

/// What a reader found: the images that can be used, and all that is wrong or odd.
#[derive(Debug, Default)]
pub struct Imported {
    /// The usable images.
    pub index: Index,
    /// Hard problems name an image that is not in the index.
    pub problems: Vec<Problem>,
}

impl DataSpec {
    /// Its folder, relative to the data root or absolute.
    pub fn path(&self) -> &Path {
        match self {
            Self::Folder(spec) => &spec.path,
            Self::CheXpert(spec) => &spec.path,
            Self::CheXlocalize(spec) => &spec.path,
            Self::Coco(spec) => &spec.path,
            Self::Index(spec) => &spec.path,
        }
    }

    /// Reads the data set `name`. Pictures are not opened yet.
    pub fn import(&self, name: &str, root: &Path) -> Result<Imported, DatasetError> {
        match self {
            Self::Folder(spec) => spec.import(name, root),
            Self::CheXpert(spec) => spec.import(name, root),
            Self::CheXlocalize(spec) => spec.import(name, root),
            Self::Coco(spec) => spec.import(name, root),
            Self::Index(spec) => spec.import(root),
        }
    }

    /// Our classes that it has masks for, each with what the data set calls them. An index names its classes
    /// itself.
    pub fn classes(&self) -> Option<&BTreeMap<String, Vec<String>>> {
        match self {
            Self::Folder(spec) => Some(&spec.classes),
            Self::CheXlocalize(spec) => Some(&spec.classes),
            Self::Coco(spec) => Some(&spec.classes),
            Self::CheXpert(_) | Self::Index(_) => None,
        }
    }

    /// Our classes that are in none of its images.
    pub fn absent(&self) -> Option<&BTreeSet<String>> {
        match self {
            Self::Folder(spec) => Some(&spec.absent),
            _ => None,
        }
    }

    /// What is wrong with the settings themselves, as far as they tell without the classes of the
    /// configuration: field and reason.
    pub fn fault(&self) -> Option<(String, String)> {
        let empty = self.classes().and_then(|classes| classes.iter().find(|(_, names)| names.is_empty()));
        if let Some((label, _)) = empty {
            return Some((format!("classes.{label}"), "name at least one mask or remove the line".into()));
        }
        let Self::Folder(spec) = self else { return None };
        let ambiguous = |(label, finding): (&String, &FindingSpec)| {
            let value = finding.ambiguous()?;
            Some((format!("findings.{label}"), format!("\"{value}\" stands in two lists")))
        };
        spec.fault().or_else(|| spec.findings.iter().find_map(ambiguous))
    }
}

impl Imported {
    /// The index, or the first hard problem.
    pub fn into_index(self) -> Result<Index, DatasetError> {
        for problem in self.problems {
            if let Problem::Broken(error) = problem {
                return Err(error);
            }
        }
        Ok(self.index)
    }

    /// Leaves out images that are listed twice and images of patients who stand in another split, and says so.
    /// The split that promises most keeps its images, whatever the order of the tables: a test image is never
    /// given up for one to learn from.
    fn keep_apart(&mut self) {
        let mut best_of_id: BTreeMap<String, Split> = BTreeMap::new();
        let mut best_of: BTreeMap<String, (Split, String)> = BTreeMap::new();
        for record in &self.index.records {
            let best = best_of_id.entry(record.id.clone()).or_insert(record.split);
            *best = (*best).max(record.split);
            let here = || (record.split, record.id.clone());
            let best = best_of.entry(record.patient.clone()).or_insert_with(here);
            if best.0 < record.split {
                *best = here();
            }
        }
        let mut seen = BTreeSet::new();
        let problems = &mut self.problems;
        self.index.records.retain(|record| {
            if let Some((best, best_id)) =
                best_of.get(&record.patient).filter(|(best, _)| *best > record.split)
            {
                problems.push(two_splits(record, *best, best_id).into());
                return false;
            }
            let lesser = best_of_id.get(&record.id).is_some_and(|best| *best > record.split);
            if lesser || !seen.insert(record.id.clone()) {
                problems.push(DatasetError::Duplicate { id: record.id.clone() }.into());
                return false;
            }
            true
        });
    }
}

fn two_splits(record: &Record, best: Split, best_id: &str) -> DatasetError {
    DatasetError::PatientInTwoSplits {
        patient: record.patient.clone(),
        first: best,
        first_id: best_id.to_owned(),
        second: record.split,
        second_id: record.id.clone(),
    }
}

/// Reads data sets into one index, and checks them against each other: no image twice, no patient in two
/// splits.
pub fn import_all<'a>(
    data: impl IntoIterator<Item = (&'a String, &'a DataSpec)>,
    root: &Path,
) -> Result<Imported, DatasetError> {
    let mut all = Imported::default();
    for (name, spec) in data {
        let one = spec.import(name, root)?;
        all.index.extend(one.index);
        all.problems.extend(one.problems);
    }
    all.keep_apart();
    Ok(all)
}

fn parse_split(text: &str, place: &str) -> Result<Split, DatasetError> {
    text.parse().map_err(|_| DatasetError::UnknownSplit { place: place.to_owned(), value: text.to_owned() })
}

/// A patient's name that is unique over data sets.
fn pseudonym(patients: Option<&str>, dataset: &str, patient: &str) -> String {
    format!("{}/{patient}", patients.unwrap_or(dataset))
}

/// The first name that our classes ask for and the file does not have.
fn unknown_name(
    path: &Path,
    what: &'static str,
    classes: &BTreeMap<String, Vec<String>>,
    known: &BTreeSet<&str>,
) -> Option<DatasetError> {
    let asked = classes.iter().flat_map(|(label, names)| names.iter().map(move |name| (label, name)));
    let (label, name) = asked.into_iter().find(|(_, name)| !known.contains(name.as_str()))?;
    Some(DatasetError::UnknownName {
        path: path.to_owned(),
        what,
        name: name.clone(),
        label: label.clone(),
        known: known.iter().copied().collect::<Vec<_>>().join(", "),
    })
}

/// Names of the file that no class asks for.
fn unmapped(
    dataset: &str,
    classes: &BTreeMap<String, Vec<String>>,
    known: &BTreeSet<&str>,
) -> Option<Problem> {
    let used: BTreeSet<&str> = classes.values().flatten().map(String::as_str).collect();
    let unused: Vec<&str> = known.difference(&used).copied().collect();
    let (dataset, classes) = (dataset.to_owned(), unused.join(", "));
    (!unused.is_empty()).then_some(Problem::Unmapped { dataset, classes })
}

/// A mask's size as a file claims it, before memory is taken for it.
fn check_size(rows: usize, cols: usize) -> Result<(), String> {
    ImageLimits::default().check(rows as u64, cols as u64).map_err(|error| error.to_string())
}

/// An outline's coordinates: some way outside the image is common, far outside is a mistake.
fn check_outline<'a>(coordinates: impl IntoIterator<Item = &'a f64>) -> Result<(), String> {
    let limit = 2.0 * f64::from(ImageLimits::default().max_side);
    match coordinates.into_iter().find(|v| v.is_nan() || v.abs() > limit) {
        Some(far) => Err(format!("the coordinate {far} lies far outside any image")),
        None => Ok(()),
    }
}
