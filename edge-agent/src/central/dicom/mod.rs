//! What central makes of a result for a PACS: a DICOM Segmentation ([`segmentation`]) and a Secondary Capture
//! picture of the masks ([`capture`]).
//!
//! No patient data crosses the wire, so patient and study attributes of type 2 are empty; a PACS files both objects by
//! Study Instance UID. UIDs follow from the result id, so that the same result gives the same objects for ever, byte
//! for byte, and sending them again is harmless.

mod attributes;
mod capture;
mod category;
mod palette;
mod segmentation;
#[cfg(test)]
mod tests;

use dicom_dictionary_std::uids;
use dicom_object::{FileMetaTableBuilder, InMemDicomObject};
use shared::mask::RleError;
use shared::message::ResultEnvelope;
use shared::uid::Uid;
use uuid::Uuid;

pub use capture::{capture, draw};
pub use palette::color;
pub use segmentation::segmentation;

/// Most pixels of a source image for which objects are made: memory for its masks is taken from there on.
const MAX_PIXELS: usize = 1 << 26;

/// Name space of UIDs: UUIDv5 of the URL `https://chexseg.example/dicom` in the URL name space.
const NAMESPACE: Uuid = Uuid::from_u128(0x619944a3_479e_5093_b467_6a1177772024);

/// Why there is nothing for a PACS.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// The image is a picture, or its file lacks what an object must refer to.
    #[error("the image has no {0}, so a PACS could not find it")]
    NoReference(&'static str),
    /// The device does not say what kind of image it is.
    #[error("the result does not tell the image's SOP Class: update the agent of the device")]
    NoSopClass,
    /// Nothing was sought in the image.
    #[error("the result has no findings")]
    NoFindings,
    /// Beyond what DICOM or this program can hold.
    #[error("an image of {rows} × {cols} pixels is too large for an object")]
    TooLarge {
        /// Rows.
        rows: usize,
        /// Columns.
        cols: usize,
    },
    /// A mask is damaged.
    #[error("a mask of the result cannot be read: {0}")]
    Mask(#[from] RleError),
    /// It cannot be encoded.
    #[error("the object cannot be written: {0}")]
    Write(String),
}

/// The image that objects refer to.
struct Source<'a> {
    study: &'a Uid,
    series: &'a Uid,
    instance: &'a Uid,
    class: &'a Uid,
    rows: u16,
    cols: u16,
}

impl<'a> Source<'a> {
    fn of(envelope: &'a ResultEnvelope) -> Result<Self, ObjectError> {
        let image = &envelope.image;
        let study = image.study_instance_uid.as_ref();
        let series = image.series_instance_uid.as_ref();
        let (rows, cols) = (image.rows, image.cols);
        let too_large = || ObjectError::TooLarge { rows, cols };
        if envelope.findings.is_empty() {
            return Err(ObjectError::NoFindings);
        }
        if rows.saturating_mul(cols) > MAX_PIXELS {
            return Err(too_large());
        }
        Ok(Self {
            study: study.ok_or(ObjectError::NoReference("Study Instance UID"))?,
            series: series.ok_or(ObjectError::NoReference("Series Instance UID"))?,
            instance: &image.sop_instance_uid,
            class: image.sop_class_uid.as_ref().ok_or(ObjectError::NoSopClass)?,
            rows: u16::try_from(rows).map_err(|_| too_large())?,
            cols: u16::try_from(cols).map_err(|_| too_large())?,
        })
    }
}

/// A UID under 2.25 (PS3.5 B.2) that follows from a result and what it is for.
fn derived_uid(envelope: &ResultEnvelope, purpose: &str) -> String {
    let name = format!("{}|{purpose}", envelope.result_id);
    format!("2.25.{}", Uuid::new_v5(&NAMESPACE, name.as_bytes()).as_u128())
}

/// An object as a file with preamble and file meta information, explicit VR little endian.
///
/// # Errors
/// [`ObjectError::Write`]; none in practice: the objects of this module are complete.
pub fn file(object: InMemDicomObject) -> Result<Vec<u8>, ObjectError> {
    let meta = FileMetaTableBuilder::new().transfer_syntax(uids::EXPLICIT_VR_LITTLE_ENDIAN);
    let object = object.with_meta(meta).map_err(|e| ObjectError::Write(e.to_string()))?;
    let mut bytes = Vec::new();
    object.write_all(&mut bytes).map_err(|e| ObjectError::Write(e.to_string()))?;
    Ok(bytes)
}
