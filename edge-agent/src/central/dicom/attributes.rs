//! Modules and macros that both objects share.

use dicom_core::value::DataSetSequence;
use dicom_core::{PrimitiveValue, Tag, VR};
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use dicom_object::mem::InMemElement;
use shared::manifest::Code;
use shared::message::ResultEnvelope;

use super::{Source, derived_uid};

/// Longest text of VR LO and SH, in characters (PS3.5 section 6.2).
const LONG: usize = 64;
const SHORT: usize = 16;

pub(super) fn text(tag: Tag, vr: VR, value: &str) -> InMemElement {
    InMemElement::new(tag, vr, PrimitiveValue::from(value))
}

/// A text of at most 64 characters, without what VR LO forbids.
pub(super) fn long(tag: Tag, value: &str) -> InMemElement {
    text(tag, VR::LO, &clean(value, LONG))
}

pub(super) fn word(tag: Tag, value: u16) -> InMemElement {
    InMemElement::new(tag, VR::US, PrimitiveValue::from(value))
}

/// A type 2 attribute that nobody here knows.
pub(super) fn unknown(tag: Tag, vr: VR) -> InMemElement {
    InMemElement::new(tag, vr, PrimitiveValue::Empty)
}

pub(super) fn sequence(tag: Tag, items: Vec<InMemDicomObject>) -> InMemElement {
    InMemElement::new(tag, VR::SQ, DataSetSequence::from(items))
}

/// A sequence of one item.
pub(super) fn item<const N: usize>(tag: Tag, elements: [InMemElement; N]) -> InMemElement {
    sequence(tag, vec![InMemDicomObject::from_element_iter(elements)])
}

/// Code Sequence Macro (PS3.3 8.8) with one code.
pub(super) fn code(tag: Tag, scheme: &str, value: &str, meaning: &str) -> InMemElement {
    // A value beyond 16 characters has an attribute of its own.
    let value = if value.chars().count() > SHORT {
        text(tags::LONG_CODE_VALUE, VR::UC, &clean(value, LONG))
    } else {
        text(tags::CODE_VALUE, VR::SH, &clean(value, SHORT))
    };
    item(
        tag,
        [
            value,
            text(tags::CODING_SCHEME_DESIGNATOR, VR::SH, &clean(scheme, SHORT)),
            long(tags::CODE_MEANING, meaning),
        ],
    )
}

fn clean(value: &str, most: usize) -> String {
    value.chars().filter(|c| !c.is_control() && *c != '\\').take(most).collect::<String>().trim().to_owned()
}

/// What both objects say of patient, study, series, equipment and themselves (PS3.3 C.7.1.1, C.7.2.1, C.7.3.1,
/// C.7.5.1, C.7.5.2 and C.12.1).
pub(super) fn common(
    envelope: &ResultEnvelope,
    source: &Source<'_>,
    class: &str,
    purpose: &str,
    (modality, series_number): (&str, &str),
) -> Vec<InMemElement> {
    let (date, time) = date_and_time(envelope);
    let model = &envelope.model;
    vec![
        text(tags::SPECIFIC_CHARACTER_SET, VR::CS, "ISO_IR 192"),
        text(tags::SOP_CLASS_UID, VR::UI, class),
        text(tags::SOP_INSTANCE_UID, VR::UI, &derived_uid(envelope, purpose)),
        text(tags::INSTANCE_CREATION_DATE, VR::DA, &date),
        text(tags::INSTANCE_CREATION_TIME, VR::TM, &time),
        text(tags::TIMEZONE_OFFSET_FROM_UTC, VR::SH, "+0000"),
        unknown(tags::PATIENT_NAME, VR::PN),
        unknown(tags::PATIENT_ID, VR::LO),
        unknown(tags::PATIENT_BIRTH_DATE, VR::DA),
        unknown(tags::PATIENT_SEX, VR::CS),
        text(tags::STUDY_INSTANCE_UID, VR::UI, source.study.as_str()),
        unknown(tags::STUDY_DATE, VR::DA),
        unknown(tags::STUDY_TIME, VR::TM),
        unknown(tags::REFERRING_PHYSICIAN_NAME, VR::PN),
        unknown(tags::STUDY_ID, VR::SH),
        unknown(tags::ACCESSION_NUMBER, VR::SH),
        text(tags::MODALITY, VR::CS, modality),
        text(tags::SERIES_INSTANCE_UID, VR::UI, &derived_uid(envelope, &format!("{purpose} series"))),
        text(tags::SERIES_NUMBER, VR::IS, series_number),
        long(tags::SERIES_DESCRIPTION, &format!("{} {} (research)", model.name, model.version)),
        // Type 2C: no orientation crosses the wire.
        unknown(tags::PATIENT_ORIENTATION, VR::CS),
        text(tags::INSTANCE_NUMBER, VR::IS, "1"),
        text(tags::CONTENT_DATE, VR::DA, &date),
        text(tags::CONTENT_TIME, VR::TM, &time),
        text(tags::MANUFACTURER, VR::LO, "CheXseg Edge"),
        long(tags::MANUFACTURER_MODEL_NAME, &model.name),
        // The weights are the device: no other number tells two of them apart.
        long(tags::DEVICE_SERIAL_NUMBER, &model.sha256),
        long(tags::SOFTWARE_VERSIONS, &format!("{} {}", model.version, env!("CARGO_PKG_VERSION"))),
    ]
}

