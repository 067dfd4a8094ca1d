//! Where things stand in a DICOM file, found without reading values.
//!
//! dicom-rs allocates what an element's header claims and recurses into sequences. This walk comes first and
//! refuses claims beyond the end of the file, deep nesting and floods of elements, so that a file costs no more
//! memory than its own size warrants. It also finds the pixel data, which is then used where it lies.

use std::borrow::Cow;
use std::io::{Cursor, Read};
use std::ops::Range;

use dicom_core::header::Header;
use dicom_core::{Tag, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_encoding::TransferSyntax;
use dicom_encoding::transfer_syntax::{Codec, DataRWAdapter, TransferSyntaxIndex};
use dicom_object::InMemDicomObject;
use dicom_parser::dataset::LazyDataToken;
use dicom_parser::dataset::lazy_read::LazyDataSetReader;
use dicom_parser::stateful::decode::StatefulDecode;
use dicom_transfer_syntax_registry::TransferSyntaxRegistry;
use shared::uid::Uid;

use super::super::{DecodeError, DicomFraming};

/// Everything before the pixel data; private blocks of real units stay far below.
const MAX_HEADER_BYTES: usize = 8 << 20;
const MAX_ELEMENTS: usize = 100_000;
const MAX_DEPTH: usize = 32;
/// Explicit VR Big Endian: retired from the standard, not from archives.
pub(super) const BIG_ENDIAN: &str = "1.2.840.10008.1.2.2";

/// The parts of a file.
pub(super) struct Outline<'a> {
    /// How the data set is encoded.
    pub(super) syntax: &'static TransferSyntax,
    /// The data set.
    pub(super) data: Cow<'a, [u8]>,
    /// End of what stands before the pixel data.
    pub(super) header_end: usize,
    /// The pixel data, if there is any.
    pub(super) pixels: Option<PixelData>,
}

/// Where the pixel data lies within the data set.
pub(super) enum PixelData {
    /// As it is; the range may reach beyond the end of a truncated file.
    Native {
        /// Its bytes.
        range: Range<usize>,
        /// OB or OW.
        vr: VR,
    },
    /// Compressed.
    Encapsulated {
        /// Its fragments, without the basic offset table.
        fragments: Vec<Range<usize>>,
    },
}

impl<'a> Outline<'a> {
    /// Walks a file. `most` bounds the size of a deflated data set.
    pub(super) fn of(bytes: &'a [u8], framing: DicomFraming, most: u64) -> Result<Self, DecodeError> {
        let (uid, start) = match framing {
            DicomFraming::Preamble => file_meta(bytes, 132)?,
            DicomFraming::Prefix => file_meta(bytes, 4)?,
            DicomFraming::Meta => file_meta(bytes, 0)?,
            DicomFraming::BareImplicit => (uids::IMPLICIT_VR_LITTLE_ENDIAN.to_owned(), 0),
            DicomFraming::BareExplicit => (uids::EXPLICIT_VR_LITTLE_ENDIAN.to_owned(), 0),
            DicomFraming::BareBigEndian => (BIG_ENDIAN.to_owned(), 0),
        };
        let mut syntax = syntax(&uid)?;
        let mut data = Cow::Borrowed(bytes.get(start..).unwrap_or_default());
        if let Codec::Dataset(Some(deflated)) = syntax.codec() {
            data = Cow::Owned(inflate(&data, deflated.as_ref(), most)?);
            syntax = self::syntax(uids::EXPLICIT_VR_LITTLE_ENDIAN)?;
        }
        let (header_end, pixels) = walk(&data, syntax)?;
        if header_end > MAX_HEADER_BYTES {
            return Err(invalid(format!("its header has {header_end} bytes, more than {MAX_HEADER_BYTES}")));
        }
        Ok(Self { syntax, data, header_end, pixels })
    }
}

fn invalid(reason: String) -> DecodeError {
    DecodeError::Dicom(reason)
}

