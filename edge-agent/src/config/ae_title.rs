use std::fmt;
use std::str::FromStr;

use serde::Deserialize;

/// The name of a DICOM application entity (PS3.5 section 6.2, AE): 1 to 16 characters of ASCII without backslash or
/// control characters, not only spaces. Spaces around it do not count.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct AeTitle(String);

/// A text that is no AE title.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no AE title: give 1 to 16 characters of ASCII without a backslash")]
pub struct AeTitleError(String);

impl AeTitle {
    /// The text, without spaces around it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for AeTitle {
    type Err = AeTitleError;

    fn from_str(text: &str) -> Result<Self, AeTitleError> {
        let title = text.trim_matches(' ');
        let fits = (1..=16).contains(&title.len());
        if fits && title.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'\\') {
            Ok(Self(title.to_owned()))
        } else {
            Err(AeTitleError(text.chars().filter(|c| !c.is_control()).take(40).collect()))
        }
    }
}

impl TryFrom<String> for AeTitle {
    type Error = AeTitleError;

    fn try_from(text: String) -> Result<Self, AeTitleError> {
        text.parse()
    }
}

impl fmt::Display for AeTitle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_have_1_to_16_characters_of_ascii() {
        assert_eq!(" DX ROOM 1 ".parse::<AeTitle>().unwrap().as_str(), "DX ROOM 1");
        for bad in ["", "   ", "A\\B", "SEVENTEEN-LETTERS", "RÖNTGEN", "A\nB"] {
            let error = bad.parse::<AeTitle>().unwrap_err();
            assert!(error.to_string().contains("1 to 16 characters"), "{error}");
        }
    }
}
