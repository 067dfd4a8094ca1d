use std::collections::{BTreeMap, BTreeSet};

use rand::seq::SliceRandom as _;

use super::PipelineError;
use crate::dataset::{Index, Record, Split, Stream, stream_rng};
use crate::train::Roles;

/// Which radiographs do what in one training of a study.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StudyRoles {
    /// In the training.
    pub training: Roles,
    /// Judged on afterwards.
    pub test: Vec<Record>,
}

impl StudyRoles {
    /// By the splits: `strong_train` to learn from, `strong_val` to validate on, `strong_test` to judge. `budget`
    /// images with expert masks are learned from, 0 for none, a larger one taking those of a smaller one and more.
    pub fn of_splits(index: &Index, budget: usize, seed: u64) -> Result<Self, PipelineError> {
        let training = Roles {
            strong: choose(index.of(Split::StrongTrain), budget, seed, "the split strong_train")?,
            weak: index.of(Split::Weak),
            validation: index.of(Split::StrongVal),
        };
        Self { training, test: index.of(Split::StrongTest) }.checked()
    }

    /// Cross-validation: the patients of `strong_train` and `strong_val` are dealt into `folds`; one fold is judged
    /// on, the others are learned from. Nothing is left to validate on.
    pub fn of_fold(
        index: &Index,
        (fold, folds): (usize, usize),
        budget: usize,
        experiment_seed: u64,
        seed: u64,
    ) -> Result<Self, PipelineError> {
        let all: Vec<Record> = [Split::StrongTrain, Split::StrongVal].map(|split| index.of(split)).concat();
        let mut images: BTreeMap<&str, usize> = BTreeMap::new();
        for record in &all {
            *images.entry(&record.patient).or_default() += 1;
        }
        if images.len() < folds {
            return Err(PipelineError::Folds { folds, patients: images.len() });
        }
        let own = deal(images, folds, experiment_seed).swap_remove(fold);
        let (test, rest): (Vec<Record>, Vec<Record>) =
            all.iter().cloned().partition(|record| own.contains(record.patient.as_str()));
        let what = format!("the training part of fold {}", fold + 1);
        let strong = choose(rest, budget, seed, &what)?;
        let training = Roles { strong, weak: index.of(Split::Weak), validation: Vec::new() };
        Self { training, test }.checked()
    }

    /// In cross-validation, for arms without expert masks: every image with one is judged on in some fold.
    pub fn weak_only(index: &Index) -> Self {
        let training = Roles { weak: index.of(Split::Weak), ..Roles::default() };
        Self { training, test: Vec::new() }
    }

    fn checked(self) -> Result<Self, PipelineError> {
        if self.test.is_empty() { Err(PipelineError::NothingToJudge) } else { Ok(self) }
    }
}

/// Deals patients (with numbers of images) into folds of nearly equal numbers of images: in a random order, those with
/// most images first, each into the smallest fold. The same for all seeds of a study, which differ in their trainings.
fn deal(images: BTreeMap<&str, usize>, folds: usize, seed: u64) -> Vec<BTreeSet<&str>> {
    let mut patients: Vec<(&str, usize)> = images.into_iter().collect();
    patients.shuffle(&mut stream_rng(seed, Stream::Selection, u64::MAX));
    // A stable sort keeps the random order among equals.
    patients.sort_by_key(|(_, images)| std::cmp::Reverse(*images));
    let mut dealt = vec![(0, BTreeSet::new()); folds];
    for (patient, images) in patients {
        let smallest = dealt.iter_mut().min_by_key(|(size, _)| *size).expect("at least two folds");
        smallest.0 += images;
        smallest.1.insert(patient);
    }
    dealt.into_iter().map(|(_, patients)| patients).collect()
}