/// Transfer Syntax UID and the offset of the data set.
fn file_meta(bytes: &[u8], start: usize) -> Result<(String, usize), DecodeError> {
    let explicit = syntax(uids::EXPLICIT_VR_LITTLE_ENDIAN)?;
    let mut reader = reader(bytes, start, explicit)?;
    let (mut uid, mut end) = (None, start);
    // Group 0002 ends where another group begins, whatever its length element says.
    while bytes.get(end..).is_some_and(|rest| rest.starts_with(&[0x02, 0x00])) {
        let token = reader.advance().ok_or_else(|| invalid("its file meta information ends early".into()))?;
        if let LazyDataToken::LazyValue { header, decoder } = token.map_err(parse_error)? {
            let range = claim(bytes, header.tag(), header.len.0, decoder.position())?;
            decoder.skip_bytes(header.len.0).map_err(parse_error)?;
            end = range.end;
            if header.tag() == tags::TRANSFER_SYNTAX_UID {
                uid = Some(String::from_utf8_lossy(&bytes[range]).into_owned());
            }
        }
    }
    Ok((uid.ok_or(DecodeError::Missing("TransferSyntaxUID (0002,0010)"))?, end))
}

fn syntax(uid: &str) -> Result<&'static TransferSyntax, DecodeError> {
    let Ok(uid) = uid.parse::<Uid>() else {
        return Err(DecodeError::TransferSyntax { uid: "?".into(), name: "not a UID" });
    };
    TransferSyntaxRegistry
        .get(uid.as_str())
        .ok_or_else(|| DecodeError::TransferSyntax { uid: uid.to_string(), name: "unknown" })
}

fn inflate(data: &[u8], deflated: &dyn DataRWAdapter, most: u64) -> Result<Vec<u8>, DecodeError> {
    let mut out = Vec::new();
    deflated
        .adapt_reader(Box::new(data))
        .take(most + 1)
        .read_to_end(&mut out)
        .map_err(|_| invalid("its deflated data set is damaged".into()))?;
    if out.len() as u64 > most {
        return Err(DecodeError::FileTooLarge { bytes: out.len() as u64, limit: most });
    }
    Ok(out)
}

type Reader<'a> = LazyDataSetReader<dicom_parser::stateful::decode::DynStatefulDecoder<Cursor<&'a [u8]>>>;

fn reader<'a>(bytes: &'a [u8], start: usize, syntax: &TransferSyntax) -> Result<Reader<'a>, DecodeError> {
    let mut source = Cursor::new(bytes);
    source.set_position(start as u64);
    LazyDataSetReader::new_with_ts(source, syntax).map_err(parse_error)
}

/// Reads a data set without pixel data, whose claims of length hold. What pixel data claims is not checked, and not read.
pub(super) fn read_whole(data: &[u8], uid: &str) -> Result<InMemDicomObject, DecodeError> {
    let syntax = syntax(uid)?;
    let (header_end, _) = walk(data, syntax)?;
    InMemDicomObject::read_dataset_with_ts(&data[..header_end], syntax).map_err(parse_error)
}