/// Date and time of the inference in UTC.
pub(super) fn date_and_time(envelope: &ResultEnvelope) -> (String, String) {
    let at = envelope.inferred_at;
    (at.strftime("%Y%m%d").to_string(), at.strftime("%H%M%S").to_string())
}

/// Image SOP Instance Reference Macro (PS3.3 10-3).
pub(super) fn reference(source: &Source<'_>) -> [InMemElement; 2] {
    [
        text(tags::REFERENCED_SOP_CLASS_UID, VR::UI, source.class.as_str()),
        text(tags::REFERENCED_SOP_INSTANCE_UID, VR::UI, source.instance.as_str()),
    ]
}

/// Source Image Sequence: the whole image, by its instance alone, since radiographs seldom have a frame of reference.
/// `same_pixels` says whether a pixel of the object is the pixel of the source at its place.
pub(super) fn source_image(source: &Source<'_>, same_pixels: bool) -> InMemElement {
    let [class, instance] = reference(source);
    let purpose = code(
        tags::PURPOSE_OF_REFERENCE_CODE_SEQUENCE,
        "DCM",
        "121322",
        "Source image for image processing operation",
    );
    let preserved = text(tags::SPATIAL_LOCATIONS_PRESERVED, VR::CS, if same_pixels { "YES" } else { "NO" });
    item(tags::SOURCE_IMAGE_SEQUENCE, [class, instance, purpose, preserved])
}

/// Common Instance Reference (PS3.3 C.12.2).
pub(super) fn referenced_series(source: &Source<'_>) -> InMemElement {
    item(
        tags::REFERENCED_SERIES_SEQUENCE,
        [
            text(tags::SERIES_INSTANCE_UID, VR::UI, source.series.as_str()),
            item(tags::REFERENCED_INSTANCE_SEQUENCE, reference(source)),
        ],
    )
}

/// Whose private codes are used (Coding Scheme Identification Sequence, PS3.3 C.12.1), if any are.
pub(super) fn coding_schemes(codes: &[&Code]) -> Option<InMemElement> {
    let mut schemes: Vec<&str> =
        codes.iter().map(|code| code.scheme.as_str()).filter(|s| s.starts_with("99")).collect();
    schemes.sort_unstable();
    schemes.dedup();
    let items = schemes.iter().map(|scheme| {
        InMemDicomObject::from_element_iter([
            text(tags::CODING_SCHEME_DESIGNATOR, VR::SH, &clean(scheme, SHORT)),
            text(tags::CODING_SCHEME_NAME, VR::ST, "Classes of a CheXseg Edge model"),
        ])
    });
    let items: Vec<_> = items.collect();
    (!items.is_empty()).then(|| sequence(tags::CODING_SCHEME_IDENTIFICATION_SEQUENCE, items))
}
