use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use shared::mask::{Mask, Rle};
use shared::message::{Finding, ResultEnvelope};

use super::{ObjectError, capture, file, segmentation};
use crate::publisher::tests::envelope;

/// A result of a DICOM image with two findings that overlap, the second empty in the first's place, on a coarser grid.
fn result() -> ResultEnvelope {
    let mut envelope = envelope(1);
    envelope.image.study_instance_uid = Some("1.2.3".parse().unwrap());
    envelope.image.series_instance_uid = Some("1.2.3.4".parse().unwrap());
    envelope.image.sop_class_uid = Some("1.2.840.10008.5.1.4.1.1.1.1".parse().unwrap());
    let coarse = Mask::from_fn(64, 50, |r, c| r < 20 && c > 10);
    let lung = envelope.findings[0].clone();
    envelope.findings.push(Finding { label: "opacity".into(), mask: Rle::encode(&coarse), ..lung.clone() });
    envelope.findings.push(Finding { label: "none".into(), mask: Rle::encode(&Mask::empty(64, 50)), ..lung });
    envelope
}

fn text(object: &InMemDicomObject, tag: dicom_core::Tag) -> String {
    object.element(tag).unwrap().to_str().unwrap().into_owned()
}

#[test]
fn every_bit_is_the_masks() {
    let envelope = result();
    let object = segmentation(&envelope).unwrap();
    let pixels = object.element(tags::PIXEL_DATA).unwrap().to_bytes().unwrap().into_owned();
    let (rows, cols) = (envelope.image.rows, envelope.image.cols);
    assert_eq!(text(&object, tags::NUMBER_OF_FRAMES), "3");
    for (frame, finding) in envelope.findings.iter().enumerate() {
        let mask = finding.mask.decode().unwrap().resize_nearest(rows, cols);
        let bit = |i: usize| pixels[i / 8] >> (i % 8) & 1;
        let found = (0..rows * cols).map(|i| bit(frame * rows * cols + i)).collect();
        assert_eq!(Mask::from_data(rows, cols, found), mask, "frame {frame}");
    }
    assert_eq!(text(&object, tags::SEGMENTS_OVERLAP), "YES");
}

#[test]
fn frames_that_end_inside_a_byte_are_not_padded() {
    let mut envelope = result();
    let (rows, cols) = (5, 5);
    (envelope.image.rows, envelope.image.cols) = (rows, cols);
    let masks = [Mask::from_fn(rows, cols, |r, _| r == 0), Mask::from_fn(rows, cols, |_, c| c == 4)];
    envelope.findings.truncate(2);
    for (finding, mask) in envelope.findings.iter_mut().zip(&masks) {
        finding.mask = Rle::encode(mask);
    }
    let object = segmentation(&envelope).unwrap();
    let pixels = object.element(tags::PIXEL_DATA).unwrap().to_bytes().unwrap().into_owned();
    assert_eq!(pixels.len(), 8, "50 bits, to even length");
    let bits: Vec<u8> = (0..50).map(|i| pixels[i / 8] >> (i % 8) & 1).collect();
    assert_eq!(bits, [masks[0].data(), masks[1].data()].concat());
}

#[test]
fn the_same_result_is_the_same_object_and_another_is_not() {
    let envelope = result();
    let replay = ResultEnvelope { replayed: true, ..envelope.clone() };
    for make in [segmentation, capture] {
        let bytes = |envelope: &ResultEnvelope| file(make(envelope).unwrap()).unwrap();
        assert_eq!(bytes(&envelope), bytes(&replay));
    }
    let uid = |object: InMemDicomObject| text(&object, tags::SOP_INSTANCE_UID);
    let seg = uid(segmentation(&envelope).unwrap());
    assert!(seg.starts_with("2.25.") && seg.len() <= 64);
    assert_ne!(seg, uid(capture(&envelope).unwrap()));
}

#[test]
fn nothing_is_made_up_of_patients_and_frames_of_reference() {
    let object = segmentation(&result()).unwrap();
    for tag in [tags::PATIENT_NAME, tags::PATIENT_ID, tags::ACCESSION_NUMBER] {
        assert_eq!(text(&object, tag), "");
    }
    assert!(object.element(tags::FRAME_OF_REFERENCE_UID).is_err());
    assert_eq!(text(&object, tags::STUDY_INSTANCE_UID), "1.2.3");
}

#[test]
fn what_a_pacs_could_not_find_is_refused_with_the_reason() {
    let refusal = |change: fn(&mut ResultEnvelope)| {
        let mut envelope = result();
        change(&mut envelope);
        assert!(capture(&envelope).is_err());
        segmentation(&envelope).unwrap_err()
    };
    assert!(matches!(refusal(|e| e.image.study_instance_uid = None), ObjectError::NoReference(_)));
    assert!(matches!(refusal(|e| e.image.series_instance_uid = None), ObjectError::NoReference(_)));
    assert!(matches!(refusal(|e| e.image.sop_class_uid = None), ObjectError::NoSopClass));
    assert!(matches!(refusal(|e| e.findings.clear()), ObjectError::NoFindings));
    assert!(matches!(refusal(|e| e.image.rows = 70_000), ObjectError::TooLarge { .. }));
    assert!(matches!(
        refusal(|e| (e.image.rows, e.image.cols) = (60_000, 60_000)),
        ObjectError::TooLarge { .. }
    ));
}