/// Checks every claim of length up to the pixel data; gives the end of what stands before it.
fn walk(data: &[u8], syntax: &TransferSyntax) -> Result<(usize, Option<PixelData>), DecodeError> {
    let mut reader = reader(data, 0, syntax)?;
    let (mut depth, mut elements) = (0_usize, 0_usize);
    while let Some(token) = reader.advance() {
        match token.map_err(parse_error)? {
            LazyDataToken::ElementHeader(_) => elements += 1,
            LazyDataToken::SequenceStart { .. } => depth += 1,
            LazyDataToken::SequenceEnd => depth = depth.saturating_sub(1),
            LazyDataToken::PixelSequenceStart if depth == 0 => {
                let (start, fragments) = fragments(&mut reader, data)?;
                let header_end = start.saturating_sub(header_size(syntax, VR::OB));
                return Ok((header_end, Some(PixelData::Encapsulated { fragments })));
            }
            LazyDataToken::LazyValue { header, decoder } => {
                let position = decoder.position();
                if depth == 0 && header.tag() == tags::PIXEL_DATA {
                    let start = position as usize;
                    let range = start..start.saturating_add(header.len.0 as usize);
                    let header_end = start.saturating_sub(header_size(syntax, header.vr));
                    return Ok((header_end, Some(PixelData::Native { range, vr: header.vr })));
                }
                claim(data, header.tag(), header.len.0, position)?;
                // dicom-rs reads whole numbers and goes on behind them: what follows would be read out of step.
                if header.len.0 % width(header.vr) != 0 {
                    let (tag, vr, length) = (header.tag(), header.vr, header.len.0);
                    return Err(invalid(format!("element {tag} of VR {vr} has a length of {length}")));
                }
                decoder.skip_bytes(header.len.0).map_err(parse_error)?;
            }
            LazyDataToken::LazyItemValue { len, decoder } => {
                claim(data, Tag(0xFFFE, 0xE000), len, decoder.position())?;
                decoder.skip_bytes(len).map_err(parse_error)?;
            }
            _ => elements += 1,
        }
        if elements > MAX_ELEMENTS || depth > MAX_DEPTH {
            return Err(invalid(format!(
                "it holds more than {MAX_ELEMENTS} elements or {MAX_DEPTH} nested sequences"
            )));
        }
    }
    Ok((data.len(), None))
}

/// The offset at which the pixel sequence begins, and its fragments.
fn fragments(reader: &mut Reader<'_>, data: &[u8]) -> Result<(usize, Vec<Range<usize>>), DecodeError> {
    const ITEM_HEADER: usize = 8;
    let (mut start, mut before, mut items) = (None, 0, 0_usize);
    let mut fragments = Vec::new();
    while let Some(token) = reader.advance() {
        match token.map_err(parse_error)? {
            LazyDataToken::ItemStart { len } => {
                items += 1;
                before += ITEM_HEADER + len.get().unwrap_or(0) as usize;
            }
            LazyDataToken::LazyItemValue { len, decoder } => {
                let range = claim(data, tags::PIXEL_DATA, len, decoder.position())?;
                decoder.skip_bytes(len).map_err(parse_error)?;
                start.get_or_insert(range.end.saturating_sub(before));
                // The first item is the basic offset table.
                if items > 1 {
                    fragments.push(range);
                }
            }
            LazyDataToken::SequenceEnd => break,
            _ => {}
        }
        if fragments.len() > MAX_ELEMENTS {
            return Err(invalid(format!("its pixel data has more than {MAX_ELEMENTS} fragments")));
        }
    }
    Ok((start.ok_or(DecodeError::Missing("fragment of PixelData (7FE0,0010)"))?, fragments))
}

/// Bytes of an element's tag, VR and length (PS3.5 section 7.1).
fn header_size(syntax: &TransferSyntax, vr: VR) -> usize {
    let explicit = syntax.uid() != uids::IMPLICIT_VR_LITTLE_ENDIAN;
    if explicit && matches!(vr, VR::OB | VR::OW | VR::UN | VR::OD | VR::OF | VR::OL | VR::OV) {
        12
    } else {
        8
    }
}

/// Bytes of one value (PS3.5 table 6.2-1).
fn width(vr: VR) -> u32 {
    match vr {
        VR::US | VR::SS | VR::OW => 2,
        VR::UL | VR::SL | VR::FL | VR::AT | VR::OF | VR::OL => 4,
        VR::FD | VR::OD | VR::OV | VR::SV | VR::UV => 8,
        _ => 1,
    }
}

/// The bytes that an element claims, if the file has them.
fn claim(data: &[u8], tag: Tag, length: u32, position: u64) -> Result<Range<usize>, DecodeError> {
    let start = position as usize;
    let left = data.len().saturating_sub(start);
    if length as usize > left {
        return Err(invalid(format!("element {tag} claims {length} bytes where {left} are left")));
    }
    Ok(start..start + length as usize)
}

/// dicom-rs says where and what, not the value.
fn parse_error(error: impl std::error::Error) -> DecodeError {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    invalid(text)
}
