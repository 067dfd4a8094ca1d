//! DICOM unique identifiers.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A DICOM UID (PS3.5 section 9): at most 64 characters of digit components without leading zeros, joined by
/// dots. A value of this type is safe in a file name.
#[derive(
    Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(try_from = "String", into = "String")]
pub struct Uid(String);

/// A text that is no UID. The text itself is left out: it may be hostile or name a patient.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a DICOM UID: 1 to 64 characters of dot-separated numbers without leading zeros")]
pub struct ParseUidError;

impl Uid {
    /// A UID for an image that has none, from its content: the root 2.25 with a name-based UUID as a decimal
    /// number (PS3.5 B.2). The same content has the same UID for ever.
    pub fn from_content(sha256: &[u8; 32]) -> Self {
        // Version 8: ours to define (RFC 9562).
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&sha256[..16]);
        Self(format!("2.25.{}", Uuid::new_v8(bytes).as_u128()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Uid {
    type Err = ParseUidError;

    /// Accepts the trailing NUL or space padding with which DICOM fills to even length.
    fn from_str(text: &str) -> Result<Self, ParseUidError> {
        let text = text.trim_end_matches(['\0', ' ']);
        let component = |c: &str| {
            !c.is_empty() && c.bytes().all(|b| b.is_ascii_digit()) && (c.len() == 1 || !c.starts_with('0'))
        };
        if text.len() <= 64 && text.split('.').all(component) {
            Ok(Self(text.to_owned()))
        } else {
            Err(ParseUidError)
        }
    }
}

impl TryFrom<String> for Uid {
    type Error = ParseUidError;

    fn try_from(text: String) -> Result<Self, ParseUidError> {
        text.parse()
    }
}

impl From<Uid> for String {
    fn from(uid: Uid) -> Self {
        uid.0
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_and_malformed_uids_are_refused() {
        for bad in
            ["", ".", "1..2", "1.2.", "01.2", "1.02", "../../etc/passwd", "1.2/3", "1.2 3", &"1.".repeat(40)]
        {
            assert_eq!(bad.parse::<Uid>(), Err(ParseUidError), "{bad}");
        }
    }

    #[test]
    fn padding_is_trimmed() {
        assert_eq!("1.2.840.0\0".parse::<Uid>().unwrap().as_str(), "1.2.840.0");
    }

    #[test]
    fn content_uid_is_valid_and_stable() {
        let uid = Uid::from_content(&[0xAB; 32]);
        assert_eq!(uid, Uid::from_content(&[0xAB; 32]));
        assert_ne!(uid, Uid::from_content(&[0xAC; 32]));
        assert_eq!(uid.as_str().parse::<Uid>().unwrap(), uid);
        assert!(uid.as_str().starts_with("2.25."));
    }
}
