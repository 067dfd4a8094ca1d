use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::super::source::Imported;
use super::super::source::place::{existing, inside};
use super::super::{DatasetError, MaskSource, Promised, Record};
use super::{FORMAT, Header, INDEX_FILE, Line, VERSION};

/// A folder that `host-trainer import` wrote.
///
/// ```toml
/// [data.all]
/// format = "index"
/// path = "/data/imported"
/// ```
///
/// Images keep the data set, source and patient that they were imported under.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IndexSpec {
    /// Folder, relative to the data root or absolute.
    pub path: PathBuf,
}

impl IndexSpec {
    /// Reads and checks the index and looks whether every image is there. Pictures are not opened yet.
    pub fn import(&self, root: &Path) -> Result<Imported, DatasetError> {
        let folder = root.join(&self.path);
        let path = folder.join(INDEX_FILE);
        let unread = |source| DatasetError::Read { path: path.clone(), source };
        let mut lines = BufReader::new(File::open(&path).map_err(unread)?).lines();
        let place = |line: usize| format!("{} line {line}", path.display());
        let header = lines.next().transpose().map_err(unread)?.unwrap_or_default();
        let header = check_header(&header, &place(1))?;
        let mut imported = Imported::default();
        imported.index.terms = header.terms;
        for (at, line) in lines.enumerate() {
            match record(&folder, &line.map_err(unread)?, &place(at + 2)) {
                Ok((record, promised)) => {
                    imported.index.promised.insert(record.image.clone(), promised);
                    imported.index.records.push(record);
                }
                Err(error) => imported.problems.push(error.into()),
            }
        }
        Ok(imported)
    }
}

fn parse<T: DeserializeOwned>(text: &str, place: &str) -> Result<T, DatasetError> {
    let entry =
        |error: serde_json::Error| DatasetError::Entry { place: place.to_owned(), reason: error.to_string() };
    serde_json::from_str(text).map_err(entry)
}

/// Format and version come before anything else that a newer header may say.
fn check_header(text: &str, place: &str) -> Result<Header, DatasetError> {
    #[derive(Deserialize)]
    struct Version {
        format: String,
        version: u32,
    }
    let Version { format, version } = parse(text, place)?;
    if format != FORMAT || version != VERSION {
        let reason = format!(
            "this is {format} version {version}, and this program reads {FORMAT} version {VERSION}; import the \
             data anew"
        );
        return Err(DatasetError::Entry { place: place.to_owned(), reason });
    }
    parse(text, place)
}

fn record(folder: &Path, text: &str, place: &str) -> Result<(Record, Promised), DatasetError> {
    let line: Line = parse(text, place)?;
    let bad = |reason: String| DatasetError::Entry { place: place.to_owned(), reason };
    for (label, code) in
        line.masks.iter().flat_map(|(label, codes)| codes.iter().map(move |code| (label, code)))
    {
        if code.size != [line.rows, line.cols] {
            let [rows, cols] = code.size;
            let (image_rows, image_cols) = (line.rows, line.cols);
            return Err(bad(format!(
                "the {label} mask of {} has {rows} × {cols} pixels, its image {image_rows} × {image_cols}",
                line.id
            )));
        }
        code.area().map_err(|error| bad(format!("the {label} mask of {}: {error}", line.id)))?;
    }
    // An import writes the image under its id: the id must not lead elsewhere either.
    inside(folder, &line.id, place)?;
    if line.patient.is_empty() {
        return Err(bad(format!("{} has no patient; import the data anew", line.id)));
    }
    let promised = Promised { sha256: line.sha256, rows: line.rows, cols: line.cols };
    let record = Record {
        image: existing(folder, &line.image, place)?,
        id: line.id,
        dataset: line.dataset,
        source: line.source,
        patient: line.patient,
        split: line.split,
        masks: line.masks.into_iter().map(|(label, codes)| (label, MaskSource::Codes(codes))).collect(),
        findings: line.findings,
        attributes: line.attributes,
    };
    Ok((record, promised))
}
