//! DIMSE messages (PS3.7): command sets, and the statuses that answer them.

use dicom_core::value::PrimitiveValue;
use dicom_core::{DataElement, Tag, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_object::InMemDicomObject;
use dicom_transfer_syntax_registry::entries;
use shared::uid::Uid;

/// Largest command set that is read; real ones have a few hundred bytes.
pub(super) const MAX_COMMAND_BYTES: usize = 16 << 10;
/// Command Data Set Type (0000,0800) of a message without a data set.
const NO_DATA_SET: u16 = 0x0101;
/// Command Field (0000,0100) of a response: that of its request and this bit.
const RESPONSE: u16 = 0x8000;

/// The requests that are answered (PS3.7 section E.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Request {
    /// C-STORE-RQ.
    Store,
    /// C-ECHO-RQ.
    Echo,
    /// N-ACTION-RQ.
    Action,
    /// Anything else, by its Command Field.
    Other(u16),
}

impl Request {
    fn of(field: u16) -> Self {
        match field {
            0x0001 => Self::Store,
            0x0030 => Self::Echo,
            0x0130 => Self::Action,
            other => Self::Other(other),
        }
    }

    fn field(self) -> u16 {
        match self {
            Self::Store => 0x0001,
            Self::Echo => 0x0030,
            Self::Action => 0x0130,
            Self::Other(field) => field,
        }
    }
}

/// A command set, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Command {
    pub(super) request: Request,
    pub(super) message_id: u16,
    pub(super) has_data_set: bool,
    /// Affected or Requested SOP Class UID.
    pub(super) sop_class_uid: Option<Uid>,
    /// Affected or Requested SOP Instance UID.
    pub(super) sop_instance_uid: Option<Uid>,
    /// Action Type ID (0000,1008).
    pub(super) action_type: Option<u16>,
}

/// Why a command set cannot be answered.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum CommandError {
    #[error("a command set that ends within an element")]
    Truncated,
    #[error("a command set with an element of another group")]
    Foreign,
    #[error("a command set without Command Field, Message ID or Command Data Set Type")]
    Incomplete,
    #[error("a response to nothing that was asked")]
    Response,
}

impl Command {
    /// Reads a command set: flat, Implicit VR Little Endian (PS3.7 section 6.3.1). No length in it is trusted.
    pub(super) fn read(mut bytes: &[u8]) -> Result<Self, CommandError> {
        let (mut field, mut message_id, mut data_set_type) = (None, None, None);
        let (mut sop_class_uid, mut sop_instance_uid, mut action_type) = (None, None, None);
        while !bytes.is_empty() {
            let (header, rest) = bytes.split_first_chunk::<8>().ok_or(CommandError::Truncated)?;
            let word = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]);
            let length = u32::from_le_bytes([header[4], header[5], header[6], header[7]]) as usize;
            let (value, rest) = rest.split_at_checked(length).ok_or(CommandError::Truncated)?;
            bytes = rest;
            let number = || value.first_chunk::<2>().map(|word| u16::from_le_bytes(*word));
            let uid = || std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
            match Tag(word(0), word(2)) {
                tags::COMMAND_FIELD => field = number(),
                tags::MESSAGE_ID => message_id = number(),
                tags::COMMAND_DATA_SET_TYPE => data_set_type = number(),
                tags::AFFECTED_SOP_CLASS_UID | tags::REQUESTED_SOP_CLASS_UID => sop_class_uid = uid(),
                tags::AFFECTED_SOP_INSTANCE_UID | tags::REQUESTED_SOP_INSTANCE_UID => {
                    sop_instance_uid = uid();
                }
                tags::ACTION_TYPE_ID => action_type = number(),
                Tag(0, _) => {}
                _ => return Err(CommandError::Foreign),
            }
        }
        if field.is_some_and(|field| field & RESPONSE != 0) {
            return Err(CommandError::Response);
        }
        match (field, message_id, data_set_type) {
            (Some(field), Some(message_id), Some(kind)) => Ok(Self {
                request: Request::of(field),
                message_id,
                has_data_set: kind != NO_DATA_SET,
                sop_class_uid,
                sop_instance_uid,
                action_type,
            }),
            _ => Err(CommandError::Incomplete),
        }
    }
}

/// What a request is answered with (PS3.7 annex C, PS3.4 section B.2.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Status {
    code: u16,
    /// For the unit's log; fits 64 characters and names no patient.
    comment: Option<String>,
}

impl Status {
    pub(super) const SUCCESS: Self = Self { code: 0x0000, comment: None };

    /// Refused: out of resources. The unit keeps the image and sends it again.
    pub(super) fn out_of_resources(comment: &str) -> Self {
        Self::failure(0xA700, comment)
    }

    /// Data set does not match SOP class.
    pub(super) fn mismatch(comment: &str) -> Self {
        Self::failure(0xA900, comment)
    }

    /// Cannot understand.
    pub(super) fn cannot_understand(comment: &str) -> Self {
        Self::failure(0xC000, comment)
    }

    /// Processing failure.
    pub(super) fn processing_failure(comment: &str) -> Self {
        Self::failure(0x0110, comment)
    }

    /// SOP class not supported.
    pub(super) fn unsupported_class() -> Self {
        Self::failure(0x0122, "this SOP class is not accepted here")
    }

    /// Invalid SOP instance.
    pub(super) fn invalid_instance() -> Self {
        Self::failure(0x0117, "Affected SOP Instance UID is no UID")
    }

