use std::path::PathBuf;

use dicom_core::value::{C, DataSetSequence, Value};
use dicom_core::{DataElement, Length, PrimitiveValue, Tag, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_object::InMemDicomObject;
use dicom_transfer_syntax_registry::entries;
use proptest::prelude::*;
use shared::pixel::{Photometric, PixelFrame, VoiApplied};

use crate::decode::fixtures::encapsulate;
use crate::decode::{DecodeError, DecodeLimits, Decoded, decode_bytes};
use crate::specimen::{dataset, write};

const ROWS: usize = 4;
const COLS: usize = 6;

fn frame() -> PixelFrame {
    let samples = (0..ROWS * COLS).map(|i| (i * 2849 % 65_536) as u16).collect();
    PixelFrame::new(ROWS, COLS, samples).unwrap()
}

/// A DX object of [`frame`], changed.
fn object(change: impl FnOnce(&mut InMemDicomObject)) -> InMemDicomObject {
    let mut object = dataset(&frame(), &"1.2.840.99.7".parse().unwrap());
    text(&mut object, tags::PATIENT_NAME, VR::PN, "DOE^JANE");
    change(&mut object);
    object
}

/// Stored values of `bits` bits without any transform.
fn plain(samples: &[u16], bits: u16) -> InMemDicomObject {
    object(|o| {
        for tag in [
            tags::WINDOW_CENTER,
            tags::WINDOW_WIDTH,
            tags::VOILUT_FUNCTION,
            tags::RESCALE_INTERCEPT,
            tags::RESCALE_SLOPE,
            tags::PRESENTATION_LUT_SHAPE,
        ] {
            o.remove_element(tag);
        }
        word(o, tags::ROWS, 1);
        word(o, tags::COLUMNS, samples.len() as u16);
        word(o, tags::BITS_STORED, bits);
        word(o, tags::HIGH_BIT, bits - 1);
        o.put(DataElement::new(tags::PIXEL_DATA, VR::OW, PrimitiveValue::U16(samples.into())));
    })
}

fn text(object: &mut InMemDicomObject, tag: Tag, vr: VR, value: &str) {
    let values: C<String> = value.split('\\').map(str::to_owned).collect();
    object.put(DataElement::new(tag, vr, PrimitiveValue::Strs(values)));
}

fn word(object: &mut InMemDicomObject, tag: Tag, value: u16) {
    object.put(DataElement::new(tag, VR::US, PrimitiveValue::from(value)));
}

fn window(object: &mut InMemDicomObject, center: &str, width: &str) {
    text(object, tags::WINDOW_CENTER, VR::DS, center);
    text(object, tags::WINDOW_WIDTH, VR::DS, width);
}

fn table(object: &mut InMemDicomObject, tag: Tag, first: u16, bits: u16, entries: &[u16]) {
    let descriptor = PrimitiveValue::U16([entries.len() as u16, first, bits].into_iter().collect());
    let item = InMemDicomObject::from_element_iter([
        DataElement::new(tags::LUT_DESCRIPTOR, VR::US, descriptor),
        DataElement::new(tags::LUT_DATA, VR::OW, PrimitiveValue::U16(entries.into())),
    ]);
    let items = DataSetSequence::new(vec![item], Length::UNDEFINED);
    object.put(DataElement::new(tag, VR::SQ, Value::Sequence(items)));
}

fn decode(object: InMemDicomObject) -> Result<Decoded, DecodeError> {
    decode_bytes(&write(object, uids::EXPLICIT_VR_LITTLE_ENDIAN), &DecodeLimits::default())
}

fn samples(object: InMemDicomObject) -> Vec<u16> {
    decode(object).unwrap().frame.samples().to_vec()
}

fn refusal(change: impl FnOnce(&mut InMemDicomObject)) -> DecodeError {
    decode(object(change)).unwrap_err()
}

#[test]
fn pixels_identity_and_time_come_through() {
    let decoded = decode(object(|o| {
        text(o, tags::STUDY_INSTANCE_UID, VR::UI, "1.2.3");
        text(o, tags::SERIES_INSTANCE_UID, VR::UI, "../../etc");
        text(o, tags::ACQUISITION_DATE, VR::DA, "20261123");
        text(o, tags::ACQUISITION_TIME, VR::TM, "140507");
        text(o, tags::TIMEZONE_OFFSET_FROM_UTC, VR::SH, "+0200");
    }))
    .unwrap();
    assert_eq!(decoded.frame, frame());
    assert_eq!(decoded.image.sop_instance_uid.as_str(), "1.2.840.99.7");
    assert_eq!(decoded.image.study_instance_uid.unwrap().as_str(), "1.2.3");
    assert_eq!(decoded.image.series_instance_uid, None, "a malformed UID is none");
    assert_eq!(decoded.image.voi_applied, VoiApplied::Window);
    assert_eq!(decoded.acquired_at.unwrap().to_string(), "2026-11-23T12:05:07Z");
}

#[test]
fn every_native_encoding_gives_the_same_pixels() {
    for syntax in [
        uids::IMPLICIT_VR_LITTLE_ENDIAN,
        uids::EXPLICIT_VR_LITTLE_ENDIAN,
        uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
        entries::EXPLICIT_VR_BIG_ENDIAN.uid(),
    ] {
        let bytes = write(object(|_| ()), syntax);
        let decoded = decode_bytes(&bytes, &DecodeLimits::default()).unwrap();
        assert_eq!(decoded.frame, frame(), "{syntax}");
        if syntax != uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN {
            for start in [128, 132] {
                let decoded = decode_bytes(&bytes[start..], &DecodeLimits::default()).unwrap();
                assert_eq!(decoded.frame, frame(), "{syntax} from byte {start}");
            }
        }
    }
}

#[test]
fn a_bare_data_set_decodes() {
    for syntax in [
        entries::IMPLICIT_VR_LITTLE_ENDIAN.erased(),
        entries::EXPLICIT_VR_LITTLE_ENDIAN.erased(),
        entries::EXPLICIT_VR_BIG_ENDIAN.erased(),
    ] {
        let mut bytes = Vec::new();
        object(|_| ()).write_dataset_with_ts(&mut bytes, &syntax).unwrap();
        let decoded = decode_bytes(&bytes, &DecodeLimits::default()).unwrap();
        assert_eq!(decoded.frame, frame(), "{}", syntax.uid());
    }
}

#[test]
fn an_object_without_uid_is_named_by_its_content() {
    let mut bytes = Vec::new();
    let nameless = object(|o| {
        o.remove_element(tags::SOP_INSTANCE_UID);
    });
    nameless.write_dataset_with_ts(&mut bytes, &entries::EXPLICIT_VR_LITTLE_ENDIAN.erased()).unwrap();
    let uid = decode_bytes(&bytes, &DecodeLimits::default()).unwrap().image.sop_instance_uid;
    assert!(uid.as_str().starts_with("2.25."), "{uid}");
}

#[test]
fn monochrome1_is_inverted_once() {
    let mut object = plain(&[0, 255], 8);
    window(&mut object, "128", "256");
    text(&mut object, tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME1");
    let decoded = decode(object).unwrap();
    assert_eq!(decoded.frame.samples(), [65_535, 0]);
    assert_eq!(decoded.image.photometric, Photometric::Monochrome1);
}

#[test]
fn presentation_lut_shape_decides() {
    for (shape, expected) in [("IDENTITY", [0, 65_535]), ("INVERSE", [65_535, 0])] {
        let mut object = plain(&[0, 255], 8);
        window(&mut object, "128", "256");
        text(&mut object, tags::PRESENTATION_LUT_SHAPE, VR::CS, shape);
        assert_eq!(samples(object), expected, "{shape}");
    }
}

#[test]
fn a_negative_slope_inverts() {
    let mut object = plain(&[0, 100], 12);
    text(&mut object, tags::RESCALE_SLOPE, VR::DS, "-1");
    text(&mut object, tags::RESCALE_INTERCEPT, VR::DS, "100");
    window(&mut object, "50.5", "101");
    assert_eq!(samples(object), [65_535, 0]);
}

#[test]
fn the_first_of_several_windows_is_used() {
    let mut object = plain(&[0, 99, 4000], 12);
    window(&mut object, "50\\2000", "100\\4000");
    assert_eq!(samples(object), [0, 65_535, 65_535]);
}

#[test]
fn a_window_without_width_counts_as_none() {
    let mut object = plain(&[10, 20], 12);
    window(&mut object, "50", "0");
    let decoded = decode(object).unwrap();
    assert_eq!(decoded.image.voi_applied, VoiApplied::Percentile);
    assert_eq!(decoded.frame.samples(), [0, 65_535]);
}

#[test]
fn sigmoid_is_monotonic_and_centred() {
    let mut object = plain(&[0, 50, 100], 12);
    window(&mut object, "50", "20");
    text(&mut object, tags::VOILUT_FUNCTION, VR::CS, "SIGMOID");
    let out = samples(object);
    assert!(out[0] < 100 && out[1].abs_diff(32_768) <= 1 && out[2] > 65_000, "{out:?}");
}

#[test]
fn a_voi_table_wins_over_a_window() {
    let mut object = plain(&[9, 10, 11, 12], 12);
    window(&mut object, "50", "100");
    table(&mut object, tags::VOILUT_SEQUENCE, 10, 12, &[0, 4095]);
    let decoded = decode(object).unwrap();
    assert_eq!(decoded.frame.samples(), [0, 0, 65_535, 65_535]);
    assert_eq!(decoded.image.voi_applied, VoiApplied::Lut);
}

#[test]
fn a_modality_table_comes_before_the_window() {
    let mut object = plain(&[0, 1, 2], 8);
    table(&mut object, tags::MODALITY_LUT_SEQUENCE, 0, 16, &[1000, 0, 500]);
    window(&mut object, "500.5", "1001");
    let out = samples(object);
    assert_eq!((out[0], out[1]), (65_535, 0));
    assert!(out[2].abs_diff(32_768) < 70, "{out:?}");
}

#[test]
fn signed_samples_are_sign_extended() {
    // −2, −1, 0, 1 in 12 bits.
    let mut object = plain(&[0xFFE, 0xFFF, 0, 1], 12);
    word(&mut object, tags::PIXEL_REPRESENTATION, 1);
    window(&mut object, "-0.5", "3");
    text(&mut object, tags::VOILUT_FUNCTION, VR::CS, "LINEAR_EXACT");
    let out = samples(object);
    assert_eq!((out[0], out[3]), (0, 65_535));
    assert!(out.is_sorted());
}

#[test]
fn high_bit_shifts_and_bits_beside_are_ignored() {
    // Twelve bits on top of the word, rubbish below.
    let mut object = plain(&[0x000F, 0xFFF3], 12);
    word(&mut object, tags::HIGH_BIT, 15);
    window(&mut object, "2048", "4096");
    assert_eq!(samples(object), [0, 65_535]);
}

#[test]
fn eight_bits_are_bytes() {
    let mut object = plain(&[0], 8);
    word(&mut object, tags::BITS_ALLOCATED, 8);
    word(&mut object, tags::COLUMNS, 4);
    window(&mut object, "128", "256");
    object.put(DataElement::new(
        tags::PIXEL_DATA,
        VR::OB,
        PrimitiveValue::U8([0, 85, 170, 255].into_iter().collect()),
    ));
    assert_eq!(samples(object), [0, 21_845, 43_690, 65_535]);
}

/// Two pixels in colour, whose values are still to be put in.
fn rgb_object(planar: u16) -> InMemDicomObject {
    let mut object = plain(&[0], 8);
    text(&mut object, tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "RGB");
    word(&mut object, tags::SAMPLES_PER_PIXEL, 3);
    word(&mut object, tags::PLANAR_CONFIGURATION, planar);
    word(&mut object, tags::BITS_ALLOCATED, 8);
    word(&mut object, tags::COLUMNS, 2);
    object
}

#[test]
fn colour_becomes_luminance() {
    let rgb = |planar: u16, bytes: [u8; 6]| {
        let mut object = rgb_object(planar);
        object.put(DataElement::new(
            tags::PIXEL_DATA,
            VR::OB,
            PrimitiveValue::U8(bytes.into_iter().collect()),
        ));
        decode(object).unwrap()
    };
    let interleaved = rgb(0, [255, 255, 255, 0, 255, 0]);
    assert_eq!(interleaved.frame.samples(), [65_535, 182 * 257]);
    assert_eq!(interleaved.image.voi_applied, VoiApplied::None);
    assert_eq!(rgb(1, [255, 0, 255, 255, 255, 0]).frame, interleaved.frame);
}

#[test]
fn rle_decodes() {
    let mut object = plain(&[0; 4], 16);
    window(&mut object, "32767.5", "65535");
    text(&mut object, tags::VOILUT_FUNCTION, VR::CS, "LINEAR_EXACT");
    // Two segments, high bytes first: a run of four 0x12, then four literals (PS3.5 annex G).
    let mut fragment = [2_u32, 64, 66].iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
    fragment.resize(64, 0);
    fragment.extend([0xFD, 0x12, 3, 1, 2, 3, 4, 0]);
    encapsulate(&mut object, vec![fragment]);
    let bytes = write(object, uids::RLE_LOSSLESS);
    let decoded = decode_bytes(&bytes, &DecodeLimits::default()).unwrap();
    assert_eq!(decoded.frame.samples(), [0x1201, 0x1202, 0x1203, 0x1204]);
}

/// [`frame`], compressed.
fn jpeg_ls_stream() -> Vec<u8> {
    let mut stream = Vec::new();
    let mut options = jpegls::EncodeOptions::default();
    options.precision = Some(16);
    jpegls::encode_with_options(frame().samples(), COLS as u32, ROWS as u32, &options, &mut stream).unwrap();
    stream
}

fn jpeg_ls_object(fragments: usize) -> InMemDicomObject {
    let mut stream = jpeg_ls_stream();
    stream.resize(stream.len().next_multiple_of(2), 0);
    let middle = stream.len() / 4 * 2;
    let parts = match fragments {
        1 => vec![stream],
        _ => vec![stream[..middle].to_vec(), stream[middle..].to_vec()],
    };
    object(|o| encapsulate(o, parts))
}

#[test]
fn jpeg_ls_decodes_also_from_several_fragments() {
    for fragments in [1, 2] {
        let bytes = write(jpeg_ls_object(fragments), uids::JPEGLS_LOSSLESS);
        assert_eq!(decode_bytes(&bytes, &DecodeLimits::default()).unwrap().frame, frame());
    }
}

/// [`frame`] as Pillow compresses it without loss (OpenJPEG 2.5).
const JPEG_2000_GREY: [u8; 122] = [
    0xFF, 0x4F, 0xFF, 0x51, 0x00, 0x29, 0x00, 0x00, 0x00, 0x00, 0x00, 0x06, 0x00, 0x00, 0x00, 0x04, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x06, 0x00, 0x00, 0x00, 0x04, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0x0F, 0x01, 0x01, 0xFF, 0x52, 0x00, 0x0C, 0x00, 0x00,
    0x00, 0x01, 0x00, 0x01, 0x04, 0x04, 0x00, 0x01, 0xFF, 0x5C, 0x00, 0x07, 0x40, 0x80, 0x88, 0x88, 0x90,
    0xFF, 0x90, 0x00, 0x0A, 0x00, 0x00, 0x00, 0x00, 0x00, 0x34, 0x00, 0x01, 0xFF, 0x93, 0xDF, 0xF8, 0x90,
    0x68, 0x07, 0xC8, 0x1A, 0x21, 0xC3, 0x05, 0x94, 0xFA, 0x9A, 0xDD, 0x56, 0xDF, 0xC2, 0xC0, 0xFF, 0x00,
    0x58, 0xFF, 0x61, 0x81, 0x00, 0x11, 0x43, 0x1C, 0x03, 0x57, 0x0B, 0x3B, 0xA9, 0x95, 0x55, 0xD9, 0x9E,
    0x63, 0xFF, 0xD9,
];

/// Some other pixels of the same size in two tiles, without levels.
pub(super) const JPEG_2000_TILES: [u8; 156] = [
    0xFF, 0x4F, 0xFF, 0x51, 0x00, 0x29, 0x00, 0x00, 0x00, 0x00, 0x00, 0x06, 0x00, 0x00, 0x00, 0x04, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x03, 0x00, 0x00, 0x00, 0x04, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0x0F, 0x01, 0x01, 0xFF, 0x52, 0x00, 0x0C, 0x00, 0x00,
    0x00, 0x01, 0x00, 0x00, 0x04, 0x04, 0x00, 0x01, 0xFF, 0x5C, 0x00, 0x04, 0x40, 0x80, 0xFF, 0x90, 0x00,
    0x0A, 0x00, 0x00, 0x00, 0x00, 0x00, 0x2D, 0x00, 0x01, 0xFF, 0x93, 0xDF, 0xF8, 0x90, 0xD8, 0x12, 0x17,
    0xB1, 0xD6, 0x54, 0x77, 0x21, 0xC6, 0x22, 0x33, 0xE9, 0x94, 0x5C, 0xEA, 0x38, 0x6E, 0xDF, 0x4F, 0xF1,
    0x57, 0xB6, 0x1C, 0x9A, 0xD3, 0x56, 0xDE, 0x7F, 0xFF, 0x90, 0x00, 0x0A, 0x00, 0x01, 0x00, 0x00, 0x00,
    0x2C, 0x00, 0x01, 0xFF, 0x93, 0xCF, 0xFC, 0x30, 0x68, 0x0A, 0xDC, 0x97, 0xD5, 0x58, 0xED, 0xF0, 0xDB,
    0xE7, 0x34, 0x0D, 0xB5, 0x4F, 0xE0, 0x64, 0x15, 0xA9, 0x23, 0x1E, 0x78, 0xF4, 0x44, 0x85, 0x5C, 0x87,
    0xD0, 0xFF, 0xD9,
];

/// White and green, likewise, without a colour transform.
const JPEG_2000_COLOUR: [u8; 106] = [
    0xFF, 0x4F, 0xFF, 0x51, 0x00, 0x2F, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00, 0x01, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x03, 0x07, 0x01, 0x01, 0x07, 0x01, 0x01, 0x07, 0x01, 0x01,
    0xFF, 0x52, 0x00, 0x0C, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x04, 0x04, 0x00, 0x01, 0xFF, 0x5C, 0x00,
    0x04, 0x40, 0x40, 0xFF, 0x90, 0x00, 0x0A, 0x00, 0x00, 0x00, 0x00, 0x00, 0x21, 0x00, 0x01, 0xFF, 0x93,
    0xDF, 0x80, 0x20, 0x0B, 0xB2, 0x8A, 0x7F, 0xCF, 0xB4, 0x08, 0x01, 0xAF, 0xDF, 0x80, 0x20, 0x0B, 0xB2,
    0x8A, 0x7F, 0xFF, 0xD9,
];

/// A file of an image of [`frame`]'s size.
pub(super) fn jpeg_2000_file(stream: &[u8]) -> Vec<u8> {
    write(object(|o| encapsulate(o, vec![stream.to_vec()])), uids::JPEG2000_LOSSLESS)
}

#[test]
fn jpeg_2000_decodes_grey_and_colour() {
    let decoded = decode_bytes(&jpeg_2000_file(&JPEG_2000_GREY), &DecodeLimits::default()).unwrap();
    assert_eq!(decoded.frame, frame());

    let mut colour = rgb_object(0);
    encapsulate(&mut colour, vec![JPEG_2000_COLOUR.to_vec()]);
    let decoded = decode_bytes(&write(colour, uids::JPEG2000), &DecodeLimits::default()).unwrap();
    assert_eq!(decoded.frame.samples(), [65_535, 182 * 257]);
}

/// Left dark, right bright.
fn jpeg_baseline_object(cut: usize) -> InMemDicomObject {
    let gray = image::GrayImage::from_fn(16, 8, |x, _| image::Luma([if x < 8 { 30 } else { 220 }]));
    let mut stream = std::io::Cursor::new(Vec::new());
    gray.write_to(&mut stream, image::ImageFormat::Jpeg).unwrap();
    let mut object = plain(&[0], 8);
    word(&mut object, tags::BITS_ALLOCATED, 8);
    word(&mut object, tags::ROWS, 8);
    word(&mut object, tags::COLUMNS, 16);
    window(&mut object, "128", "256");
    let mut stream = stream.into_inner();
    stream.truncate(stream.len().saturating_sub(cut));
    encapsulate(&mut object, vec![stream]);
    object
}

#[test]
fn jpeg_baseline_decodes() {
    let bytes = write(jpeg_baseline_object(0), uids::JPEG_BASELINE8_BIT);
    let decoded = decode_bytes(&bytes, &DecodeLimits::default()).unwrap();
    let near = |at: usize, value: u16| decoded.frame.samples()[at].abs_diff(value * 257) < 3 * 257;
    assert!(near(0, 30) && near(15, 220));
}

/// Half a radiograph must not pass for one. The marker of the end, two bytes, says nothing about pixels.
#[test]
fn compressed_images_that_are_cut_off_are_refused() {
    let taken = |object: InMemDicomObject, syntax: &str| {
        decode_bytes(&write(object, syntax), &DecodeLimits::default()).is_ok()
    };
    let cut_short = |stream: &[u8], cut: usize| {
        let kept = stream.len().saturating_sub(cut);
        object(|o| encapsulate(o, vec![stream[..kept].to_vec()]))
    };
    let jpeg_ls = jpeg_ls_stream();
    assert!(taken(cut_short(&JPEG_2000_TILES, 0), uids::JPEG2000));
    for cut in (4..120).step_by(2) {
        assert!(!taken(cut_short(&JPEG_2000_GREY, cut), uids::JPEG2000), "JPEG 2000 without {cut} bytes");
        assert!(!taken(cut_short(&JPEG_2000_TILES, cut), uids::JPEG2000), "tiles without {cut} bytes");
        assert!(!taken(cut_short(&jpeg_ls, cut), uids::JPEGLS_LOSSLESS), "JPEG-LS without {cut} bytes");
        assert!(!taken(jpeg_baseline_object(cut), uids::JPEG_BASELINE8_BIT), "JPEG without {cut} bytes");
    }
}

#[test]
fn a_codestream_of_another_size_is_refused_before_it_is_decoded() {
    let mut object = jpeg_ls_object(1);
    word(&mut object, tags::ROWS, 5);
    let error = decode_bytes(&write(object, uids::JPEGLS_LOSSLESS), &DecodeLimits::default()).unwrap_err();
    assert!(
        error.to_string().contains("it is 4 × 6 with 1 samples a pixel, the DICOM header says 5 × 6"),
        "{error}"
    );
    let error =
        decode_bytes(&write(jpeg_ls_object(1), uids::JPEG2000), &DecodeLimits::default()).unwrap_err();
    assert!(error.to_string().contains("no valid frame header"), "{error}");
}

#[test]
fn a_transfer_syntax_without_decoder_is_named() {
    let bytes = write(object(|o| encapsulate(o, vec![vec![0; 8]])), uids::MPEG2MPML);
    let error = decode_bytes(&bytes, &DecodeLimits::default()).unwrap_err();
    assert_eq!(error.code(), "unsupported_transfer_syntax");
    assert!(error.to_string().contains(uids::MPEG2MPML) && error.to_string().contains("MPEG"), "{error}");
}

#[test]
fn what_is_no_single_frame_gray_image_says_why() {
    let error = refusal(|o| text(o, tags::NUMBER_OF_FRAMES, VR::IS, "30"));
    assert!(error.to_string().contains("NumberOfFrames (0028,0008) is 30"), "{error}");
    let error = refusal(|o| text(o, tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "PALETTE COLOR"));
    assert!(error.to_string().contains("PALETTE COLOR"), "{error}");
    let error = refusal(|o| {
        o.remove_element(tags::PIXEL_DATA);
    });
    assert!(error.to_string().contains("no PixelData"), "{error}");
    let error = refusal(|o| {
        o.remove_element(tags::ROWS);
    });
    assert!(error.to_string().contains("no Rows (0028,0010)"), "{error}");
    let error = refusal(|o| word(o, tags::BITS_ALLOCATED, 32));
    assert!(error.to_string().contains("BitsAllocated (0028,0100) is 32"), "{error}");
    let error = refusal(|o| text(o, tags::RESCALE_SLOPE, VR::DS, "0"));
    assert!(error.to_string().contains("Rescale Slope"), "{error}");
}

#[test]
fn sizes_beyond_the_limits_are_refused_whatever_the_pixel_data() {
    let error = refusal(|o| {
        word(o, tags::ROWS, 65_535);
        word(o, tags::COLUMNS, 65_535);
    });
    assert_eq!(error.code(), "too_large");
}

#[test]
fn pixel_data_that_is_too_short_says_by_how_much() {
    let error = refusal(|o| word(o, tags::ROWS, 5));
    assert!(error.to_string().contains("holds 48 bytes, rows and columns need 60"), "{error}");
}

#[test]
fn a_claim_beyond_the_end_of_the_file_is_refused() {
    let mut bytes = write(object(|_| ()), uids::EXPLICIT_VR_LITTLE_ENDIAN);
    // A private OB element of almost 4 GiB in front of the pixel data, whose header is 12 bytes.
    let at = bytes.len() - ROWS * COLS * 2 - 12;
    let claim = [0x29, 0, 0x10, 0x10, b'O', b'B', 0, 0, 0xF0, 0xFF, 0xFF, 0xFF];
    bytes.splice(at..at, claim);
    let error = decode_bytes(&bytes, &DecodeLimits::default()).unwrap_err();
    assert!(error.to_string().contains("(0029,1010) claims 4294967280 bytes where 60 are left"), "{error}");
}

#[test]
fn deep_nesting_is_refused() {
    let mut item = InMemDicomObject::new_empty();
    for _ in 0..40 {
        let items = DataSetSequence::new(vec![item], Length::UNDEFINED);
        item = InMemDicomObject::from_element_iter([DataElement::new(
            tags::REFERENCED_STUDY_SEQUENCE,
            VR::SQ,
            Value::Sequence(items),
        )]);
    }
    let nested = item.take(tags::REFERENCED_STUDY_SEQUENCE).unwrap();
    let error = refusal(|o| {
        o.put(nested);
    });
    assert!(error.to_string().contains("nested sequences"), "{error}");
}

#[test]
fn a_deflate_bomb_is_stopped_at_the_limit() {
    let zeros = object(|o| {
        let bytes = PrimitiveValue::U8(vec![0; 4 << 20].into());
        o.put(DataElement::new(Tag(0x0029, 0x1010), VR::OB, bytes));
    });
    let bytes = write(zeros, uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN);
    assert!(bytes.len() < 100_000);
    let limits = DecodeLimits { max_file_bytes: 1 << 20, ..DecodeLimits::default() };
    assert_eq!(decode_bytes(&bytes, &limits).unwrap_err().code(), "too_large");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Damage gives an image or an error that names no patient, never a crash of the process.
    #[test]
    fn damaged_files_are_survived(
        compressed in any::<bool>(),
        cut in 0.0..=1.0_f64,
        flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
    ) {
        let mut bytes = if compressed {
            write(jpeg_ls_object(1), uids::JPEGLS_LOSSLESS)
        } else {
            write(object(|_| ()), uids::EXPLICIT_VR_LITTLE_ENDIAN)
        };
        bytes.truncate((bytes.len() as f64 * cut) as usize);
        for (at, value) in flips {
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
        }
        if let Err(error) = decode_bytes(&bytes, &DecodeLimits::default()) {
            let text = error.to_string();
            prop_assert!(!text.contains("DOE") && !text.contains("JANE"), "{text}");
        }
    }
}

/// Folder of real radiographs: `CHEXSEG_DATA`, else beside the checkout.
fn data() -> PathBuf {
    std::env::var_os("CHEXSEG_DATA")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/data"), PathBuf::from)
}

#[test]
fn real_files_of_every_compression_decode() {
    let folder = data().join("dicom");
    if !folder.is_dir() {
        println!("skipped: no real DICOM files at {}", folder.display());
        return;
    }
    let files: Vec<PathBuf> = crate::inputs::collect(&[folder]).into_iter().map(Result::unwrap).collect();
    assert!(files.len() >= 9, "{files:?}");
    for path in files {
        let decoded = crate::decode::decode_file(&path, &DecodeLimits::default())
            .unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        // An image, not noise or a constant: it uses the range and neighbours are alike.
        let (samples, cols) = (decoded.frame.samples(), decoded.frame.cols());
        let mean = |values: &mut dyn Iterator<Item = f64>| {
            let (sum, n) = values.fold((0.0, 0.0), |(s, n), v| (s + v, n + 1.0));
            sum / n
        };
        let steps =
            samples.chunks_exact(cols).flat_map(|row| row.windows(2)).map(|w| f64::from(w[0].abs_diff(w[1])));
        let roughness = mean(&mut steps.into_iter());
        let middle = mean(&mut samples.iter().map(|&v| f64::from(v)));
        let spread = mean(&mut samples.iter().map(|&v| (f64::from(v) - middle).abs()));
        println!(
            "{}: {:?} {:?} mean {middle:.0} spread {spread:.0} roughness {roughness:.0}",
            path.display(),
            decoded.image.photometric,
            decoded.image.voi_applied
        );
        assert!(spread > 3000.0, "{}: flat", path.display());
        assert!(roughness < spread / 4.0, "{}: noise", path.display());
    }
}

#[test]
fn pixel_data_of_a_data_set_without_a_file_is_not_read_whatever_it_claims() {
    // Transaction UID, and 4 GB of pixel data of which there is nothing.
    let mut bytes = b"\x08\0\x95\x11UI\x04\x001.2\0".to_vec();
    bytes.extend(b"\xE0\x7F\x10\0OB\0\0\xF8\xFF\xFF\xFF");
    let object = super::data_set(&bytes, uids::EXPLICIT_VR_LITTLE_ENDIAN).unwrap();
    assert_eq!(object.iter().count(), 1);
}

#[test]
fn numbers_that_are_cut_off_are_refused_before_what_follows_is_read_out_of_step() {
    let bytes = b"\x08\0\0\0UL\x03\0\0\0\0\x08\0\x16\0UI\0\0";
    let error = super::data_set(bytes, uids::EXPLICIT_VR_LITTLE_ENDIAN).unwrap_err().to_string();
    assert!(error.contains("of VR UL has a length of 3"), "{error}");
}

#[test]
fn an_rle_header_gets_no_memory_for_what_it_claims() {
    let mut object = plain(&[0; 4], 16);
    let mut fragment = u32::MAX.to_le_bytes().to_vec();
    fragment.resize(80, 0);
    encapsulate(&mut object, vec![fragment]);
    let error = decode_bytes(&write(object, uids::RLE_LOSSLESS), &DecodeLimits::default()).unwrap_err();
    assert!(error.to_string().contains("4294967295 segments"), "{error}");
}
