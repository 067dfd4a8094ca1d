//! A bundle on trial: the device's own program sees radiographs with experts' masks, the same ones as the field might
//! spoil them, and collections without masks. What it makes of them becomes figures, and pictures to look at.

mod agent;
mod corruption;
mod error;
mod figures;
mod page;
mod shown;

use std::path::{Path, PathBuf};

pub use agent::Agent;
pub use corruption::Corruption;
pub use error::ExamineError;
pub use figures::{Examination, RatioFigures, RemarksRow, StressRow};
pub use page::{figures_markdown, write_page};

use shared::bundle::Bundle;
use shared::manifest::Manifest;
use shared::pixel::{ImageLimits, PixelFrame};

use crate::config::Config;
use crate::dataset::{Annotated, Index, Record, Split, load_annotated};
use crate::evaluate::Judge;
use shown::Shown;

/// What to examine, and with what.
#[derive(Debug)]
pub struct Request<'a> {
    /// The experiment.
    pub config: &'a Config,
    /// The bundle.
    pub bundle: &'a Path,
    /// The device's program.
    pub agent: &'a Agent,
    /// Radiographs; none: folders only.
    pub index: Option<&'a Index>,
    /// Name and folder of collections without masks.
    pub folders: &'a [(String, PathBuf)],
    /// The most images of a collection without masks, evenly taken.
    pub most: usize,
    /// Whether corruptions are tried.
    pub stress: bool,
    /// A folder to work in, which must not exist.
    pub scratch: &'a Path,
}

/// What came of it: figures, and what there is to look at.
#[derive(Debug)]
pub struct Examined {
    /// The figures.
    pub figures: Examination,
    manifest: Manifest,
    labels: Vec<String>,
    /// Set and images: those with experts' masks, then the folders.
    gallery: Vec<(String, Vec<Shown>)>,
}

/// Shows everything to the agent and judges its results.
///
/// # Errors
/// [`ExamineError`].
pub fn examine(request: &Request<'_>) -> Result<Examined, ExamineError> {
    let Request { config, bundle, agent, index, folders, most, stress, scratch } = *request;
    let manifest = Bundle::open(bundle)?.manifest().clone();
    let (labels, judge) = (config.labels(), Judge::new(config));
    let show = |images: Vec<Annotated>| Shown::all(agent, bundle, images, scratch);
    let model = manifest.graph.sha256.clone();
    let mut figures = Examination { model, labels: judge.labels(), ..Examination::default() };
    let mut gallery = Vec::new();

    let of = |split| index.map_or_else(Vec::new, |index| index.of(split));
    let load = |records: &[Record]| -> Result<Vec<Annotated>, ExamineError> {
        Ok(records.iter().map(|record| load_annotated(record, &labels)).collect::<Result<_, _>>()?)
    };
    let test = of(Split::StrongTest);
    if test.is_empty() && folders.is_empty() {
        return Err(ExamineError::NoImages);
    }
    if !test.is_empty() {
        tracing::info!(images = test.len(), "judging clean radiographs");
        let images = load(&test)?;
        let clean = show(images.clone())?;
        figures.clean = figures::iou(&judge, &labels, &clean)?;
        figures.ratio = RatioFigures::of(&manifest, &labels, &clean);
        figures.remarks.push(RemarksRow::of("strong_test".into(), &clean));
        gallery.push(("strong_test".to_owned(), clean));
        for corruption in Corruption::ALL.into_iter().filter(|_| stress) {
            for (strength, name) in corruption.strengths().iter().enumerate() {
                tracing::info!(corruption = corruption.name(), strength = name, "judging");
                let spoilt = images.iter().enumerate().map(|(i, image)| corruption.apply(image, strength, i));
                let shown = show(spoilt.collect())?;
                let iou = figures::iou(&judge, &labels, &shown)?;
                figures.stress.push(StressRow { corruption, strength: (*name).to_owned(), iou });
                let set = format!("strong_test, {} {name}", corruption.name());
                figures.remarks.push(RemarksRow::of(set, &shown));
            }
        }
    }
    let validation = of(Split::StrongVal);
    if !validation.is_empty() {
        tracing::info!(images = validation.len(), "judging the radiographs that thresholds were fitted on");
        let shown = show(load(&validation)?)?;
        figures.validation = figures::iou(&judge, &labels, &shown)?;
        figures.remarks.push(RemarksRow::of("strong_val".into(), &shown));
        gallery.push(("strong_val".to_owned(), shown));
    }
    for (set, records) in by_dataset(index, most) {
        tracing::info!(set, images = records.len(), "looking");
        let images: Vec<Annotated> =
            records.iter().map(|record| load_annotated(record, &[])).collect::<Result<_, _>>()?;
        figures.remarks.push(RemarksRow::of(set, &show(images)?));
    }
    for (name, folder) in folders {
        let images = thinned(pictures(folder)?, most);
        tracing::info!(set = name, images = images.len(), "looking");
        let images: Vec<Annotated> = images.iter().map(|path| unlabeled(path)).collect::<Result<_, _>>()?;
        let shown = show(images)?;
        figures.remarks.push(RemarksRow::of(name.clone(), &shown));
        gallery.push((name.clone(), shown));
    }
    Ok(Examined { figures, manifest, labels, gallery })
}

