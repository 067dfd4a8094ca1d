use std::path::PathBuf;

use super::record::Split;

/// Why a data set cannot be used. Each message names the file and what would mend it.
#[derive(Debug, thiserror::Error)]
pub enum DatasetError {
    /// No data folder.
    #[error(
        "no data folder: set CHEXSEG_DATA to the folder that holds the data sets (looked for shared/data beside {start} and its parents)"
    )]
    NoRoot {
        /// Where the search began.
        start: PathBuf,
    },
    /// `CHEXSEG_DATA` names no folder.
    #[error(
        "CHEXSEG_DATA is {0}, which is no folder: set it to the one that holds the data sets, or unset it"
    )]
    RootAbsent(PathBuf),
    /// The table of labels cannot be read.
    #[error("failed to read {path}: {source}")]
    Labels {
        /// The CSV file.
        path: PathBuf,
        /// What the reader said.
        source: csv::Error,
    },
    /// A template names a column that the table does not have.
    #[error("{path}: no column \"{column}\" for the template \"{template}\" (columns: {columns})")]
    NoColumn {
        /// The CSV file.
        path: PathBuf,
        /// Column asked for.
        column: String,
        /// The template that asks for it.
        template: String,
        /// Columns there are.
        columns: String,
    },
    /// A template is not well formed.
    #[error("template \"{template}\": {reason}")]
    Template {
        /// The template.
        template: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// A path from the table would leave the data folder.
    #[error(
        "{path} line {line}: \"{value}\" leaves the data folder; use plain names without .. or a leading /"
    )]
    Escapes {
        /// The CSV file.
        path: PathBuf,
        /// Line in it.
        line: u64,
        /// The offending path.
        value: String,
    },
    /// A split that nobody knows.
    #[error(
        "{path} line {line}: unknown split \"{value}\" (one of weak, strong_train, strong_val, strong_test)"
    )]
    UnknownSplit {
        /// The CSV file.
        path: PathBuf,
        /// Line in it.
        line: u64,
        /// What stands there.
        value: String,
    },
    /// A patient's images in two splits: what is learnt from one leaks into the figures of the other.
    #[error(
        "{path}: patient {patient} stands in {first} and in {second}; move all images of a patient into one split"
    )]
    PatientInTwoSplits {
        /// The CSV file.
        path: PathBuf,
        /// Pseudonym of the patient.
        patient: String,
        /// One split.
        first: Split,
        /// The other.
        second: Split,
    },
    /// The same image twice.
    #[error("{path} line {line}: image {id} was listed before; remove one of the lines")]
    Duplicate {
        /// The CSV file.
        path: PathBuf,
        /// Line in it.
        line: u64,
        /// Image.
        id: String,
    },
    /// An image or a mask that the table promises.
    #[error(
        "{path} does not exist ({labels} line {line}); add the file, mend the template or remove the line"
    )]
    MissingFile {
        /// The file.
        path: PathBuf,
        /// The CSV file.
        labels: PathBuf,
        /// Line in it.
        line: u64,
    },
    /// A picture cannot be decoded.
    #[error("failed to read {path}: {source}; replace the file or remove its line from the labels")]
    Picture {
        /// The file.
        path: PathBuf,
        /// What the decoder said.
        source: shared::pixel::FrameError,
    },
    /// A mask of another size than its image.
    #[error(
        "{path} has {rows} × {cols} pixels, its image {image_rows} × {image_cols}; masks are drawn on the image's own pixels"
    )]
    MaskSize {
        /// The mask.
        path: PathBuf,
        /// Its rows.
        rows: usize,
        /// Its columns.
        cols: usize,
        /// Rows of the image.
        image_rows: usize,
        /// Columns of the image.
        image_cols: usize,
    },
    /// A run-length code that is no mask.
    #[error("image {id}, class {label}: {source}; import the data set anew")]
    Code {
        /// The image.
        id: String,
        /// The class.
        label: String,
        /// What is wrong.
        source: shared::mask::RleError,
    },
    /// A class that is mapped to nothing.
    #[error("data.{dataset}.classes.{label} is empty; name at least one mask or remove the line")]
    EmptyMapping {
        /// Data set.
        dataset: String,
        /// Class.
        label: String,
    },
    /// A finding that cannot be learnt.
    #[error(
        "no image to learn from has the finding {finding} {what}: a classifier needs both; see [data.*.findings]"
    )]
    OneSided {
        /// The finding.
        finding: String,
        /// Which label is missing.
        what: &'static str,
    },
    /// A plan without images.
    #[error("nothing to draw from: {0}")]
    NothingToDraw(&'static str),
    /// The phantom refused its parameters.
    #[error("phantom {seed}: {source}")]
    Phantom {
        /// Seed of the phantom.
        seed: u64,
        /// What it said.
        source: shared::phantom::PhantomError,
    },
    /// A file cannot be written.
    #[error("failed to write {path}: {source}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The worker that prepares batches ended early.
    #[error("the thread that prepares batches ended early; see its panic above")]
    Worker,
}
