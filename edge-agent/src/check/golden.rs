//! Golden images: the bundle's own proof that this engine on this machine gives the masks it should.

use std::fmt;
use std::path::PathBuf;

use shared::bundle::{Bundle, BundleError, GoldenCase};
use shared::mask::Mask;
use shared::postprocess::{LogitsDigest, LogitsError};

use crate::infer::{Analysis, AnalyzeError, Analyzer};

/// What a bundle's golden images gave.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GoldenReport {
    /// Images compared.
    pub cases: usize,
    /// The least share of equal pixels over images and classes.
    pub agreement: f64,
}

/// Why a bundle must not serve.
#[derive(Debug, thiserror::Error)]
pub enum GoldenError {
    /// The list of cases, or a picture that cannot be read.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// A picture that cannot be analysed.
    #[error("golden image {}: {source}", .input.display())]
    Analyze {
        /// The picture.
        input: PathBuf,
        /// The cause.
        source: AnalyzeError,
    },
    /// An expected mask that is none.
    #[error("golden image {}, class {class}: the expected mask is damaged: {reason}", .input.display())]
    Mask {
        /// The picture.
        input: PathBuf,
        /// The class.
        class: String,
        /// What is wrong with it.
        reason: String,
    },
    /// An expected mask of another size.
    #[error(
        "golden image {}, class {class}: the expected mask is {expected:?}, this program's {found:?} (rows, columns); \
         export the bundle anew",
        .input.display()
    )]
    Size {
        /// The picture.
        input: PathBuf,
        /// The class.
        class: String,
        /// Rows and columns expected.
        expected: (usize, usize),
        /// Rows and columns found.
        found: (usize, usize),
    },
    /// Other logits than expected.
    #[error(
        "golden image {}, class {class}: mean {:.3} and deviation {:.3} of the logits, expected are {:.3} and {:.3} within \
         {allowed}; this engine does not compute what the model was validated for",
        .input.display(), .found.mean, .found.deviation, .expected.mean, .expected.deviation
    )]
    Logits {
        /// The picture.
        input: PathBuf,
        /// The class.
        class: String,
        /// Expected.
        expected: LogitsDigest,
        /// Found.
        found: LogitsDigest,
        /// The most that either may be off.
        allowed: f32,
    },
    /// Logits of a wrong shape.
    #[error("golden image {}: {source}", .input.display())]
    Shape {
        /// The picture.
        input: PathBuf,
        /// What is wrong.
        source: LogitsError,
    },
    /// Another mask than expected.
    #[error(
        "golden image {}, class {class}: {:.4} of the pixels agree with the expected mask, the manifest wants {needed}; \
         this engine does not compute what the model was validated for",
        .input.display(), .agreement
    )]
    Disagreement {
        /// The picture.
        input: PathBuf,
        /// The class.
        class: String,
        /// Share of equal pixels.
        agreement: f64,
        /// Share that the manifest wants.
        needed: f64,
    },
}

/// Runs every golden image through the whole analysis and compares the masks.
///
/// # Errors
/// [`GoldenError`] names the first image and class that fail.
pub fn verify(bundle: &Bundle, analyzer: &mut Analyzer) -> Result<GoldenReport, GoldenError> {
    let needed = bundle.manifest().golden.min_agreement;
    let cases = bundle.golden()?;
    let mut least = 1.0_f64;
    for case in &cases {
        let input = || case.input.clone();
        let bytes = bundle.read(&case.input.to_string_lossy())?;
        let analysis =
            analyzer.analyze(&bytes).map_err(|source| GoldenError::Analyze { input: input(), source })?;
        for (spec, result) in analysis.classes.iter().zip(&analysis.results) {
            let class = || spec.label.clone();
            // `Bundle::golden` checked that every class is there.
            let Some(rle) = case.masks.get(&spec.label) else { continue };
            let size = (rle.size[0], rle.size[1]);
            let found = (result.mask.rows(), result.mask.cols());
            if size != found {
                return Err(GoldenError::Size { input: input(), class: class(), expected: size, found });
            }
            let damaged = |reason| GoldenError::Mask { input: input(), class: class(), reason };
            let expected = rle.decode().map_err(|e| damaged(e.to_string()))?;
            let agreement = agreement(&expected, &result.mask);
            if agreement < needed {
                return Err(GoldenError::Disagreement { input: input(), class: class(), agreement, needed });
            }
            least = least.min(agreement);
        }
        if let Some(allowed) = bundle.manifest().golden.max_logit_error {
            verify_logits(case, &analysis, allowed)?;
        }
    }
    Ok(GoldenReport { cases: cases.len(), agreement: least })
}

fn verify_logits(case: &GoldenCase, analysis: &Analysis, allowed: f32) -> Result<(), GoldenError> {
    let input = || case.input.clone();
    let logits = analysis.logits.logits().map_err(|source| GoldenError::Shape { input: input(), source })?;
    for (spec, found) in analysis.classes.iter().zip(LogitsDigest::of(&logits)) {
        let expected = case.logits.get(&spec.label).filter(|expected| expected.distance(&found) > allowed);
        if let Some(&expected) = expected {
            let class = spec.label.clone();
            return Err(GoldenError::Logits { input: input(), class, expected, found, allowed });
        }
    }
    Ok(())
}

fn agreement(a: &Mask, b: &Mask) -> f64 {
    let different = a.union(b) - a.intersection(b);
    1.0 - different as f64 / a.data().len().max(1) as f64
}

impl fmt::Display for GoldenReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.cases == 1 { "image" } else { "images" };
        write!(f, "{} {plural}, {:.2}% or more of every mask as expected", self.cases, self.agreement * 100.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Engine, EngineError, EngineOutput};
    use crate::infer::AnalyzerOptions;
    use crate::testing::{INPUT_SIZE, write_bundle};

    /// Finds everything everywhere.
    struct Eager;

    impl Engine for Eager {
        fn run(&mut self, _: &[f32]) -> Result<EngineOutput, EngineError> {
            let side = INPUT_SIZE / 4;
            Ok(EngineOutput { classes: 2, rows: side, cols: side, data: vec![9.0; 2 * side * side] })
        }

        fn describe(&self) -> String {
            "eager".into()
        }
    }

    #[test]
    fn the_right_engine_passes_and_a_wrong_one_is_caught() {
        let dir = tempfile::tempdir().unwrap();
        let bundle = write_bundle(dir.path()).unwrap();
        let mut right = Analyzer::with_tract(&bundle, 1, AnalyzerOptions::default()).unwrap();
        let report = verify(&bundle, &mut right).unwrap();
        assert!(report.cases == 1 && report.agreement > 0.97, "{report}");
        let bytes = bundle.read("golden/disc.png").unwrap();
        let analysis = right.analyze(&bytes).unwrap();
        let found = LogitsDigest::of(&analysis.logits.logits().unwrap())[0];
        let expecting = |off: f32| GoldenCase {
            input: "golden/disc.png".into(),
            masks: Default::default(),
            logits: [("bright".to_owned(), LogitsDigest { mean: found.mean + off, ..found })].into(),
        };
        verify_logits(&expecting(0.2), &analysis, 0.25).unwrap();
        let error = verify_logits(&expecting(0.3), &analysis, 0.25).unwrap_err().to_string();
        assert!(error.contains("class bright") && error.contains("within 0.25"), "{error}");
        let mut wrong = Analyzer::open(&bundle, Box::new(Eager), AnalyzerOptions::default());
        let error = verify(&bundle, &mut wrong).unwrap_err().to_string();
        assert!(error.contains("golden/disc.png, class bright"), "{error}");
    }
}