/// The weak images of each data set.
fn by_dataset(index: Option<&Index>, most: usize) -> Vec<(String, Vec<Record>)> {
    let mut sets: Vec<(String, Vec<Record>)> = Vec::new();
    for record in index.map_or_else(Vec::new, |index| index.of(Split::Weak)) {
        match sets.iter_mut().find(|(name, _)| *name == record.dataset) {
            Some((_, records)) => records.push(record),
            None => sets.push((record.dataset.clone(), vec![record])),
        }
    }
    sets.into_iter().map(|(name, records)| (name, thinned(records, most))).collect()
}

/// At most so many, evenly taken.
fn thinned<T>(items: Vec<T>, most: usize) -> Vec<T> {
    let len = items.len();
    let taken = |i: usize| i * most / len != (i + 1) * most / len;
    items.into_iter().enumerate().filter(|(i, _)| len <= most || taken(*i)).map(|(_, item)| item).collect()
}

/// The pictures of a folder, sorted.
fn pictures(folder: &Path) -> Result<Vec<PathBuf>, ExamineError> {
    let io = |source| ExamineError::Io { path: folder.to_owned(), source };
    let is_picture = |path: &PathBuf| {
        let extension = path.extension().map(|e| e.to_string_lossy().to_lowercase());
        matches!(extension.as_deref(), Some("png" | "jpg" | "jpeg"))
    };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(io)? {
        found.extend(Some(entry.map_err(io)?.path()).filter(is_picture));
    }
    found.sort();
    if found.is_empty() { Err(ExamineError::EmptyFolder { path: folder.to_owned() }) } else { Ok(found) }
}

fn unlabeled(path: &Path) -> Result<Annotated, ExamineError> {
    let file =
        std::fs::File::open(path).map_err(|source| ExamineError::Io { path: path.to_owned(), source })?;
    let frame = PixelFrame::decode(std::io::BufReader::new(file), ImageLimits::default())
        .map_err(|source| ExamineError::Frame { path: path.to_owned(), source })?;
    let id = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    Ok(Annotated { source: String::new(), patient: id.clone(), id, frame, masks: Vec::new() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thinning_takes_so_many_from_all_over() {
        assert_eq!(thinned((0..10).collect(), 20).len(), 10);
        let some: Vec<i32> = thinned((0..1000).collect(), 7);
        assert_eq!(some.len(), 7);
        assert!(some.windows(2).all(|pair| (140..146).contains(&(pair[1] - pair[0]))), "{some:?}");
        assert!(thinned(vec![1, 2, 3], 0).is_empty());
    }

    #[test]
    fn folders_without_pictures_are_named() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("notes.txt"), "x").unwrap();
        let error = pictures(dir.path()).unwrap_err().to_string();
        assert!(error.contains(&dir.path().display().to_string()), "{error}");
        std::fs::write(dir.path().join("b.PNG"), "x").unwrap();
        std::fs::write(dir.path().join("a.jpeg"), "x").unwrap();
        assert_eq!(pictures(dir.path()).unwrap().len(), 2);
    }
}
