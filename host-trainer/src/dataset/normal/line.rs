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
pub(in super::super) struct Line {
    pub(in super::super) id: String,
    pub(in super::super) dataset: String,
    pub(in super::super) source: String,
    pub(in super::super) patient: String,
    pub(in super::super) split: Split,
    /// Below the folder.
    pub(in super::super) image: String,
    pub(in super::super) rows: usize,
    pub(in super::super) cols: usize,
    /// Of the image file.
    pub(in super::super) sha256: String,
    /// Annotated classes; no code: absent.
    pub(in super::super) masks: BTreeMap<String, Vec<Rle>>,
    pub(in super::super) findings: BTreeMap<String, Finding>,
    pub(in super::super) attributes: BTreeMap<String, String>,
}
