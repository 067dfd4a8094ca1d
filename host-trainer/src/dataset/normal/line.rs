use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use shared::mask::Rle;

use super::super::{Finding, Split};

/// What the first line says of itself.
pub const FORMAT: &str = "chexseg-index";
/// Version of the form of header and lines.
pub const VERSION: u32 = 1;
/// Name of the index in its folder.
pub const INDEX_FILE: &str = "index.jsonl";

/// The first line of an index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// [`FORMAT`].
    pub format: String,
    /// [`VERSION`].
    pub version: u32,
    /// Classes that any image has masks for.
    pub classes: Vec<String>,
    /// Findings that any image has.
    pub findings: Vec<String>,
    /// Terms of use by data set, as far as the configuration named them.
    pub terms: BTreeMap<String, String>,
}

/// One image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Line {
    pub(crate) id: String,
    pub(crate) dataset: String,
    pub(crate) source: String,
    pub(crate) patient: String,
    pub(crate) split: Split,
    /// Below the folder.
    pub(crate) image: String,
    pub(crate) rows: usize,
    pub(crate) cols: usize,
    /// Of the image file.
    pub(crate) sha256: String,
    /// Annotated classes; no code: absent.
    pub(crate) masks: BTreeMap<String, Vec<Rle>>,
    pub(crate) findings: BTreeMap<String, Finding>,
    pub(crate) attributes: BTreeMap<String, String>,
}
