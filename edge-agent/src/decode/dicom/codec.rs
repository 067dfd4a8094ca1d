//! Decompression of encapsulated pixel data.

use std::borrow::Cow;

use dicom_dictionary_std::uids;
use dicom_encoding::TransferSyntax;
use dicom_encoding::adapters::{PixelDataObject, RawPixelData};

use super::super::guard::guarded;
use super::super::{DecodeError, Detail};
use super::codestream::Codestream;
use super::outline::BIG_ENDIAN;
use super::pixels::{PixelModule, Raster};

/// How pixel data is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compression {
    /// Not at all.
    None,
    /// JPEG, lossy or lossless.
    Jpeg,
    /// JPEG-LS, lossless or near-lossless.
    JpegLs,
    /// JPEG 2000, lossy or lossless.
    Jpeg2000,
    /// RLE Lossless.
    Rle,
}

/// Every transfer syntax that is decoded, and how its pixels are compressed (PS3.5 section 10).
const DECODED: [(&str, Compression); 13] = [
    (uids::EXPLICIT_VR_LITTLE_ENDIAN, Compression::None),
    (uids::IMPLICIT_VR_LITTLE_ENDIAN, Compression::None),
    // What is left of it once its data set is inflated is Explicit VR Little Endian.
    (uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN, Compression::None),
    (BIG_ENDIAN, Compression::None),
    (uids::JPEG_LOSSLESS_SV1, Compression::Jpeg),
    (uids::JPEG_LOSSLESS, Compression::Jpeg),
    (uids::JPEG_BASELINE8_BIT, Compression::Jpeg),
    (uids::JPEG_EXTENDED12_BIT, Compression::Jpeg),
    (uids::JPEGLS_LOSSLESS, Compression::JpegLs),
    (uids::JPEGLS_NEAR_LOSSLESS, Compression::JpegLs),
    (uids::JPEG2000_LOSSLESS, Compression::Jpeg2000),
    (uids::JPEG2000, Compression::Jpeg2000),
    (uids::RLE_LOSSLESS, Compression::Rle),
];

/// UIDs of the transfer syntaxes that are decoded.
pub(in crate::decode) fn transfer_syntaxes() -> impl Iterator<Item = &'static str> {
    DECODED.iter().map(|(uid, _)| *uid)
}

impl Compression {
    /// What a transfer syntax uses, if it is decoded.
    pub(super) fn of(syntax: &TransferSyntax) -> Result<Self, DecodeError> {
        let found = DECODED.iter().find(|(uid, _)| *uid == syntax.uid());
        found
            .map(|(_, compression)| *compression)
            .ok_or_else(|| DecodeError::TransferSyntax { uid: syntax.uid().to_owned(), name: syntax.name() })
    }

    fn name(self) -> &'static str {
        match self {
            Self::None => "uncompressed",
            Self::Jpeg => "JPEG",
            Self::JpegLs => "JPEG-LS",
            Self::Jpeg2000 => "JPEG 2000",
            Self::Rle => "RLE",
        }
    }
}

/// Decompresses the only frame to samples of 8 or 16 bit, little-endian, colour interleaved, in all detail or less.
pub(super) fn decompress(
    fragments: &[&[u8]],
    compression: Compression,
    syntax: &TransferSyntax,
    module: &PixelModule,
    detail: Detail,
) -> Result<Raster<Vec<u8>>, DecodeError> {
    let codec = compression.name();
    let failed = |reason: String| DecodeError::Codec { codec, reason };
    let data: Cow<'_, [u8]> = match fragments {
        [] => return Err(DecodeError::Missing("fragment of PixelData (7FE0,0010)")),
        [one] => Cow::Borrowed(*one),
        many => Cow::Owned(many.concat()),
    };
    let header = match compression {
        Compression::Jpeg | Compression::JpegLs => Some(Codestream::of_jpeg(&data)),
        Compression::Jpeg2000 => Some(Codestream::of_jpeg2000(&data)),
        Compression::None | Compression::Rle => None,
    };
    if let Some(header) = header {
        check(header.ok_or_else(|| failed("it has no valid frame header".into()))?, module)
            .map_err(failed)?;
    }
    if compression == Compression::Rle {
        super::rle::check(&data, module).map_err(failed)?;
    }
    guarded(codec, || {
        if compression == Compression::JpegLs {
            return jpeg_ls(&data, module).map(Raster::whole).map_err(failed);
        }
        if compression == Compression::Jpeg2000 {
            return super::jpeg2000::decode(&data, module, detail).map_err(failed);
        }
        let reader = syntax.pixel_data_reader().ok_or_else(|| DecodeError::TransferSyntax {
            uid: syntax.uid().to_owned(),
            name: syntax.name(),
        })?;
        let mut out = Vec::new();
        let frame = Frame { data: &data, syntax: syntax.uid(), module };
        reader.decode_frame(&frame, 0, &mut out).map_err(|e| failed(e.to_string()))?;
        Ok(Raster::whole(out))
    })
}

