//! DICOM files of phantoms, for `bench`, the demo and tests: what a digital X-ray unit would send.

use dicom_core::{PrimitiveValue, Tag, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_object::mem::InMemElement;
use dicom_object::{FileMetaTableBuilder, InMemDicomObject};
use shared::pixel::PixelFrame;
use shared::uid::Uid;

/// An uncompressed 16-bit Digital X-Ray Image for Presentation (PS3.3 A.26) of a frame, windowed to its full
/// range so that decoding gives the frame back.
pub fn dicom_file(frame: &PixelFrame, sop_instance_uid: &Uid) -> Vec<u8> {
    write(dataset(frame, sop_instance_uid), uids::EXPLICIT_VR_LITTLE_ENDIAN)
}

/// The same with identity: Study Instance UID `study`, one series and one image below it.
///
/// # Panics
/// If `study` is no UID of at most 60 characters.
pub fn dicom_file_of_study(frame: &PixelFrame, study: &str) -> Vec<u8> {
    let uid =
        |end: &str| format!("{study}{end}").parse::<Uid>().expect("a UID with room for four characters");
    let mut object = dataset(frame, &uid(".1.1"));
    for (tag, uid) in [(tags::STUDY_INSTANCE_UID, uid("")), (tags::SERIES_INSTANCE_UID, uid(".1"))] {
        object.put(InMemElement::new(tag, VR::UI, PrimitiveValue::from(uid.as_str())));
    }
    write(object, uids::EXPLICIT_VR_LITTLE_ENDIAN)
}

/// The data set of [`dicom_file`].
pub fn dataset(frame: &PixelFrame, sop_instance_uid: &Uid) -> InMemDicomObject {
    let text = |tag: Tag, vr: VR, value: &str| InMemElement::new(tag, vr, PrimitiveValue::from(value));
    let word = |tag: Tag, value: u16| InMemElement::new(tag, VR::US, PrimitiveValue::from(value));
    InMemDicomObject::from_element_iter([
        text(tags::SOP_CLASS_UID, VR::UI, uids::DIGITAL_X_RAY_IMAGE_STORAGE_FOR_PRESENTATION),
        text(tags::SOP_INSTANCE_UID, VR::UI, sop_instance_uid.as_str()),
        text(tags::MODALITY, VR::CS, "DX"),
        text(tags::BODY_PART_EXAMINED, VR::CS, "CHEST"),
        text(tags::VIEW_POSITION, VR::CS, "PA"),
        text(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME2"),
        text(tags::PRESENTATION_LUT_SHAPE, VR::CS, "IDENTITY"),
        text(tags::WINDOW_CENTER, VR::DS, "32767.5"),
        text(tags::WINDOW_WIDTH, VR::DS, "65535"),
        text(tags::VOILUT_FUNCTION, VR::CS, "LINEAR_EXACT"),
        text(tags::RESCALE_INTERCEPT, VR::DS, "0"),
        text(tags::RESCALE_SLOPE, VR::DS, "1"),
        word(tags::SAMPLES_PER_PIXEL, 1),
        word(tags::ROWS, frame.rows() as u16),
        word(tags::COLUMNS, frame.cols() as u16),
        word(tags::BITS_ALLOCATED, 16),
        word(tags::BITS_STORED, 16),
        word(tags::HIGH_BIT, 15),
        word(tags::PIXEL_REPRESENTATION, 0),
        InMemElement::new(tags::PIXEL_DATA, VR::OW, PrimitiveValue::U16(frame.samples().into())),
    ])
}

/// A data set as a file with preamble and file meta information.
///
/// # Panics
/// If the data set lacks its SOP Class or Instance UID, or the transfer syntax cannot be written.
pub fn write(dataset: InMemDicomObject, transfer_syntax: &str) -> Vec<u8> {
    let meta = FileMetaTableBuilder::new().transfer_syntax(transfer_syntax);
    let object = dataset.with_meta(meta).expect("a data set with SOP Class and Instance UID");
    let mut bytes = Vec::new();
    object.write_all(&mut bytes).expect("writing to memory in a known transfer syntax");
    bytes
}
