use dicom_core::VR;

use super::DecodeError;

/// What a file is, by its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// DICOM (PS3.10), or a bare data set.
    Dicom(DicomFraming),
    /// PNG.
    Png,
    /// JPEG outside of DICOM.
    Jpeg,
    /// TIFF.
    Tiff,
}

/// What stands before a DICOM data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DicomFraming {
    /// Preamble, `DICM`, file meta information.
    Preamble,
    /// `DICM` and file meta information.
    Prefix,
    /// File meta information alone.
    Meta,
    /// Nothing: a data set in Implicit VR Little Endian.
    BareImplicit,
    /// Nothing: a data set in Explicit VR Little Endian.
    BareExplicit,
    /// Nothing: a data set in Explicit VR Big Endian.
    BareBigEndian,
}

impl Format {
    /// Tells formats apart by their first bytes.
    ///
    /// # Errors
    /// [`DecodeError::Empty`] or [`DecodeError::UnknownFormat`].
    pub fn of(bytes: &[u8]) -> Result<Self, DecodeError> {
        match bytes {
            [] => Err(DecodeError::Empty),
            [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1A, b'\n', ..] => Ok(Self::Png),
            [0xFF, 0xD8, 0xFF, ..] => Ok(Self::Jpeg),
            // Before TIFF, since a preamble may hold a TIFF header (PS3.10 section 7.1).
            _ if bytes.get(128..132) == Some(b"DICM") => Ok(Self::Dicom(DicomFraming::Preamble)),
            [b'I', b'I', 42, 0, ..] | [b'M', b'M', 0, 42, ..] => Ok(Self::Tiff),
            [b'D', b'I', b'C', b'M', ..] => Ok(Self::Dicom(DicomFraming::Prefix)),
            _ => bare(bytes).map(Self::Dicom).ok_or(DecodeError::UnknownFormat),
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dicom(_) => "DICOM",
            Self::Png => "PNG",
            Self::Jpeg => "JPEG",
            Self::Tiff => "TIFF",
        }
    }
}

/// A data set without `DICM` begins with an element of group 0002 or 0008 that fits into the file.
fn bare(bytes: &[u8]) -> Option<DicomFraming> {
    let &[a, b, c, d, v, w, ..] = bytes.first_chunk::<8>()?;
    let explicit = VR::from_binary([v, w]).is_some();
    let length = u32::from_le_bytes(*bytes.get(4..8)?.first_chunk::<4>()?);
    let fits = u64::from(length) <= bytes.len() as u64 - 8;
    // Elements of these groups have numbers far below 2000 hex.
    match ([a, b], [c, d]) {
        ([2, 0], [_, 0]) if explicit => Some(DicomFraming::Meta),
        ([8, 0], [_, 0..0x20]) if explicit => Some(DicomFraming::BareExplicit),
        ([8, 0], [_, 0..0x20]) if fits => Some(DicomFraming::BareImplicit),
        ([0, 8], [0..0x20, _]) if explicit => Some(DicomFraming::BareBigEndian),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_decides() {
        let mut preamble = vec![0; 128];
        preamble[..4].copy_from_slice(b"II*\0");
        preamble.extend(b"DICM");
        let cases: [(&[u8], Format); 8] = [
            (b"\x89PNG\r\n\x1a\n....", Format::Png),
            (b"\xff\xd8\xff\xe0....", Format::Jpeg),
            (b"II*\0....", Format::Tiff),
            (b"MM\0*....", Format::Tiff),
            (&preamble, Format::Dicom(DicomFraming::Preamble)),
            (b"DICM....", Format::Dicom(DicomFraming::Prefix)),
            (b"\x08\0\x05\0\x0a\0\0\0ISO_IR 100", Format::Dicom(DicomFraming::BareImplicit)),
            (b"\x08\0\x05\0CS\x0a\0ISO_IR 100", Format::Dicom(DicomFraming::BareExplicit)),
        ];
        for (bytes, format) in cases {
            assert_eq!(Format::of(bytes).unwrap(), format);
        }
    }

    #[test]
    fn text_is_no_dicom_whatever_its_name() {
        for text in [b"Dear colleague, ".as_slice(), b"x", b"<html>", b"\x08\0\x05\0\xff\xff\xff\x7fISO"] {
            let error = Format::of(text).unwrap_err();
            assert_eq!(error.code(), "not_an_image");
            assert!(error.to_string().contains("not a DICOM"), "{error}");
        }
        assert_eq!(Format::of(b"").unwrap_err().code(), "empty_file");
    }
}
