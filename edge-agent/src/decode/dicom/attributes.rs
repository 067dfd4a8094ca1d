//! Typed access to the attributes of a data set.

use dicom_core::Tag;
use dicom_encoding::TransferSyntax;
use dicom_object::InMemDicomObject;
use shared::uid::Uid;

use super::super::DecodeError;

/// A data set without its pixel data. An attribute that is absent, empty or of the wrong kind reads as none.
pub(super) struct Attributes<'a>(Source<'a>);

enum Source<'a> {
    Owned(Box<InMemDicomObject>),
    Item(&'a InMemDicomObject),
}

impl Attributes<'_> {
    pub(super) fn read(header: &[u8], syntax: &TransferSyntax) -> Result<Self, DecodeError> {
        let object = InMemDicomObject::read_dataset_with_ts(header, syntax)
            .map_err(|e| DecodeError::Dicom(e.to_string()))?;
        Ok(Self(Source::Owned(Box::new(object))))
    }

    fn object(&self) -> &InMemDicomObject {
        match &self.0 {
            Source::Owned(object) => object,
            Source::Item(object) => object,
        }
    }

    /// The first value as an integer.
    pub(super) fn int(&self, tag: Tag) -> Option<i64> {
        self.ints(tag)?.first().copied()
    }

    /// All values as integers; bytes and words as such.
    pub(super) fn ints(&self, tag: Tag) -> Option<Vec<i64>> {
        self.object().get(tag)?.value().to_multi_int().ok()
    }

    /// The first value as a number.
    pub(super) fn float(&self, tag: Tag) -> Option<f64> {
        self.object().get(tag)?.value().to_multi_float64().ok()?.first().copied()
    }

    /// The first value as text, without padding. Only for terms, dates and UIDs: never for names.
    pub(super) fn text(&self, tag: Tag) -> Option<String> {
        let values = self.object().get(tag)?.value().to_multi_str().ok()?;
        let text = values.first()?.trim_matches([' ', '\0']);
        (!text.is_empty()).then(|| text.to_owned())
    }

    /// A well-formed UID.
    pub(super) fn uid(&self, tag: Tag) -> Option<Uid> {
        self.text(tag)?.parse().ok()
    }

    /// The first item of a sequence.
    pub(super) fn item(&self, tag: Tag) -> Option<Attributes<'_>> {
        self.object().get(tag)?.value().items()?.first().map(|item| Attributes(Source::Item(item)))
    }
}
