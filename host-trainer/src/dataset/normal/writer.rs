use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use super::super::DatasetError;
use super::{FORMAT, Header, INDEX_FILE, Line, VERSION};
use crate::train::atomic;

/// Where an image lies in the normal form; a shrunk one says so, for its bytes are not those of its id.
pub(crate) fn image_path(id: &str, shrunk_to: Option<usize>) -> String {
    match shrunk_to {
        Some(side) => format!("images/{id}@{side}.png"),
        None => format!("images/{id}"),
    }
}

/// Writes header and lines, all or nothing.
pub(crate) fn write_index(
    folder: &Path,
    lines: &[Line],
    terms: &BTreeMap<String, String>,
) -> Result<(), DatasetError> {
    let names = |keys: &dyn Fn(&Line) -> Vec<String>| -> Vec<String> {
        lines.iter().flat_map(keys).collect::<BTreeSet<_>>().into_iter().collect()
    };
    let datasets: BTreeSet<&str> = lines.iter().map(|line| line.dataset.as_str()).collect();
    let header = Header {
        format: FORMAT.to_owned(),
        version: VERSION,
        classes: names(&|line| line.masks.keys().cloned().collect()),
        findings: names(&|line| line.findings.keys().cloned().collect()),
        terms: terms.iter().filter(|(name, _)| datasets.contains(name.as_str())).map(owned).collect(),
    };
    let path = folder.join(INDEX_FILE);
    let unwritten =
        |source: Box<dyn std::error::Error + Send + Sync>| DatasetError::Write { path: path.clone(), source };
    let mut bytes = serde_json::to_vec(&header).map_err(|error| unwritten(error.into()))?;
    for line in lines {
        bytes.push(b'\n');
        serde_json::to_writer(&mut bytes, line).map_err(|error| unwritten(error.into()))?;
    }
    bytes.push(b'\n');
    fs::create_dir_all(folder).map_err(|error| unwritten(error.into()))?;
    atomic::write(&path, &bytes).map_err(|error| unwritten(error.into()))
}

fn owned((name, terms): (&String, &String)) -> (String, String) {
    (name.clone(), terms.clone())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use shared::mask::{Mask, Rle};

    use super::*;
    use crate::dataset::normal::IndexSpec;
    use crate::dataset::{Finding, MaskSource, Record, Split};

    fn line(number: usize) -> impl Strategy<Value = Line> {
        let finding = prop_oneof![Just(Finding::Absent), Just(Finding::Present), Just(Finding::Uncertain)];
        let mask = (0_usize..6, 0_usize..7, any::<bool>());
        (
            "[a-z\"\\\\é]{0,8}",
            0_usize..4,
            proptest::collection::btree_map("[a-z_]{1,6}", proptest::option::of(mask), 0..4),
            proptest::collection::btree_map("[a-z_]{1,6}", finding, 0..4),
            proptest::collection::btree_map("[a-z_]{1,6}", ".{0,6}", 0..3),
        )
            .prop_map(move |(source, split, masks, findings, attributes)| {
                let code = |(r, c, above): (usize, usize, bool)| {
                    Rle::encode(&Mask::from_fn(6, 7, |y, x| (y >= r && x >= c) == above))
                };
                let id = format!("set/{number}.png");
                Line {
                    image: image_path(&id, None),
                    id,
                    dataset: "set".into(),
                    source,
                    patient: format!("set/{number}"),
                    split: Split::ALL[split],
                    rows: 6,
                    cols: 7,
                    sha256: "0".repeat(64),
                    masks: masks.into_iter().map(|(k, m)| (k, m.map(code).into_iter().collect())).collect(),
                    findings,
                    attributes,
                }
            })
    }

    fn write(dir: &Path, lines: &[Line]) -> Vec<u8> {
        fs::create_dir_all(dir.join("images/set")).unwrap();
        for line in lines {
            fs::write(dir.join(&line.image), b"").unwrap();
        }
        let terms =
            BTreeMap::from([("set".to_owned(), "CC0".to_owned()), ("other".to_owned(), "x".to_owned())]);
        write_index(dir, lines, &terms).unwrap();
        fs::read(dir.join(INDEX_FILE)).unwrap()
    }

    fn read(dir: &Path) -> Result<Vec<Record>, DatasetError> {
        let spec = IndexSpec { path: dir.to_owned() };
        spec.import(Path::new("/")).and_then(crate::dataset::Imported::into_index).map(|index| index.records)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn reading_gives_what_was_written(lines in (line(0), line(1), line(2))) {
            let dir = tempfile::tempdir().unwrap();
            let lines = [lines.0, lines.1, lines.2];
            let bytes = write(dir.path(), &lines);
            let expected: Vec<Record> = lines.iter().cloned().map(|line| Record {
                image: dir.path().join(&line.image),
                id: line.id,
                dataset: line.dataset,
                source: line.source,
                patient: line.patient,
                split: line.split,
                masks: line.masks.into_iter().map(|(label, codes)| (label, MaskSource::Codes(codes))).collect(),
                findings: line.findings,
                attributes: line.attributes,
            }).collect();
            prop_assert_eq!(read(dir.path()).unwrap(), expected);
            prop_assert_eq!(write(dir.path(), &lines), bytes);
        }
    }

    #[test]
    fn a_broken_index_is_refused_and_the_line_named() {
        let dir = tempfile::tempdir().unwrap();
        let line = Line {
            id: "set/a.png".into(),
            dataset: "set".into(),
            source: "set".into(),
            patient: "set/1".into(),
            split: Split::Weak,
            image: "images/set/a.png".into(),
            rows: 4,
            cols: 5,
            sha256: String::new(),
            masks: BTreeMap::from([("heart".into(), vec![Rle::encode(&Mask::empty(4, 5))])]),
            findings: BTreeMap::new(),
            attributes: BTreeMap::new(),
        };
        let good = String::from_utf8(write(dir.path(), &[line])).unwrap();
        assert!(
            good.starts_with(r#"{"format":"chexseg-index","version":1,"classes":["heart"],"findings":[],"#)
        );
        assert!(good.contains(r#""terms":{"set":"CC0"}"#));
        for (from, to, part) in [
            ("\"version\":1", "\"version\":2", "line 1: this is chexseg-index version 2"),
            ("chexseg-index", "other", "this is other version 1"),
            (
                "\"rows\":4",
                "\"rows\":5",
                "line 2: the heart mask of set/a.png has 4 × 5 pixels, its image 5 × 5",
            ),
            ("\"counts\":\"", "\"counts\":\"3", "line 2: the heart mask"),
            ("\"image\":\"images", "\"image\":\"..", "leaves the data folder"),
            ("images/set/a.png", "images/set/b.png", "does not exist"),
            (
                "\"id\":\"set/a.png\"",
                "\"id\":\"../../a.png\"",
                "line 2: \"../../a.png\" leaves the data folder",
            ),
            ("\"id\":\"set/a.png\"", "\"id\":\"/tmp/a.png\"", "leaves the data folder"),
            ("\"patient\":\"set/1\"", "\"patient\":\"\"", "set/a.png has no patient"),
            ("\"split\":\"weak\"", "\"split\":\"other\"", "unknown variant"),
            ("\"source\":", "\"sauce\":", "unknown field"),
        ] {
            fs::write(dir.path().join(INDEX_FILE), good.replace(from, to)).unwrap();
            let error = read(dir.path()).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
        fs::write(dir.path().join(INDEX_FILE), "").unwrap();
        assert!(read(dir.path()).unwrap_err().to_string().contains("line 1"));
    }
}
