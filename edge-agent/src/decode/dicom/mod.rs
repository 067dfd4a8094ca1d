//! DICOM objects (PS3.3, PS3.5, PS3.10) to pixels.

mod attributes;
mod codec;
mod codestream;
mod grayscale;
mod identity;
mod jpeg2000;
mod outline;
mod pixels;
mod rle;
#[cfg(test)]
mod tests;

use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use shared::message::SourceImage;
use shared::pixel::{Photometric, PixelFrame, StoredPixels, VoiApplied};

use self::attributes::Attributes;
use self::codec::Compression;
use self::outline::Outline;
use self::pixels::{Interpretation, PixelModule, Raster};

pub(super) use self::codec::transfer_syntaxes;
use super::{DecodeError, DecodeLimits, Decoded, Detail, DicomFraming, Format, ObjectIdentity, content_uid};

/// Everything of an image but its samples.
struct Opened<'a> {
    outline: Outline<'a>,
    attributes: Attributes<'static>,
    module: PixelModule,
}

fn open<'a>(
    bytes: &'a [u8],
    framing: DicomFraming,
    limits: &DecodeLimits,
) -> Result<Opened<'a>, DecodeError> {
    let outline = Outline::of(bytes, framing, limits.max_file_bytes)?;
    // Before the header: what cannot be decompressed need not be parsed.
    Compression::of(outline.syntax)?;
    let attributes = Attributes::read(&outline.data[..outline.header_end], outline.syntax)?;
    if outline.pixels.is_none() {
        return Err(DecodeError::Missing("PixelData (7FE0,0010)"));
    }
    let module = PixelModule::read(&attributes, limits.image)?;
    module.check_length(&outline)?;
    Ok(Opened { outline, attributes, module })
}

/// Which object it is, if it looks like one that [`decode`] can decode.
pub(super) fn inspect(
    bytes: &[u8],
    framing: DicomFraming,
    limits: &DecodeLimits,
) -> Result<ObjectIdentity, DecodeError> {
    let Opened { attributes, .. } = open(bytes, framing, limits)?;
    let uid = |tag, name| attributes.uid(tag).ok_or(DecodeError::Missing(name));
    Ok(ObjectIdentity {
        sop_class_uid: uid(tags::SOP_CLASS_UID, "SOPClassUID (0008,0016)")?,
        sop_instance_uid: uid(tags::SOP_INSTANCE_UID, "SOPInstanceUID (0008,0018)")?,
    })
}

/// A data set that came over the network without a file around it, such as an N-ACTION's.
pub(super) fn data_set(bytes: &[u8], transfer_syntax_uid: &str) -> Result<InMemDicomObject, DecodeError> {
    outline::read_whole(bytes, transfer_syntax_uid)
}

/// Decodes a single-frame image.
pub(super) fn decode(
    bytes: &[u8],
    framing: DicomFraming,
    limits: &DecodeLimits,
    detail: Detail,
) -> Result<Decoded, DecodeError> {
    let Opened { outline, attributes, module } = open(bytes, framing, limits)?;
    let samples = module.samples(&outline, detail)?;
    let step = samples.step;
    let (frame, photometric, voi_applied) = match module.interpretation {
        Interpretation::Gray(photometric) => {
            let (frame, voi) = render(samples, &module, photometric, &attributes)?;
            (frame, photometric, voi)
        }
        Interpretation::Rgb | Interpretation::Ybr => {
            (spread(samples, &module)?, Photometric::Monochrome2, VoiApplied::None)
        }
    };
    let image = SourceImage {
        study_instance_uid: attributes.uid(tags::STUDY_INSTANCE_UID),
        series_instance_uid: attributes.uid(tags::SERIES_INSTANCE_UID),
        sop_instance_uid: attributes.uid(tags::SOP_INSTANCE_UID).unwrap_or_else(|| content_uid(bytes)),
        sop_class_uid: attributes.uid(tags::SOP_CLASS_UID),
        rows: module.rows,
        cols: module.cols,
        photometric,
        voi_applied,
        revision: None,
    };
    Ok(Decoded {
        frame,
        step,
        image,
        acquired_at: identity::acquired_at(&attributes),
        format: Format::Dicom(framing),
    })
}

fn render(
    samples: Raster<Vec<u16>>,
    module: &PixelModule,
    photometric: Photometric,
    attributes: &Attributes<'_>,
) -> Result<(PixelFrame, VoiApplied), DecodeError> {
    let (rows, cols) = module.size(samples.step);
    let stored = StoredPixels {
        rows,
        cols,
        samples: samples.data,
        bits_stored: module.bits_stored,
        signed: module.signed,
        photometric,
        modality: grayscale::modality(attributes, module.signed)?,
        voi: grayscale::voi(attributes, module.signed)?,
        presentation: grayscale::presentation(attributes),
    };
    let rendered = stored.render()?;
    Ok((rendered.frame, rendered.voi))
}

/// Colour has no grey-scale transforms: it is display-referred.
fn spread(mut samples: Raster<Vec<u16>>, module: &PixelModule) -> Result<PixelFrame, DecodeError> {
    let top = (1_u32 << module.bits_stored) - 1;
    for value in &mut samples.data {
        *value = (u32::from(*value).min(top) * 65_535 / top) as u16;
    }
    let (rows, cols) = module.size(samples.step);
    Ok(PixelFrame::new(rows, cols, samples.data)?)
}
