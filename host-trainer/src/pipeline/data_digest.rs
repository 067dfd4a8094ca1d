use shared::bundle::sha256_hex;

use crate::dataset::{Index, MaskSource, Record};

/// SHA-256 over what the images are and say: ids, patients, splits, labels, masks, and the sizes of all files. Contents
/// of pictures are not read: on data sets of many gigabytes that would take longer than the training. A picture that is
/// replaced by another one of the very same length goes unseen.
pub fn data_digest(index: &Index) -> String {
    let lines: String = index.records.iter().map(|record| describe(record) + "\n").collect();
    sha256_hex(lines.as_bytes())
}

fn describe(record: &Record) -> String {
    let size = |path: &std::path::Path| std::fs::metadata(path).map_or(0, |meta| meta.len());
    let masks: Vec<String> = record
        .masks
        .iter()
        .map(|(label, source)| match source {
            MaskSource::Files(files) => {
                let sizes: Vec<String> = files.iter().map(|file| size(file).to_string()).collect();
                format!("{label}={}", sizes.join("+"))
            }
            MaskSource::Codes(codes) => {
                let codes: Vec<String> =
                    codes.iter().map(|code| format!("{:?}{}", code.size, code.counts)).collect();
                format!("{label}={}", codes.join("+"))
            }
        })
        .collect();
    let findings: Vec<String> =
        record.findings.iter().map(|(label, value)| format!("{label}={value:?}")).collect();
    let image = size(&record.image);
    [
        &record.id,
        &record.patient,
        record.split.name(),
        &image.to_string(),
        &masks.join(";"),
        &findings.join(";"),
    ]
    .join("|")
}
