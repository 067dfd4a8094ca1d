use std::path::{Path, PathBuf};

use shared::bundle::sha256_hex;

use crate::dataset::{DatasetError, FileDigests, Index, MaskSource, Record};

/// SHA-256 over what the images are and say: ids, sources, patients, splits, labels, attributes, and the contents of
/// all pictures and masks. What was read is remembered in `folder`, if that is there.
///
/// # Errors
/// A file that cannot be read.
pub fn data_digest(index: &Index, folder: &Path) -> Result<String, DatasetError> {
    let files: Vec<Vec<PathBuf>> = index.records.iter().map(files).collect();
    let mut digests = FileDigests::of_folder(folder);
    let mut contents = digests.of(&files.concat())?.into_iter();
    digests.save();
    let mut lines = String::new();
    for (record, files) in index.records.iter().zip(&files) {
        let own: Vec<String> = contents.by_ref().take(files.len()).collect();
        lines += &describe(record, &own);
        lines.push('\n');
    }
    Ok(sha256_hex(lines.as_bytes()))
}

/// The image and the pictures of its masks.
fn files(record: &Record) -> Vec<PathBuf> {
    let masks = record.masks.values().flat_map(|source| match source {
        MaskSource::Files(files) => files.iter().chain(&[]),
        MaskSource::Cut { of, without } => of.iter().chain(without),
        MaskSource::Codes(_) => [].iter().chain(&[]),
    });
    std::iter::once(&record.image).chain(masks).cloned().collect()
}

fn describe(record: &Record, contents: &[String]) -> String {
    // Where each class's pictures end is told, so that none can pass for another's.
    let masks: Vec<String> = record
        .masks
        .iter()
        .map(|(label, source)| match source {
            MaskSource::Files(files) => format!("{label}={}", files.len()),
            MaskSource::Cut { of, without } => format!("{label}={}-{}", of.len(), without.len()),
            MaskSource::Codes(codes) => {
                let codes: Vec<String> =
                    codes.iter().map(|code| format!("{:?}{}", code.size, code.counts)).collect();
                format!("{label}={}", codes.join("+"))
            }
        })
        .collect();
    let text = serde_json::json!([
        record.id,
        record.source,
        record.patient,
        record.split.name(),
        masks,
        record.findings.iter().map(|(label, value)| format!("{label}={value:?}")).collect::<Vec<_>>(),
        record.attributes,
        contents,
    ]);
    text.to_string()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;

    use super::*;
    use crate::dataset::Split;

    #[test]
    fn every_file_and_every_word_counts() {
        let dir = tempfile::tempdir().unwrap();
        let (image, mask) = (dir.path().join("a.png"), dir.path().join("m.png"));
        fs::write(&image, b"image").unwrap();
        fs::write(&mask, b"mask").unwrap();
        let record = Record {
            id: "a".into(),
            dataset: "d".into(),
            source: "s".into(),
            patient: "p".into(),
            split: Split::StrongTrain,
            image: image.clone(),
            masks: BTreeMap::from([("heart".into(), MaskSource::Files(vec![mask.clone()]))]),
            findings: BTreeMap::new(),
            attributes: BTreeMap::new(),
        };
        let digest = |record: &Record| {
            let index = Index { records: vec![record.clone()], ..Index::default() };
            data_digest(&index, &dir.path().join("none")).unwrap()
        };
        let first = digest(&record);
        assert_eq!(first, digest(&record));
        let lungs = BTreeMap::from([("lungs".into(), MaskSource::Files(vec![mask.clone()]))]);
        let none = BTreeMap::from([("heart".into(), MaskSource::Files(Vec::new()))]);
        for other in [
            Record { source: "t".into(), ..record.clone() },
            Record { attributes: BTreeMap::from([("view".into(), "AP".into())]), ..record.clone() },
            Record { masks: lungs, ..record.clone() },
            Record { masks: none, ..record.clone() },
        ] {
            assert_ne!(first, digest(&other), "{other:?}");
        }
        // Of the same length.
        fs::write(&mask, b"MASK").unwrap();
        assert_ne!(first, digest(&record));
    }
}
