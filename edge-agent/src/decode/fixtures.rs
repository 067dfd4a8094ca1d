//! JPEG 2000 images that `fixtures/make.py` made, as DICOM files.

use dicom_core::value::{PixelFragmentSequence, Value};
use dicom_core::{DataElement, PrimitiveValue, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_object::InMemDicomObject;
use shared::pixel::PixelFrame;

use crate::specimen::{dataset, write};

/// A codestream and the header that it belongs to.
#[derive(Clone, Copy)]
pub(crate) struct Fixture {
    pub(crate) stream: &'static [u8],
    pub(crate) rows: usize,
    pub(crate) cols: usize,
    kind: Kind,
}

#[derive(Clone, Copy)]
enum Kind {
    Grey,
    /// 12 of its 16 bits are stored.
    Shallow,
    Colour,
    /// Of 12 bits.
    Signed,
}

/// Three levels, no loss.
pub(crate) const GREY: Fixture =
    Fixture { stream: include_bytes!("fixtures/grey.j2k"), rows: 101, cols: 77, kind: Kind::Grey };
/// The same, not from the reference grid's origin.
pub(crate) const OFFSET: Fixture = Fixture { stream: include_bytes!("fixtures/offset.j2k"), ..GREY };
/// The same, for a header by which the samples have fewer bits than the codestream.
pub(crate) const SHALLOW: Fixture = Fixture { kind: Kind::Shallow, ..GREY };
/// Two tiles, of which the second has no levels.
pub(crate) const UNEVEN: Fixture =
    Fixture { stream: include_bytes!("fixtures/uneven.j2k"), rows: 48, cols: 128, kind: Kind::Grey };
/// Two levels and the reversible colour transform.
pub(crate) const COLOUR: Fixture =
    Fixture { stream: include_bytes!("fixtures/colour.j2k"), rows: 45, cols: 64, kind: Kind::Colour };
/// Five levels.
pub(crate) const SIGNED: Fixture =
    Fixture { stream: include_bytes!("fixtures/signed.j2k"), rows: 60, cols: 50, kind: Kind::Signed };
/// A radiograph, five levels, with loss.
pub(crate) const PHANTOM: Fixture =
    Fixture { stream: include_bytes!("fixtures/phantom.j2k"), rows: 431, cols: 512, kind: Kind::Grey };

impl Fixture {
    /// As a DICOM file.
    pub(crate) fn file(&self, uid: &str) -> Vec<u8> {
        self.file_of(self.stream, uid)
    }

    /// The same with another codestream.
    pub(crate) fn file_of(&self, stream: &[u8], uid: &str) -> Vec<u8> {
        let frame = PixelFrame::new(self.rows, self.cols, vec![0; self.rows * self.cols]).unwrap();
        let mut object = dataset(&frame, &uid.parse().unwrap());
        let mut word = |tag, value: u16| {
            object.put(DataElement::new(tag, VR::US, PrimitiveValue::from(value)));
        };
        match self.kind {
            Kind::Grey => {}
            Kind::Shallow => {
                word(tags::BITS_STORED, 12);
                word(tags::HIGH_BIT, 11);
            }
            Kind::Colour => {
                word(tags::SAMPLES_PER_PIXEL, 3);
                word(tags::BITS_ALLOCATED, 8);
                word(tags::BITS_STORED, 8);
                word(tags::HIGH_BIT, 7);
                object.put(DataElement::new(
                    tags::PHOTOMETRIC_INTERPRETATION,
                    VR::CS,
                    PrimitiveValue::from("YBR_RCT"),
                ));
            }
            Kind::Signed => {
                word(tags::BITS_STORED, 12);
                word(tags::HIGH_BIT, 11);
                word(tags::PIXEL_REPRESENTATION, 1);
                object.put(DataElement::new(tags::WINDOW_CENTER, VR::DS, PrimitiveValue::from("0")));
                object.put(DataElement::new(tags::WINDOW_WIDTH, VR::DS, PrimitiveValue::from("4096")));
            }
        }
        encapsulate(&mut object, vec![stream.to_vec()]);
        write(object, uids::JPEG2000)
    }
}

/// Puts compressed pixel data into an object.
pub(crate) fn encapsulate(object: &mut InMemDicomObject, fragments: Vec<Vec<u8>>) {
    let fragments = PixelFragmentSequence::new(Vec::<u32>::new(), fragments);
    object.put(DataElement::new(tags::PIXEL_DATA, VR::OB, Value::PixelSequence(fragments)));
}
