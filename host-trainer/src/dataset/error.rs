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
    /// A template or a finding names a column that the table does not have.
    #[error("{path}: no column \"{column}\" for {wanted_by} (columns: {columns})")]
    NoColumn {
        /// The CSV file.
        path: PathBuf,
        /// Column asked for.
        column: String,
        /// What asks for it.
        wanted_by: String,
        /// Columns there are.
        columns: String,
    },
    /// More than the machine can hold.
    #[error(
        "{what} take {needed} MiB of memory, and {free} MiB are free; lower preprocess.input_size, learn from fewer images, or close other programs"
    )]
    Memory {
        /// What would be held.
        what: String,
        /// What it takes, MiB.
        needed: u64,
        /// What there is, MiB.
        free: u64,
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
    #[error("{place}: \"{value}\" leaves the data folder; use plain names without .. or a leading /")]
    Escapes {
        /// File and line, or entry.
        place: String,
        /// The offending path.
        value: String,
    },
    /// A split that nobody knows.
    #[error("{place}: unknown split \"{value}\" (one of weak, strong_train, strong_val, strong_test)")]
    UnknownSplit {
        /// File and line, or entry.
        place: String,
        /// What stands there.
        value: String,
    },
    /// A patient's images in two splits: what is learnt from one leaks into the figures of the other.
    #[error(
        "patient {patient} stands in {first} ({first_id}) and in {second} ({second_id}); move all images of a patient \
         into one split, or leave the patient out with exclude_patients"
    )]
    PatientInTwoSplits {
        /// Pseudonym of the patient.
        patient: String,
        /// One split.
        first: Split,
        /// An image in it.
        first_id: String,
        /// The other.
        second: Split,
        /// An image in it.
        second_id: String,
    },
    /// The same image twice.
    #[error("image {id} was listed before; remove one of the lines")]
    Duplicate {
        /// Image.
        id: String,
    },
    /// An image or a mask that the table promises.
    #[error("{path} does not exist ({place}); add the file, mend the template or remove the line")]
    MissingFile {
        /// The file.
        path: PathBuf,
        /// File and line, or entry.
        place: String,
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
    /// A class or finding of the file that it does not have.
    #[error("{path}: no {what} \"{name}\" for \"{label}\" (there are: {known})")]
    UnknownName {
        /// The file.
        path: PathBuf,
        /// What the file calls such a thing: pathology, category.
        what: &'static str,
        /// Name asked for.
        name: String,
        /// Our label that asks for it.
        label: String,
        /// Names there are.
        known: String,
    },
    /// A class whose mask files are all missing.
    #[error(
        "{dataset}: not one mask file of the class \"{label}\" exists ({template} with {names} for {{class}}); mend the \
         template or the names, or remove the class"
    )]
    NoMasks {
        /// Data set.
        dataset: String,
        /// Our label.
        label: String,
        /// The template of masks.
        template: String,
        /// The data set's names of the masks.
        names: String,
    },
    /// A column without a value that its finding knows.
    #[error(
        "{path}: the finding \"{label}\" knows no value of the column \"{column}\" (such as {seen}); list them under \
         present, absent or uncertain, or remove the finding"
    )]
    NoFindings {
        /// The CSV file.
        path: PathBuf,
        /// The column.
        column: String,
        /// Our label.
        label: String,
        /// The first values that are there.
        seen: String,
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
    /// A file that should be JSON of a certain form.
    #[error("failed to read {path}: {source}")]
    Json {
        /// The file.
        path: PathBuf,
        /// What is wrong, with line and column.
        source: serde_json::Error,
    },
    /// A file cannot be read.
    #[error("failed to read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// An entry that makes no sense.
    #[error("{place}: {reason}")]
    Entry {
        /// File and entry.
        place: String,
        /// What is wrong, and what is expected.
        reason: String,
    },
    /// An image that is not the one that was imported.
    #[error(
        "image {id}: {path} is not the file that was imported ({reason}); put it back or import the data anew"
    )]
    Changed {
        /// The image.
        id: String,
        /// The file.
        path: PathBuf,
        /// What differs.
        reason: String,
    },
    /// The folder holds an index already.
    #[error("{0} exists already; import into another folder or remove it")]
    IndexExists(PathBuf),
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
