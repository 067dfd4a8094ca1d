//! The grey-scale transforms that an object asks for, as [`StoredPixels`](shared::pixel::StoredPixels) applies
//! them.

use dicom_dictionary_std::tags;
use shared::pixel::{
    LutTable, ModalityTransform, PresentationLutShape, VoiFunction, VoiTransform, VoiWindow,
};

use super::super::DecodeError;
use super::attributes::Attributes;

/// Modality LUT Sequence, else Rescale Slope and Intercept, else nothing.
pub(super) fn modality(attributes: &Attributes<'_>, signed: bool) -> Result<ModalityTransform, DecodeError> {
    if let Some(item) = attributes.item(tags::MODALITY_LUT_SEQUENCE) {
        return Ok(ModalityTransform::Lut(table(&item, signed)?));
    }
    Ok(ModalityTransform::Rescale {
        slope: attributes.float(tags::RESCALE_SLOPE).unwrap_or(1.0),
        intercept: attributes.float(tags::RESCALE_INTERCEPT).unwrap_or(0.0),
    })
}

/// VOI LUT Sequence, else the first window. The standard leaves the choice to the viewer (PS3.3 C.11.2); the
/// table is the unit's own curve, the window mostly an approximation to it. A window that cannot be applied
/// (width 0, an unknown function) counts as none: the result then says `percentile`.
pub(super) fn voi(attributes: &Attributes<'_>, signed: bool) -> Result<Option<VoiTransform>, DecodeError> {
    if let Some(item) = attributes.item(tags::VOILUT_SEQUENCE) {
        return Ok(Some(VoiTransform::Lut(table(&item, signed)?)));
    }
    Ok(window(attributes).map(VoiTransform::Window))
}

fn window(attributes: &Attributes<'_>) -> Option<VoiWindow> {
    let center = attributes.float(tags::WINDOW_CENTER)?;
    let width = attributes.float(tags::WINDOW_WIDTH)?;
    let function = match attributes.text(tags::VOILUT_FUNCTION).as_deref() {
        None | Some("LINEAR") => VoiFunction::Linear,
        Some("LINEAR_EXACT") => VoiFunction::LinearExact,
        Some("SIGMOID") => VoiFunction::Sigmoid,
        Some(_) => return None,
    };
    let least = if function == VoiFunction::Linear { 1.0 } else { f64::MIN_POSITIVE };
    (center.is_finite() && width.is_finite() && width >= least).then_some(VoiWindow {
        center,
        width,
        function,
    })
}

/// Presentation LUT Shape; unknown terms count as absent.
pub(super) fn presentation(attributes: &Attributes<'_>) -> Option<PresentationLutShape> {
    match attributes.text(tags::PRESENTATION_LUT_SHAPE)?.as_str() {
        "IDENTITY" => Some(PresentationLutShape::Identity),
        "INVERSE" => Some(PresentationLutShape::Inverse),
        _ => None,
    }
}

/// LUT Descriptor (0028,3002) and LUT Data (0028,3006), PS3.3 C.11.1.1 and C.11.2.1.1.
fn table(item: &Attributes<'_>, signed: bool) -> Result<LutTable, DecodeError> {
    const DESCRIPTOR: &str = "LUTDescriptor (0028,3002)";
    const DATA: &str = "LUTData (0028,3006)";
    let descriptor = item.ints(tags::LUT_DESCRIPTOR).ok_or(DecodeError::Missing(DESCRIPTOR))?;
    let bad = |attribute, found: String, problem| DecodeError::Attribute { attribute, found, problem };
    let &[count, first, bits] = descriptor.as_slice() else {
        return Err(bad(DESCRIPTOR, format!("{} values", descriptor.len()), "needs three"));
    };
    // 16-bit words that may have been read with either sign; 0 stands for 65 536 entries.
    let count = match count & 0xFFFF {
        0 => 1 << 16,
        count => count as usize,
    };
    let word = (first & 0xFFFF) as u16;
    let first = if signed { i32::from(word.cast_signed()) } else { i32::from(word) };
    let bits = u8::try_from(bits)
        .ok()
        .filter(|bits| (8..=16).contains(bits))
        .ok_or_else(|| bad(DESCRIPTOR, format!("{bits} bits"), "an entry has 8 to 16"))?;
    let data = item.ints(tags::LUT_DATA).ok_or(DecodeError::Missing(DATA))?;
    let mut entries: Vec<u16> = data.iter().map(|v| (v & 0xFFFF) as u16).collect();
    // Entries of 8 bits may be packed two to a word, the first in the low byte.
    if bits == 8 && entries.len() == count.div_ceil(2) && count > 1 {
        entries = entries.into_iter().flat_map(u16::to_le_bytes).map(u16::from).collect();
    }
    if entries.len() < count {
        return Err(bad(DATA, format!("{} entries", entries.len()), "the descriptor names more"));
    }
    entries.truncate(count);
    Ok(LutTable { first, bits, entries })
}
