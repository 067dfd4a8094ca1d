use dicom_core::{PrimitiveValue, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_object::InMemDicomObject;
use dicom_object::mem::InMemElement;
use shared::mask::Mask;
use shared::message::{Finding, ResultEnvelope};

use super::attributes::{
    code, coding_schemes, common, item, long, referenced_series, sequence, source_image, text, unknown, word,
};
use super::category::category;
use super::palette::{cielab, color};
use super::{ObjectError, Source, derived_uid};

/// A DICOM Segmentation (PS3.3 A.51): BINARY, one segment and one frame a finding, empty ones included, in the pixels
/// of the source image.
///
/// Radiographs seldom have a frame of reference, and none is made up: frames refer to the source by its instance
/// (Derivation Image functional group), which PS3.3 A.51.5.1 asks for where there is no Frame of Reference module.
///
/// # Errors
/// [`ObjectError`] if the result lacks what the object must refer to, or is too large.
pub fn segmentation(envelope: &ResultEnvelope) -> Result<InMemDicomObject, ObjectError> {
    let source = Source::of(envelope)?;
    let findings = &envelope.findings;
    let mut bits = Bits::default();
    let mut coverage = vec![0_u8; usize::from(source.rows) * usize::from(source.cols)];
    let mut overlap = false;
    for finding in findings {
        let mask = at_source(finding, &source)?;
        for (seen, &value) in coverage.iter_mut().zip(mask.data()) {
            overlap |= *seen & value != 0;
            *seen |= value;
        }
        bits.extend(mask.data());
    }

    let mut object = InMemDicomObject::from_element_iter(common(
        envelope,
        &source,
        uids::SEGMENTATION_STORAGE,
        "segmentation",
        ("SEG", "9001"),
    ));
    let organization = derived_uid(envelope, "dimensions");
    let codes: Vec<_> = findings.iter().map(|finding| &finding.code).collect();
    let elements = [
        // Segmentation Image (C.8.20.2) and Image Pixel (C.7.6.3).
        text(tags::IMAGE_TYPE, VR::CS, "DERIVED\\PRIMARY"),
        text(tags::CONTENT_LABEL, VR::CS, "CHEXSEG"),
        text(tags::CONTENT_DESCRIPTION, VR::LO, "Findings of a segmentation model"),
        unknown(tags::CONTENT_CREATOR_NAME, VR::PN),
        text(tags::SEGMENTATION_TYPE, VR::CS, "BINARY"),
        text(tags::SEGMENTS_OVERLAP, VR::CS, if overlap { "YES" } else { "NO" }),
        text(tags::LOSSY_IMAGE_COMPRESSION, VR::CS, "00"),
        text(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME2"),
        word(tags::SAMPLES_PER_PIXEL, 1),
        word(tags::ROWS, source.rows),
        word(tags::COLUMNS, source.cols),
        word(tags::BITS_ALLOCATED, 1),
        word(tags::BITS_STORED, 1),
        word(tags::HIGH_BIT, 0),
        word(tags::PIXEL_REPRESENTATION, 0),
        sequence(
            tags::SEGMENT_SEQUENCE,
            findings.iter().enumerate().map(|(i, f)| segment(envelope, i, f)).collect(),
        ),
        // Multi-frame Functional Groups (C.7.6.16) and Dimension (C.7.6.17): segments are the only dimension.
        text(tags::NUMBER_OF_FRAMES, VR::IS, &findings.len().to_string()),
        item(
            tags::DIMENSION_ORGANIZATION_SEQUENCE,
            [text(tags::DIMENSION_ORGANIZATION_UID, VR::UI, &organization)],
        ),
        item(
            tags::DIMENSION_INDEX_SEQUENCE,
            [
                text(tags::DIMENSION_ORGANIZATION_UID, VR::UI, &organization),
                pointer(tags::DIMENSION_INDEX_POINTER, tags::REFERENCED_SEGMENT_NUMBER),
                pointer(tags::FUNCTIONAL_GROUP_POINTER, tags::SEGMENT_IDENTIFICATION_SEQUENCE),
                text(tags::DIMENSION_DESCRIPTION_LABEL, VR::LO, "Segment"),
            ],
        ),
        item(tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE, []),
        sequence(
            tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE,
            (1..=findings.len()).map(|number| frame(&source, number as u16)).collect(),
        ),
        referenced_series(&source),
        InMemElement::new(tags::PIXEL_DATA, VR::OB, PrimitiveValue::from(bits.finish())),
    ];
    elements.into_iter().chain(coding_schemes(&codes)).for_each(|element| {
        object.put(element);
    });
    Ok(object)
}

/// The finding's mask in source pixels.
pub(super) fn at_source(finding: &Finding, source: &Source<'_>) -> Result<Mask, ObjectError> {
    Ok(finding.mask.decode()?.resize_nearest(source.rows.into(), source.cols.into()))
}

/// Segment Description Macro (C.8.20.4).
fn segment(envelope: &ResultEnvelope, index: usize, finding: &Finding) -> InMemDicomObject {
    let (value, meaning) = category(&finding.code);
    let model = &envelope.model;
    let [l, a, b] = cielab(color(index));
    let certainty = format!(
        "score {:.2}, foreground from {:.2}, {} px",
        finding.score, finding.threshold, finding.area_px
    );
    InMemDicomObject::from_element_iter([
        word(tags::SEGMENT_NUMBER, index as u16 + 1),
        long(tags::SEGMENT_LABEL, &finding.label),
        text(tags::SEGMENT_DESCRIPTION, VR::ST, &certainty),
        text(tags::SEGMENT_ALGORITHM_TYPE, VR::CS, "AUTOMATIC"),
        long(tags::SEGMENT_ALGORITHM_NAME, &model.name),
        item(
            tags::SEGMENTATION_ALGORITHM_IDENTIFICATION_SEQUENCE,
            [
                code(tags::ALGORITHM_FAMILY_CODE_SEQUENCE, "DCM", "123109", "Artificial Intelligence"),
                long(tags::ALGORITHM_NAME, &model.name),
                long(tags::ALGORITHM_VERSION, &model.version),
            ],
        ),
        code(tags::SEGMENTED_PROPERTY_CATEGORY_CODE_SEQUENCE, "SCT", value, meaning),
        code(
            tags::SEGMENTED_PROPERTY_TYPE_CODE_SEQUENCE,
            &finding.code.scheme,
            &finding.code.value,
            &finding.code.meaning,
        ),
        InMemElement::new(
            tags::RECOMMENDED_DISPLAY_CIE_LAB_VALUE,
            VR::US,
            PrimitiveValue::U16([l, a, b].as_slice().into()),
        ),
    ])
}

/// Derivation Image, Frame Content and Segment Identification functional groups. The first is the same for all frames,
/// but readers such as highdicom look for it in each.
fn frame(source: &Source<'_>, segment: u16) -> InMemDicomObject {
    InMemDicomObject::from_element_iter([
        derivation(source),
        item(
            tags::FRAME_CONTENT_SEQUENCE,
            [InMemElement::new(
                tags::DIMENSION_INDEX_VALUES,
                VR::UL,
                PrimitiveValue::from(u32::from(segment)),
            )],
        ),
        item(tags::SEGMENT_IDENTIFICATION_SEQUENCE, [word(tags::REFERENCED_SEGMENT_NUMBER, segment)]),
    ])
}

/// Derivation Image functional group.
fn derivation(source: &Source<'_>) -> InMemElement {
    item(
        tags::DERIVATION_IMAGE_SEQUENCE,
        [code(tags::DERIVATION_CODE_SEQUENCE, "DCM", "113076", "Segmentation"), source_image(source, true)],
    )
}

fn pointer(tag: dicom_core::Tag, to: dicom_core::Tag) -> InMemElement {
    InMemElement::new(tag, VR::AT, PrimitiveValue::Tags([to].as_slice().into()))
}

/// Pixels of one bit, the first in the lowest bit; frames follow each other without padding (PS3.5 8.1.1).
#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    used: usize,
}

impl Bits {
    fn extend(&mut self, values: &[u8]) {
        self.bytes.resize((self.used + values.len()).div_ceil(8), 0);
        for (i, &value) in (self.used..).zip(values) {
            self.bytes[i / 8] |= value << (i % 8);
        }
        self.used += values.len();
    }

    /// Of even length.
    fn finish(mut self) -> Vec<u8> {
        if self.bytes.len() % 2 == 1 {
            self.bytes.push(0);
        }
        self.bytes
    }
}