/// The first `budget` of a random order in which sources take turns, so that few images still are of all sources.
/// `usize::MAX` takes all.
fn choose(records: Vec<Record>, budget: usize, seed: u64, what: &str) -> Result<Vec<Record>, PipelineError> {
    if budget == usize::MAX {
        return Ok(records);
    }
    if budget > records.len() {
        return Err(PipelineError::Budget { budget, what: what.to_owned(), found: records.len() });
    }
    let mut records = records;
    records.shuffle(&mut stream_rng(seed, Stream::Selection, 0));
    let mut by_source: BTreeMap<String, Vec<Record>> = BTreeMap::new();
    for record in records {
        by_source.entry(record.source.clone()).or_default().push(record);
    }
    let longest = by_source.values().map(Vec::len).max().unwrap_or(0);
    let turns = (0..longest).flat_map(|turn| by_source.values().filter_map(move |own| own.get(turn)));
    Ok(turns.take(budget).cloned().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(i: usize, split: Split) -> Record {
        Record {
            id: i.to_string(),
            dataset: "d".into(),
            source: if i.is_multiple_of(4) { "rare" } else { "common" }.into(),
            patient: format!("p{}", i / 2),
            split,
            image: "a.png".into(),
            masks: BTreeMap::new(),
            findings: BTreeMap::new(),
            attributes: BTreeMap::new(),
        }
    }

    fn index() -> Index {
        let split = |i| match i {
            0..40 => Split::StrongTrain,
            40..52 => Split::StrongVal,
            52..60 => Split::StrongTest,
            _ => Split::Weak,
        };
        Index { records: (0..80).map(|i| record(i, split(i))).collect(), ..Index::default() }
    }

    #[test]
    fn budgets_are_nested_and_take_turns_between_sources() {
        let ids = |budget, seed| -> Vec<String> {
            let roles = StudyRoles::of_splits(&index(), budget, seed).unwrap();
            roles.training.strong.iter().map(|record| record.id.clone()).collect()
        };
        let (five, ten) = (ids(5, 1), ids(10, 1));
        assert_eq!(ten[..5], five);
        assert_ne!(ids(5, 2), five);
        assert_eq!(ids(usize::MAX, 1).len(), 40);
        assert_eq!(ids(0, 1).len(), 0);
        let rare = ten.iter().filter(|id| id.parse::<usize>().unwrap() % 4 == 0).count();
        assert_eq!(rare, 5);
    }

    #[test]
    fn each_patient_is_judged_in_one_fold_and_never_learned_from_there() {
        let mut judged = Vec::new();
        for fold in 0..5 {
            let roles = StudyRoles::of_fold(&index(), (fold, 5), 30, 17, 1).unwrap();
            let patients = |records: &[Record]| -> BTreeSet<String> {
                records.iter().map(|record| record.patient.clone()).collect()
            };
            assert!(patients(&roles.test).is_disjoint(&patients(&roles.training.strong)));
            assert!(roles.training.validation.is_empty());
            judged.extend(roles.test.iter().map(|record| record.id.clone()));
        }
        judged.sort();
        judged.dedup();
        assert_eq!(judged.len(), 52);
    }

    #[test]
    fn too_large_budgets_and_too_many_folds_are_explained() {
        assert!(matches!(
            StudyRoles::of_splits(&index(), 41, 1),
            Err(PipelineError::Budget { found: 40, .. })
        ));
        assert!(matches!(
            StudyRoles::of_fold(&index(), (0, 27), 1, 17, 1),
            Err(PipelineError::Folds { patients: 26, .. })
        ));
    }

    #[test]
    fn folds_hold_nearly_as_many_images_each() {
        let names: Vec<String> = (0..45).map(|i| format!("p{i}")).collect();
        // As in the data at hand: most patients have one image, a few have many.
        let images = |i: usize| match i {
            0 => 8,
            1..5 => 3,
            5..11 => 2,
            _ => 1,
        };
        for seed in 0..20 {
            let counts = names.iter().enumerate().map(|(i, name)| (name.as_str(), images(i))).collect();
            let sizes: Vec<usize> = deal(counts, 5, seed)
                .iter()
                .map(|fold| fold.iter().map(|name| images(name[1..].parse().unwrap())).sum())
                .collect();
            assert!(sizes.iter().max().unwrap() - sizes.iter().min().unwrap() <= 1, "{sizes:?}");
        }
    }
}