    /// Unrecognized operation.
    pub(super) fn unrecognized() -> Self {
        Self::failure(0x0211, "only C-ECHO, C-STORE and storage commitment are served")
    }

    /// No such action type.
    pub(super) fn no_such_action() -> Self {
        Self::failure(0x0123, "the only action is type 1, request storage commitment")
    }

    fn failure(code: u16, comment: &str) -> Self {
        // Error Comment (0000,0902) is an LO: 64 characters, here of ASCII.
        let plain = |c: char| if c.is_ascii_graphic() || c == ' ' { c } else { '?' };
        let comment = comment.chars().map(|c| if c == '\\' { '/' } else { plain(c) }).take(64).collect();
        Self { code, comment: Some(comment) }
    }
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:#06X}", self.code)?;
        self.comment.iter().try_for_each(|comment| write!(f, " {comment}"))
    }
}

/// The command set of a response.
pub(super) fn response(command: &Command, status: &Status) -> Vec<u8> {
    let mut elements = vec![
        word(tags::COMMAND_FIELD, command.request.field() | RESPONSE),
        word(tags::MESSAGE_ID_BEING_RESPONDED_TO, command.message_id),
        word(tags::COMMAND_DATA_SET_TYPE, NO_DATA_SET),
        word(tags::STATUS, status.code),
    ];
    elements.extend(
        command.sop_class_uid.iter().map(|uid| text(tags::AFFECTED_SOP_CLASS_UID, VR::UI, uid.as_str())),
    );
    elements.extend(
        command
            .sop_instance_uid
            .iter()
            .map(|uid| text(tags::AFFECTED_SOP_INSTANCE_UID, VR::UI, uid.as_str())),
    );
    elements.extend(command.action_type.map(|kind| word(tags::ACTION_TYPE_ID, kind)));
    elements.extend(status.comment.iter().map(|comment| text(tags::ERROR_COMMENT, VR::LO, comment)));
    write(elements)
}

/// The command set of an N-EVENT-REPORT-RQ of storage commitment (PS3.4 section J.3.3).
pub(super) fn commitment_report(message_id: u16, event_type: u16) -> Vec<u8> {
    const EVENT_REPORT: u16 = 0x0100;
    const DATA_SET: u16 = 0x0001;
    write(vec![
        word(tags::COMMAND_FIELD, EVENT_REPORT),
        word(tags::MESSAGE_ID, message_id),
        word(tags::COMMAND_DATA_SET_TYPE, DATA_SET),
        word(tags::EVENT_TYPE_ID, event_type),
        text(tags::AFFECTED_SOP_CLASS_UID, VR::UI, uids::STORAGE_COMMITMENT_PUSH_MODEL),
        text(tags::AFFECTED_SOP_INSTANCE_UID, VR::UI, uids::STORAGE_COMMITMENT_PUSH_MODEL_INSTANCE),
    ])
}

type Element = DataElement<InMemDicomObject>;

pub(super) fn word(tag: Tag, value: u16) -> Element {
    DataElement::new(tag, VR::US, PrimitiveValue::from(value))
}

pub(super) fn text(tag: Tag, vr: VR, value: &str) -> Element {
    DataElement::new(tag, vr, PrimitiveValue::from(value))
}

fn write(elements: Vec<Element>) -> Vec<u8> {
    let object = InMemDicomObject::command_from_element_iter(elements);
    let mut bytes = Vec::new();
    let syntax = entries::IMPLICIT_VR_LITTLE_ENDIAN.erased();
    object.write_dataset_with_ts(&mut bytes, &syntax).expect("short values go into memory");
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn echo() -> Vec<u8> {
        write(vec![
            word(tags::COMMAND_FIELD, 0x0030),
            word(tags::MESSAGE_ID, 7),
            word(tags::COMMAND_DATA_SET_TYPE, NO_DATA_SET),
            text(tags::AFFECTED_SOP_CLASS_UID, VR::UI, uids::VERIFICATION),
        ])
    }

    #[test]
    fn a_request_is_read_and_its_response_is_none() {
        let command = Command::read(&echo()).unwrap();
        assert_eq!((command.request, command.message_id, command.has_data_set), (Request::Echo, 7, false));
        assert_eq!(command.sop_class_uid.as_ref().unwrap().as_str(), uids::VERIFICATION);
        let response = response(&command, &Status::SUCCESS);
        assert_eq!(Command::read(&response), Err(CommandError::Response));
    }

    #[test]
    fn comments_fit_their_element_whatever_they_hold() {
        let long = format!("Grüße\\\n{}", "x".repeat(100));
        let comment = Status::cannot_understand(&long).comment.unwrap();
        assert_eq!(comment.len(), 64);
        assert!(comment.starts_with("Gr??e/?"), "{comment}");
    }

    #[test]
    fn damaged_command_sets_are_errors() {
        let whole = echo();
        for length in 1..whole.len() {
            let error = Command::read(&whole[..length]).unwrap_err();
            assert!(matches!(error, CommandError::Truncated | CommandError::Incomplete), "{length} {error}");
        }
        let mut foreign = whole;
        foreign.extend([0x10, 0x00, 0x10, 0x00, 0, 0, 0, 0]);
        assert_eq!(Command::read(&foreign), Err(CommandError::Foreign));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Command::read(&bytes);
        }
    }
}
