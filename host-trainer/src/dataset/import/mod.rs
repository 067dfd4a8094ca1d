//! `import`: data sets of any format to one normal form, with every picture opened.
//!
//! ```text
//! specifications ─► Index ─► examine (pixels, masks, digests) ─► compare (duplicates) ─► images + index.jsonl
//!                     └────────────── problems ──────────────────────┘
//! ```
//!
//! All that is wrong is listed. A hard problem keeps the index from being written, unless broken images are to
//! be skipped.

mod compare;
mod examine;
mod place;
mod summary;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

pub use summary::{Summary, SummaryRow};

use super::normal::{INDEX_FILE, write_index};
use super::sample::in_parallel;
use super::{DataSpec, DatasetError, Imported, Problem, Record, import_all};
use examine::{Examined, examine};
use place::{place, sync_folders};

/// How to import.
#[derive(Clone, Debug)]
pub struct ImportOptions<'a> {
    /// Folder to write; it must not hold an index yet.
    pub out: &'a Path,
    /// Shrink images whose longer side exceeds this, masks with them.
    pub max_side: Option<usize>,
    /// Leave out what is broken instead of refusing all.
    pub skip_broken: bool,
    /// Terms of use by data set, for the header; those of an imported index are kept where this names none.
    pub terms: &'a BTreeMap<String, String>,
}

/// How far an import is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImportStep {
    /// What is being done.
    pub what: &'static str,
    /// Images done.
    pub done: usize,
    /// Images in all.
    pub of: usize,
}

/// What an import found and did.
#[derive(Debug)]
pub struct ImportReport {
    /// What there is, image by image of the index.
    pub summary: Summary,
    /// All that is wrong or odd.
    pub problems: Vec<Problem>,
    /// Images in the written index; none if hard problems kept it from being written.
    pub written: Option<usize>,
}

/// An image with what opening it told.
type Seen = (Record, Examined);

/// Imports data sets into one normal form. `step` hears of the progress, from several threads.
pub fn import<'a>(
    data: impl IntoIterator<Item = (&'a String, &'a DataSpec)>,
    root: &Path,
    options: &ImportOptions<'_>,
    step: &(dyn Fn(ImportStep) + Sync),
) -> Result<ImportReport, DatasetError> {
    let index = options.out.join(INDEX_FILE);
    if index.exists() {
        return Err(DatasetError::IndexExists(index));
    }
    let Imported { index, mut problems } = import_all(data, root)?;
    let count = Counter { what: "checked", done: AtomicUsize::new(0), of: index.records.len(), step };
    let results = in_parallel(index.records.len(), |i| {
        let record = &index.records[i];
        let result = examine(record, index.promised.get(&record.image));
        count.tick();
        Ok(result)
    })?;
    let mut seen: Vec<Seen> = Vec::new();
    for (record, result) in index.records.into_iter().zip(results) {
        match result {
            Ok(examined) => seen.push((record, examined)),
            Err(error) => problems.push(error.into()),
        }
    }
    problems.extend(compare::duplicates(&seen)?);
    problems.extend(summary::oddities(&seen));
    let leaks: BTreeSet<String> = problems.iter().filter_map(leaking).collect();
    seen.retain(|(record, _)| !leaks.contains(&record.id));
    let summary = Summary::of(&seen);
    let refused = !options.skip_broken && problems.iter().any(Problem::is_hard);
    if refused {
        return Ok(ImportReport { summary, problems, written: None });
    }
    let count = Counter { what: "written", done: AtomicUsize::new(0), of: seen.len(), step };
    let lines = in_parallel(seen.len(), |i| {
        let line = place(&seen[i].0, &seen[i].1, options)?;
        count.tick();
        Ok(line)
    })?;
    // The index says that the folder is whole: all it names is on the disk before it.
    sync_folders(options.out, &lines)?;
    // What the configuration says of a data set goes before what an index has carried along.
    let mut terms = index.terms;
    terms.extend(options.terms.clone());
    write_index(options.out, &lines, &terms)?;
    Ok(ImportReport { summary, problems, written: Some(lines.len()) })
}

/// The image that a leak costs.
fn leaking(problem: &Problem) -> Option<String> {
    match problem {
        Problem::Leak { second, .. } => Some(second.clone()),
        _ => None,
    }
}

struct Counter<'a> {
    what: &'static str,
    done: AtomicUsize,
    of: usize,
    step: &'a (dyn Fn(ImportStep) + Sync),
}

impl Counter<'_> {
    fn tick(&self) {
        let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        (self.step)(ImportStep { what: self.what, done, of: self.of });
    }
}
