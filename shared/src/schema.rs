//! Versions of everything that crosses a wire or a disk.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A schema version `major.minor`. A reader accepts its own major; a newer minor may add fields, which it
/// ignores, while an unknown field of its own or an older minor is an error.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(try_from = "String", into = "String")]
pub struct SchemaVersion {
    /// Counts incompatible changes.
    pub major: u32,
    /// Counts additions.
    pub minor: u32,
}

/// Why a versioned document was refused.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// Not `major.minor`.
    #[error("schema version '{0}' is not of the form major.minor")]
    Malformed(String),
    /// No `schema` field.
    #[error("the {what} has no `schema` field")]
    Missing {
        /// Kind of document.
        what: &'static str,
    },
    /// Written by an incompatible version.
    #[error("the {what} has schema {found}, this program reads {supported}: update the older of the two")]
    UnknownMajor {
        /// Kind of document.
        what: &'static str,
        /// Its version.
        found: SchemaVersion,
        /// Ours.
        supported: SchemaVersion,
    },
    /// A field that this version does not define.
    #[error("the {what} has unknown fields: {}", .fields.join(", "))]
    UnknownFields {
        /// Kind of document.
        what: &'static str,
        /// Paths of the fields.
        fields: Vec<String>,
    },
}

impl SchemaVersion {
    /// Checks that a document of version `self` can be read by a program that knows `supported`.
    pub fn check(self, what: &'static str, supported: Self) -> Result<(), SchemaError> {
        if self.major == supported.major {
            return Ok(());
        }
        Err(SchemaError::UnknownMajor { what, found: self, supported })
    }
}

impl fmt::Display for SchemaVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl FromStr for SchemaVersion {
    type Err = SchemaError;

    fn from_str(text: &str) -> Result<Self, SchemaError> {
        let number = |part: &str| {
            part.parse()
                .ok()
                .filter(|n: &u32| n.to_string() == part)
                .ok_or(SchemaError::Malformed(text.to_owned()))
        };
        let (major, minor) = text.split_once('.').ok_or(SchemaError::Malformed(text.to_owned()))?;
        Ok(Self { major: number(major)?, minor: number(minor)? })
    }
}

impl TryFrom<String> for SchemaVersion {
    type Error = SchemaError;

    fn try_from(text: String) -> Result<Self, SchemaError> {
        text.parse()
    }
}

impl From<SchemaVersion> for String {
    fn from(version: SchemaVersion) -> Self {
        version.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_canonical_versions_parse() {
        assert_eq!("1.12".parse::<SchemaVersion>().unwrap(), SchemaVersion { major: 1, minor: 12 });
        for bad in ["", "1", "1.", ".1", "1.2.3", "01.2", "+1.0", "1.x", "-1.0", "99999999999.0"] {
            assert!(bad.parse::<SchemaVersion>().is_err(), "{bad}");
        }
    }

    #[test]
    fn another_major_is_refused_another_minor_is_not() {
        let ours = SchemaVersion { major: 1, minor: 0 };
        assert!(SchemaVersion { major: 1, minor: 7 }.check("manifest", ours).is_ok());
        let error = SchemaVersion { major: 2, minor: 0 }.check("manifest", ours).unwrap_err().to_string();
        assert_eq!(error, "the manifest has schema 2.0, this program reads 1.0: update the older of the two");
    }
}
