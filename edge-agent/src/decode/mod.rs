//! From a file to pixels: DICOM, PNG, JPEG or TIFF, told apart by content and never by name.
//!
//! Input is hostile: every size is checked against [`DecodeLimits`] before memory is taken for it, third-party
//! decoders run under `catch_unwind`, and no error holds patient data.

mod dicom;
mod error;
#[cfg(test)]
pub(crate) mod fixtures;
mod guard;
mod sniff;

use std::fs::File;
use std::io::{Cursor, Read};
use std::path::Path;

use dicom_object::InMemDicomObject;
use jiff::Timestamp;
use sha2::{Digest, Sha256};
use shared::message::SourceImage;
use shared::pixel::{ImageLimits, Photometric, PixelFrame, VoiApplied};
use shared::uid::Uid;

use self::guard::guarded;

pub use error::DecodeError;
pub use guard::silence_decoder_panics;
pub use sniff::{DicomFraming, Format};

/// Bounds on what is decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeLimits {
    /// Largest file in bytes.
    pub max_file_bytes: u64,
    /// Largest image.
    pub image: ImageLimits,
}

impl Default for DecodeLimits {
    /// 128 MiB: an uncompressed 16-bit image of the default [`ImageLimits`] takes 80 MB.
    fn default() -> Self {
        Self { max_file_bytes: 128 << 20, image: ImageLimits::default() }
    }
}

/// How much of an image is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// Every pixel.
    Full,
    /// So many pixels on the longer side, if the image has them. JPEG 2000 is decoded without the resolutions that are finer,
    /// and of each that is left out a quarter of the pixels remains; everything else is decoded fully.
    AtLeast(usize),
}

/// A radiograph and what its file says about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoded {
    /// The pixels, display-referred. Fewer than the image's rows and columns if [`Detail`] allowed that.
    pub frame: PixelFrame,
    /// Every `step`th row and column of the image is in the frame; 1: all are.
    pub step: usize,
    /// Identity and rendering, as a result names them.
    pub image: SourceImage,
    /// When the unit made the image, if the file says so.
    pub acquired_at: Option<Timestamp>,
    /// The kind of file.
    pub format: Format,
}

/// Reads and decodes a file, every pixel.
///
/// # Errors
/// [`DecodeError`]; it does not name the file: the caller knows it and may have to keep it secret.
pub fn decode_file(path: &Path, limits: &DecodeLimits) -> Result<Decoded, DecodeError> {
    decode_bytes(&read_file(path, limits)?, limits)
}

/// Reads a file of at most `limits.max_file_bytes`.
///
/// # Errors
/// [`DecodeError::Read`] or [`DecodeError::FileTooLarge`]; no more than the limit is ever read.
pub fn read_file(path: &Path, limits: &DecodeLimits) -> Result<Vec<u8>, DecodeError> {
    let mut file = File::open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(DecodeError::Read(std::io::ErrorKind::IsADirectory.into()));
    }
    let too_large = |bytes| DecodeError::FileTooLarge { bytes, limit: limits.max_file_bytes };
    if metadata.len() > limits.max_file_bytes {
        return Err(too_large(metadata.len()));
    }
    // Pipes and growing files do not keep to their metadata.
    let mut bytes = Vec::with_capacity(metadata.len() as usize + 1);
    (&mut file).take(limits.max_file_bytes + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limits.max_file_bytes {
        return Err(too_large(bytes.len() as u64));
    }
    Ok(bytes)
}

/// Decodes a file's content, every pixel.
///
/// # Errors
/// [`DecodeError`].
pub fn decode_bytes(bytes: &[u8], limits: &DecodeLimits) -> Result<Decoded, DecodeError> {
    decode_bytes_at(Detail::Full, bytes, limits)
}

/// Decodes a file's content with as much detail as is wanted.
///
/// # Errors
/// [`DecodeError`].
pub fn decode_bytes_at(detail: Detail, bytes: &[u8], limits: &DecodeLimits) -> Result<Decoded, DecodeError> {
    if bytes.len() as u64 > limits.max_file_bytes {
        return Err(DecodeError::FileTooLarge { bytes: bytes.len() as u64, limit: limits.max_file_bytes });
    }
    let format = Format::of(bytes)?;
    guarded(format.name(), || match format {
        Format::Dicom(encoding) => dicom::decode(bytes, encoding, limits, detail),
        Format::Png | Format::Jpeg | Format::Tiff => decode_picture(bytes, format, limits),
    })
}

/// Which DICOM object it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectIdentity {
    /// SOP Class UID (0008,0016).
    pub sop_class_uid: Uid,
    /// SOP Instance UID (0008,0018).
    pub sop_instance_uid: Uid,
}

