use std::fs;
use std::path::{Path, PathBuf};

use shared::mask::Mask;
use shared::message::ResultEnvelope;

use super::{Agent, ExamineError};
use crate::dataset::Annotated;
use crate::evaluate::{ImageCounts, Judge};

/// A radiograph as the agent was shown it, and what it made of it.
#[derive(Clone, Debug)]
pub(super) struct Shown {
    pub(super) image: Annotated,
    /// None: the agent refused it.
    pub(super) result: Option<ResultEnvelope>,
}

impl Shown {
    /// Shows radiographs to the agent through files in a folder of their own, which is emptied again.
    pub(super) fn all(
        agent: &Agent,
        bundle: &Path,
        images: Vec<Annotated>,
        scratch: &Path,
    ) -> Result<Vec<Self>, ExamineError> {
        let io = |path: &Path| {
            let path = path.to_owned();
            move |source| ExamineError::Io { path, source }
        };
        fs::create_dir_all(scratch).map_err(io(scratch))?;
        let files: Vec<PathBuf> = (0..images.len()).map(|i| scratch.join(format!("{i:05}.png"))).collect();
        for (image, path) in images.iter().zip(&files) {
            let picture = image.frame.to_image16();
            picture.save(path).map_err(|source| ExamineError::Picture { path: path.clone(), source })?;
        }
        let mut results = agent.infer(bundle, &files)?;
        fs::remove_dir_all(scratch).map_err(io(scratch))?;
        let pairs = images.into_iter().zip(&files);
        Ok(pairs.map(|(image, path)| Self { image, result: results.remove(path) }).collect())
    }

    /// The found masks of these classes at the image's resolution; empty ones where the agent refused the image.
    pub(super) fn masks(&self, labels: &[String]) -> Result<Vec<Mask>, ExamineError> {
        let (rows, cols) = (self.image.frame.rows(), self.image.frame.cols());
        let mask = |label: &String| {
            let mut findings = self.result.iter().flat_map(|result| &result.findings);
            let Some(finding) = findings.find(|finding| finding.label == *label) else {
                return Ok(Mask::empty(rows, cols));
            };
            let broken = |source| ExamineError::Mask { id: self.image.id.clone(), source };
            Ok(finding.mask.decode().map_err(broken)?.resize_nearest(rows, cols))
        };
        labels.iter().map(mask).collect()
    }

    /// Its pixels against the experts'.
    pub(super) fn counts(&self, judge: &Judge, labels: &[String]) -> Result<ImageCounts, ExamineError> {
        Ok(judge.judge(&self.image, &self.masks(labels)?)?)
    }

    /// The codes of the agent's remarks.
    pub(super) fn remarks(&self) -> impl Iterator<Item = &str> {
        self.result.iter().flat_map(|result| &result.quality).map(|note| note.code.as_str())
    }

    /// The cardiothoracic ratio that the agent measured.
    pub(super) fn ratio(&self) -> Option<f64> {
        Some(self.result.as_ref()?.measurements.cardiothoracic_ratio.as_ref()?.ratio)
    }
}
