use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use shared::mask::Rle;

use super::Promised;

/// What an image may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Split {
    /// Image-level label only.
    Weak,
    /// Expert masks to learn from.
    StrongTrain,
    /// Expert masks for thresholds, model selection and calibration.
    StrongVal,
    /// Expert masks for final figures only.
    StrongTest,
}

impl Split {
    /// All splits.
    pub const ALL: [Self; 4] = [Self::Weak, Self::StrongTrain, Self::StrongVal, Self::StrongTest];

    /// Its name in `labels.csv`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Weak => "weak",
            Self::StrongTrain => "strong_train",
            Self::StrongVal => "strong_val",
            Self::StrongTest => "strong_test",
        }
    }

    /// Whether its images have expert masks.
    pub fn is_strong(self) -> bool {
        self != Self::Weak
    }
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Split {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|split| split.name() == text).ok_or_else(|| {
            format!("unknown split \"{text}\" (one of weak, strong_train, strong_val, strong_test)")
        })
    }
}

/// An image-level label. A label that nobody gave is no `Finding` at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Finding {
    /// Not there.
    Absent,
    /// There.
    Present,
    /// The reader could not tell (CheXpert's −1).
    Uncertain,
}

/// Where an expert's mask of one class comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MaskSource {
    /// Pictures whose union is the mask; no picture: the class is known to be absent.
    Files(Vec<PathBuf>),
    /// Pictures whose union, less the union of others, is the mask: experts of another collection may draw the lung
    /// behind the heart, for example.
    Cut {
        /// What is joined.
        of: Vec<PathBuf>,
        /// What is taken out.
        without: Vec<PathBuf>,
    },
    /// COCO run-length codes whose union is the mask; no code: the class is known to be absent.
    Codes(Vec<Rle>),
}

/// One image of a data set: where its pixels and masks lie, and what is said of the whole image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Unique in the index: data set, source and file name.
    pub id: String,
    /// Name of the data set in the configuration.
    pub dataset: String,
    /// Where the image comes from (hospital, collection); figures are reported for each.
    pub source: String,
    /// Pseudonym of the patient, unique over data sets; bootstraps resample patients.
    pub patient: String,
    /// What it may be used for.
    pub split: Split,
    /// The radiograph.
    pub image: PathBuf,
    /// Experts' masks by class. A class that is not in here is unknown.
    pub masks: BTreeMap<String, MaskSource>,
    /// Image-level labels by name. A label that is not in here is unknown.
    pub findings: BTreeMap<String, Finding>,
    /// Anything that subgroups may be formed by: sex, age, view.
    pub attributes: BTreeMap<String, String>,
}

/// The records of the data sets of a configuration, in the order of their tables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Index {
    /// All records.
    pub records: Vec<Record>,
    /// Terms of use by data set, as far as imported indexes name them.
    pub terms: BTreeMap<String, String>,
    /// What imported indexes say of their image files.
    pub promised: BTreeMap<PathBuf, Promised>,
}

impl Index {
    /// Appends another index.
    pub(super) fn extend(&mut self, other: Self) {
        self.records.extend(other.records);
        self.promised.extend(other.promised);
        for (dataset, terms) in other.terms {
            let all = self.terms.entry(dataset).or_insert_with(|| terms.clone());
            // Two imports of one data set that disagree: both are said.
            if *all != terms {
                *all = format!("{all}; {terms}");
            }
        }
    }

    /// The records of one split.
    pub fn of(&self, split: Split) -> Vec<Record> {
        self.records.iter().filter(|record| record.split == split).cloned().collect()
    }

    /// Images by (data set, source, split).
    pub fn counts(&self) -> BTreeMap<(String, String, Split), usize> {
        let mut counts = BTreeMap::new();
        for r in &self.records {
            *counts.entry((r.dataset.clone(), r.source.clone(), r.split)).or_insert(0) += 1;
        }
        counts
    }
}