/// Which object a DICOM file holds, once its header is sound and names pixels that can be decoded; the pixels
/// themselves are not looked at.
///
/// # Errors
/// [`DecodeError`], as [`decode_bytes`] would say.
pub fn inspect_dicom(bytes: &[u8], limits: &DecodeLimits) -> Result<ObjectIdentity, DecodeError> {
    match Format::of(bytes)? {
        Format::Dicom(framing) => guarded("DICOM", || dicom::inspect(bytes, framing, limits)),
        Format::Png | Format::Jpeg | Format::Tiff => Err(DecodeError::Dicom("it is a picture".into())),
    }
}

/// UIDs of the DICOM transfer syntaxes that are decoded.
pub fn transfer_syntaxes() -> impl Iterator<Item = &'static str> {
    dicom::transfer_syntaxes()
}

/// Reads a DICOM data set that has no file around it.
///
/// # Errors
/// [`DecodeError::Dicom`] or [`DecodeError::TransferSyntax`].
pub fn data_set(bytes: &[u8], transfer_syntax_uid: &str) -> Result<InMemDicomObject, DecodeError> {
    guarded("DICOM", || dicom::data_set(bytes, transfer_syntax_uid))
}

/// A picture is display-referred already, and its identity is its content.
fn decode_picture(bytes: &[u8], format: Format, limits: &DecodeLimits) -> Result<Decoded, DecodeError> {
    let frame = PixelFrame::decode(Cursor::new(bytes), limits.image)?;
    let image = SourceImage {
        study_instance_uid: None,
        series_instance_uid: None,
        sop_instance_uid: content_uid(bytes),
        sop_class_uid: None,
        rows: frame.rows(),
        cols: frame.cols(),
        photometric: Photometric::Monochrome2,
        voi_applied: VoiApplied::None,
        revision: None,
    };
    Ok(Decoded { frame, step: 1, image, acquired_at: None, format })
}

fn content_uid(bytes: &[u8]) -> Uid {
    Uid::from_content(&Sha256::digest(bytes).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn png(frame: &PixelFrame) -> Vec<u8> {
        let mut out = Cursor::new(Vec::new());
        frame.to_image16().write_to(&mut out, image::ImageFormat::Png).unwrap();
        out.into_inner()
    }

    fn refusal(bytes: &[u8]) -> DecodeError {
        decode_bytes(bytes, &DecodeLimits::default()).unwrap_err()
    }

    #[test]
    fn a_picture_is_identified_by_its_content() {
        let frame = PixelFrame::new(2, 3, vec![0, 1, 2, 3, 4, 65_535]).unwrap();
        let bytes = png(&frame);
        let decoded = decode_bytes(&bytes, &DecodeLimits::default()).unwrap();
        assert_eq!(decoded.frame, frame);
        assert_eq!((decoded.image.rows, decoded.image.cols), (2, 3));
        assert_eq!(decoded.image.sop_instance_uid, content_uid(&bytes));
        assert_eq!(decoded.image.voi_applied, VoiApplied::None);
    }

    #[test]
    fn a_header_of_20000_by_20000_is_refused_without_its_pixels() {
        // A PNG of 1 × 1 whose header lies, checksum and all.
        let mut bytes = png(&PixelFrame::new(1, 1, vec![0]).unwrap());
        for at in [16, 20] {
            bytes[at..at + 4].copy_from_slice(&20_000_u32.to_be_bytes());
        }
        let checksum = crc32(&bytes[12..29]);
        bytes[29..33].copy_from_slice(&checksum.to_be_bytes());
        let error = refusal(&bytes);
        assert_eq!(error.code(), "too_large", "{error}");
    }

    fn crc32(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(!0_u32, |crc, &byte| {
            (0..8).fold(crc ^ u32::from(byte), |c, _| if c & 1 == 1 { c >> 1 ^ 0xEDB8_8320 } else { c >> 1 })
        })
    }

    #[test]
    fn a_truncated_picture_is_damaged() {
        let frame = PixelFrame::new(64, 64, (0..4096).map(|v| v * 13 % 60_000).collect()).unwrap();
        let bytes = png(&frame);
        let error = refusal(&bytes[..bytes.len() / 2]);
        assert_eq!(error.code(), "damaged_pixels", "{error}");
    }

    #[test]
    fn files_name_what_is_wrong() {
        let dir = tempfile::tempdir().unwrap();
        let limits = DecodeLimits { max_file_bytes: 1000, ..DecodeLimits::default() };
        let code = |name: &str, content: &[u8]| {
            let path = dir.path().join(name);
            std::fs::write(&path, content).unwrap();
            decode_file(&path, &limits).unwrap_err().code()
        };
        assert_eq!(code("zero.dcm", b""), "empty_file");
        assert_eq!(code("letter.dcm", b"Dear colleague, please find enclosed"), "not_an_image");
        assert_eq!(code("large.png", &[0; 1001]), "too_large");
        assert_eq!(decode_file(dir.path(), &limits).unwrap_err().code(), "unreadable");
        assert_eq!(decode_file(&dir.path().join("absent"), &limits).unwrap_err().code(), "unreadable");
    }
}
