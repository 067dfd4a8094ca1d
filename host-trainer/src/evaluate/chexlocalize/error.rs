use std::path::PathBuf;

use shared::mask::RleError;

/// Why files of CheXlocalize's form cannot be scored.
#[derive(Debug, thiserror::Error)]
pub enum ChexlocalizeError {
    /// A file that cannot be read.
    #[error("failed to read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Not JSON, or not an object of objects.
    #[error("{path}: {source}; expected JSON of the form {{\"image id\": {{\"pathology\": …}}}}")]
    Json {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        source: serde_json::Error,
    },
    /// A file without images.
    #[error("{path} holds no image; is it the right file?")]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// Contours instead of masks.
    #[error(
        "{path}, image {image}: polygons (img_size), not masks; turn the file into run-length codes first, as CheXlocalize's annotation_to_segmentation.py does"
    )]
    Polygons {
        /// The file.
        path: PathBuf,
        /// The image.
        image: String,
    },
    /// Something that is not of the form.
    #[error("{path}, image {image}, {pathology}: {reason}; expected {expected}")]
    Form {
        /// The file.
        path: PathBuf,
        /// The image.
        image: String,
        /// The pathology.
        pathology: String,
        /// What is wrong.
        reason: String,
        /// What should stand there.
        expected: &'static str,
    },
    /// A run-length code that is no mask.
    #[error("{path}, image {image}, {pathology}: {source}; encode the mask anew with pycocotools")]
    Code {
        /// The file.
        path: PathBuf,
        /// The image.
        image: String,
        /// The pathology.
        pathology: String,
        /// What is wrong.
        source: RleError,
    },
    /// Two masks of different size.
    #[error(
        "image {image}, {pathology}: predicted mask of {predicted:?} (rows, columns), ground truth of {truth:?}; write predictions at the size of the ground truth"
    )]
    Size {
        /// The image.
        image: String,
        /// The pathology.
        pathology: String,
        /// Rows and columns of the ground truth.
        truth: [usize; 2],
        /// Rows and columns of the prediction.
        predicted: [usize; 2],
    },
    /// A pathology that the ground truth has nowhere.
    #[error(
        "{path}, image {image}: unknown pathology \"{pathology}\"; the ground truth has {known}: rename it or take it out"
    )]
    UnknownPathology {
        /// The file.
        path: PathBuf,
        /// The image.
        image: String,
        /// The pathology.
        pathology: String,
        /// Pathologies of the ground truth.
        known: String,
    },
    /// Files that have nothing to do with each other.
    #[error("no image of {found} is in {truth}: the first ids are {found_id} and {truth_id}")]
    NoCommonImage {
        /// The ground truth.
        truth: PathBuf,
        /// The other file.
        found: PathBuf,
        /// First id of the ground truth.
        truth_id: String,
        /// First id of the other file.
        found_id: String,
    },
    /// A point that is not on the image.
    #[error(
        "{path}, image {image}, {pathology}: the point ({x}, {y}) lies outside the {rows} × {cols} pixels of the ground truth; points are [x, y] from the top left"
    )]
    Outside {
        /// The file.
        path: PathBuf,
        /// The image.
        image: String,
        /// The pathology.
        pathology: String,
        /// Column.
        x: f64,
        /// Row.
        y: f64,
        /// Rows of the ground truth.
        rows: usize,
        /// Columns of the ground truth.
        cols: usize,
    },
}
