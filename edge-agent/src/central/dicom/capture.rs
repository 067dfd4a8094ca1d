use dicom_core::{PrimitiveValue, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_object::InMemDicomObject;
use dicom_object::mem::InMemElement;
use image::RgbImage;
use shared::mask::{Layer, draw_overlay};
use shared::measure::draw_measurements;
use shared::message::ResultEnvelope;
use shared::pixel::PixelFrame;

use super::attributes::{common, source_image, text, unknown, word};
use super::palette::color;
use super::{ObjectError, Source};

/// Longest side of the picture in pixels.
const SIDE: usize = 1024;
/// Most characters of VR LT.
const MAX_COMMENT: usize = 10_240;

/// A Secondary Capture (PS3.3 A.8) of the masks and measurements in colour, longer side at most 1024 pixels. The ground
/// is black: radiographs do not cross the wire. What each colour means stands in Image Comments.
///
/// # Errors
/// [`ObjectError`] if the result lacks what the object must refer to, or is too large.
pub fn capture(envelope: &ResultEnvelope) -> Result<InMemDicomObject, ObjectError> {
    let source = Source::of(envelope)?;
    let picture = draw(envelope, None)?;
    let mut object = InMemDicomObject::from_element_iter(common(
        envelope,
        &source,
        uids::SECONDARY_CAPTURE_IMAGE_STORAGE,
        "capture",
        ("OT", "9002"),
    ));
    let legend: String = legend(envelope).chars().take(MAX_COMMENT).collect();
    let elements = [
        // Type 2C, and no laterality crosses the wire.
        unknown(tags::LATERALITY, VR::CS),
        text(tags::CONVERSION_TYPE, VR::CS, "WSD"),
        text(tags::IMAGE_TYPE, VR::CS, "DERIVED\\SECONDARY"),
        text(
            tags::DERIVATION_DESCRIPTION,
            VR::ST,
            "Masks and measurements of a segmentation model, without the image",
        ),
        source_image(&source, false),
        text(tags::IMAGE_COMMENTS, VR::LT, &legend),
        text(tags::BURNED_IN_ANNOTATION, VR::CS, "NO"),
        text(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "RGB"),
        word(tags::SAMPLES_PER_PIXEL, 3),
        word(tags::PLANAR_CONFIGURATION, 0),
        word(tags::ROWS, picture.height() as u16),
        word(tags::COLUMNS, picture.width() as u16),
        word(tags::BITS_ALLOCATED, 8),
        word(tags::BITS_STORED, 8),
        word(tags::HIGH_BIT, 7),
        word(tags::PIXEL_REPRESENTATION, 0),
        InMemElement::new(tags::PIXEL_DATA, VR::OB, PrimitiveValue::from(even(picture.into_raw()))),
    ];
    for element in elements {
        object.put(element);
    }
    Ok(object)
}

/// Masks and measurements over the radiograph, or over black where there is none; longer side at most 1024 pixels.
///
/// # Errors
/// If a mask is damaged.
pub fn draw(envelope: &ResultEnvelope, radiograph: Option<&PixelFrame>) -> Result<RgbImage, ObjectError> {
    let image = &envelope.image;
    let longer = image.rows.max(image.cols);
    let fit = |side: usize| if longer <= SIDE { side } else { (side * SIDE / longer).max(1) };
    let (rows, cols) = (fit(image.rows), fit(image.cols));
    let black;
    let frame = match radiograph {
        Some(frame) => frame,
        None => {
            black = PixelFrame::new(rows, cols, vec![0; rows * cols])
                .map_err(|_| ObjectError::TooLarge { rows, cols })?;
            &black
        }
    };
    let masks: Vec<_> = envelope.findings.iter().map(|f| f.mask.decode()).collect::<Result<_, _>>()?;
    let layers: Vec<_> = masks.iter().enumerate().map(|(i, mask)| Layer { mask, color: color(i) }).collect();
    let mut picture = draw_overlay(frame, &layers, SIDE);
    draw_measurements(&mut picture, &envelope.measurements, (image.rows, image.cols));
    Ok(picture)
}

/// What each colour means, and what was measured and noted.
fn legend(envelope: &ResultEnvelope) -> String {
    let mut lines: Vec<String> = envelope
        .findings
        .iter()
        .enumerate()
        .map(|(i, f)| format!("{} {}: score {:.2}, {} px", color(i), f.code.meaning, f.score, f.area_px))
        .collect();
    lines.extend(envelope.measurements.cardiothoracic_ratio.iter().map(ToString::to_string));
    lines.extend(envelope.quality.iter().map(|note| note.message.clone()));
    lines.push("For research; not a medical device.".into());
    lines.join("\r\n")
}

fn even(mut bytes: Vec<u8>) -> Vec<u8> {
    if bytes.len() % 2 == 1 {
        bytes.push(0);
    }
    bytes
}
