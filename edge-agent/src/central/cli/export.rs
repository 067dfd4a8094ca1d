use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use image::{DynamicImage, ImageFormat};

use super::CentralError;
use crate::central::database::ResultRecord;
use crate::central::dicom::{ObjectError, capture, draw, file, segmentation};
use crate::decode::{DecodeLimits, decode_file};

/// Writes `result.json`, `overlay.png`, one `mask-N-LABEL.png` a finding in source pixels, and what a PACS would get,
/// `segmentation.dcm` and `capture.dcm`, where the image can be referred to.
pub(super) fn export(
    record: &ResultRecord,
    out: &Path,
    radiograph: Option<&Path>,
) -> Result<Vec<PathBuf>, CentralError> {
    let envelope = &record.envelope;
    let failed = |reason: String| CentralError::Export { id: envelope.result_id, reason };
    let frame = match radiograph {
        Some(path) => {
            let decoded = decode_file(path, &DecodeLimits::default())?;
            if decoded.image.sop_instance_uid != envelope.image.sop_instance_uid {
                return Err(CentralError::OtherImage);
            }
            Some(decoded.frame)
        }
        None => None,
    };
    fs::create_dir_all(out).map_err(|source| CentralError::Write { path: out.to_owned(), source })?;
    let mut written = Vec::new();
    let mut write = |name: &str, bytes: &[u8]| {
        let path = out.join(name);
        fs::write(&path, bytes).map_err(|source| CentralError::Write { path: path.clone(), source })?;
        written.push(path);
        Ok::<_, CentralError>(())
    };
    write("result.json", record.json.as_bytes())?;
    let overlay = draw(envelope, frame.as_ref()).map_err(|e| failed(e.to_string()))?;
    write("overlay.png", &png(&overlay.into()).map_err(|e| failed(e.to_string()))?)?;
    for (i, finding) in envelope.findings.iter().enumerate() {
        let mask = finding.mask.decode().map_err(|e| failed(e.to_string()))?;
        let mask = mask.resize_nearest(envelope.image.rows, envelope.image.cols);
        let picture = png(&mask.to_gray().into()).map_err(|e| failed(e.to_string()))?;
        write(&format!("mask-{}-{}.png", i + 1, slug(&finding.label)), &picture)?;
    }
    for (name, object) in [("segmentation.dcm", segmentation(envelope)), ("capture.dcm", capture(envelope))] {
        match object {
            Ok(object) => write(name, &file(object).map_err(|e| failed(e.to_string()))?)?,
            // A picture that never was DICOM has no such objects.
            Err(
                error @ (ObjectError::NoReference(_) | ObjectError::NoSopClass | ObjectError::NoFindings),
            ) => {
                eprintln!("no {name}: {error}");
            }
            Err(error) => return Err(failed(error.to_string())),
        }
    }
    Ok(written)
}

/// A label comes over the wire: only what is harmless in a file name stays.
fn slug(label: &str) -> String {
    let harmless = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
    label.chars().take(64).map(harmless).collect()
}

fn png(picture: &DynamicImage) -> image::ImageResult<Vec<u8>> {
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, ImageFormat::Png)?;
    Ok(bytes.into_inner())
}