/// The codestream must be the image that the attributes describe, or a few bytes could ask for gigabytes.
fn check(header: Codestream, module: &PixelModule) -> Result<(), String> {
    let Codestream { rows, cols, components, precision } = header;
    let expected = (module.rows as u32, module.cols as u32, module.samples_per_pixel);
    if (rows, cols, components) != expected {
        return Err(format!(
            "it is {rows} × {cols} with {components} samples a pixel, the DICOM header says {} × {} with {}",
            expected.0, expected.1, expected.2
        ));
    }
    if u16::from(precision.div_ceil(8)) * 8 != module.bits_allocated {
        return Err(format!(
            "its {precision}-bit samples do not fit {} bits allocated",
            module.bits_allocated
        ));
    }
    Ok(())
}

fn jpeg_ls(data: &[u8], module: &PixelModule) -> Result<Vec<u8>, String> {
    let data = without_fill(data);
    let (samples, _, _) =
        jpegls::decode(&data, module.cols as u32, module.rows as u32).map_err(|e| e.to_string())?;
    Ok(match module.bits_allocated {
        8 => samples.into_iter().map(|v| v as u8).collect(),
        _ => samples.into_iter().flat_map(u16::to_le_bytes).collect(),
    })
}

/// CharLS, and DCMTK with it, brings fragments to even length by a fill byte before the last marker (ISO/IEC 14495-1
/// C.1.1.2 allows any number), which the decoder does not expect. Data behind the last marker is left out too.
fn without_fill(data: &[u8]) -> Cow<'_, [u8]> {
    const END: [u8; 2] = [0xFF, 0xD9];
    let Some(end) = data.windows(2).rposition(|marker| marker == END) else { return Cow::Borrowed(data) };
    let filled = data[..end].iter().rev().take_while(|byte| **byte == 0xFF).count();
    if filled == 0 {
        return Cow::Borrowed(&data[..end + 2]);
    }
    Cow::Owned([&data[..end - filled], &END].concat())
}

/// The only frame, as dicom-rs' decoders ask for it.
struct Frame<'a> {
    data: &'a [u8],
    syntax: &'a str,
    module: &'a PixelModule,
}

impl PixelDataObject for Frame<'_> {
    fn transfer_syntax_uid(&self) -> &str {
        self.syntax
    }

    fn rows(&self) -> Option<u16> {
        u16::try_from(self.module.rows).ok()
    }

    fn cols(&self) -> Option<u16> {
        u16::try_from(self.module.cols).ok()
    }

    fn samples_per_pixel(&self) -> Option<u16> {
        Some(self.module.samples_per_pixel)
    }

    fn bits_allocated(&self) -> Option<u16> {
        Some(self.module.bits_allocated)
    }

    fn bits_stored(&self) -> Option<u16> {
        Some(u16::from(self.module.bits_stored))
    }

    fn photometric_interpretation(&self) -> Option<&str> {
        None
    }

    fn number_of_frames(&self) -> Option<u32> {
        Some(1)
    }

    fn number_of_fragments(&self) -> Option<u32> {
        Some(1)
    }

    fn fragment(&self, fragment: usize) -> Option<Cow<'_, [u8]>> {
        (fragment == 0).then_some(Cow::Borrowed(self.data))
    }

    fn offset_table(&self) -> Option<Cow<'_, [u32]>> {
        Some(Cow::Borrowed(&[]))
    }

    fn raw_pixel_data(&self) -> Option<RawPixelData> {
        Some(RawPixelData {
            fragments: std::iter::once(self.data.to_vec()).collect(),
            offset_table: std::iter::empty().collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fill_bytes_before_the_end_of_a_jpeg_ls_image_are_left_out() {
        for data in [&[1, 2, 0xFF, 0xD9][..], &[1, 2, 0xFF, 0xFF, 0xFF, 0xD9], &[1, 2, 0xFF, 0xFF, 0xD9, 0]] {
            assert_eq!(*without_fill(data), [1, 2, 0xFF, 0xD9], "{data:?}");
        }
        assert_eq!(*without_fill(&[1, 2]), [1, 2]);
    }
}
