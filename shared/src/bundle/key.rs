use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The project's release key, with which the bundles in `models/` are signed.
const PROJECT: &str = include_str!("../../../models/chexseg.pub");
/// First line of minisign's files.
const COMMENT: &str = "untrusted comment:";

/// Names a key pair: 16 upper-case hex digits, as minisign shows it. Drawn at random and proof of nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct KeyId(u64);

/// A minisign public key, with which signatures are verified.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct PublicKey {
    id: KeyId,
    pub(super) key: minisign_verify::PublicKey,
}

/// Why a text is no public key. It is not quoted: it may be a secret key, given by mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "no minisign public key: {0}; give its line of 56 characters that begins with RW, or the whole of its .pub file"
)]
pub struct PublicKeyError(&'static str);

/// Why a text is no key id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no key id: 16 digits 0-9 and A-F")]
pub struct KeyIdError(String);

impl KeyId {
    /// From the eight bytes of key and signature files.
    pub fn from_bytes(bytes: [u8; 8]) -> Self {
        Self(u64::from_le_bytes(bytes))
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016X}", self.0)
    }
}

impl TryFrom<String> for KeyId {
    type Error = KeyIdError;

    fn try_from(text: String) -> Result<Self, KeyIdError> {
        let id = u64::from_str_radix(&text, 16).ok().map(Self);
        id.filter(|id| id.to_string() == text).ok_or(KeyIdError(text))
    }
}

impl From<KeyId> for String {
    fn from(id: KeyId) -> Self {
        id.to_string()
    }
}

impl PublicKey {
    /// The key of this project's own bundles.
    pub fn project() -> Self {
        PROJECT.parse().expect("a test parses the committed file")
    }

    /// Which key pair it belongs to.
    pub fn id(&self) -> KeyId {
        self.id
    }
}

impl FromStr for PublicKey {
    type Err = PublicKeyError;

    /// Parses minisign's base64 form, or the two lines of its `.pub` file.
    fn from_str(text: &str) -> Result<Self, PublicKeyError> {
        let mut lines = text.trim().lines();
        let line = match (lines.next(), lines.next(), lines.next()) {
            (Some(line), None, None) => line,
            (Some(comment), Some(line), None) if comment.starts_with(COMMENT) => line,
            _ => return Err(PublicKeyError("it has not one line, nor a comment and a second")),
        };
        let line = line.trim();
        let bytes = STANDARD.decode(line).map_err(|_| PublicKeyError("it is not base64"))?;
        // Two bytes name the algorithm, eight the pair, 32 are the key.
        let &[_, _, a, b, c, d, e, f, g, h, ..] = bytes.as_slice() else {
            return Err(PublicKeyError("it is too short"));
        };
        if bytes.len() != 42 {
            return Err(PublicKeyError("it is not 42 bytes in base64"));
        }
        let key = minisign_verify::PublicKey::from_base64(line)
            .map_err(|_| PublicKeyError("it is not of the algorithm Ed25519"))?;
        Ok(Self { id: KeyId::from_bytes([a, b, c, d, e, f, g, h]), key })
    }
}

impl TryFrom<String> for PublicKey {
    type Error = PublicKeyError;

    fn try_from(text: String) -> Result<Self, PublicKeyError> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of minisign's own documentation.
    const KEY: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";

    #[test]
    fn the_committed_key_parses() {
        PublicKey::project();
    }

    #[test]
    fn a_line_and_a_file_are_the_same_key() {
        let key: PublicKey = KEY.parse().unwrap();
        assert_eq!(key.id().to_string(), "E7620F1842B4E81F");
        let file = format!("untrusted comment: minisign public key E7620F1842B4E81F\r\n{KEY}\r\n");
        assert_eq!(file.parse::<PublicKey>().unwrap(), key);
    }

    #[test]
    fn what_is_no_public_key_is_refused_without_being_quoted() {
        let longer = format!("{KEY}AAAA");
        let pair = minisign::KeyPair::generate_unencrypted_keypair().unwrap();
        let secret = pair.sk.to_box(None).unwrap().into_string();
        let file = format!("{KEY}\n{KEY}");
        for (text, reason) in [
            ("", "line"),
            (&KEY[..40], "42 bytes"),
            (&KEY[..8], "short"),
            (&longer, "42 bytes"),
            ("not base64!", "base64"),
            (&secret, "42 bytes"),
            (&file, "line"),
            (&KEY.replacen("RWQ", "AAQ", 1), "algorithm"),
        ] {
            let error = text.parse::<PublicKey>().unwrap_err().to_string();
            assert!(error.contains(reason) && error.contains("begins with RW"), "{text}: {error}");
            assert!(text.len() < 8 || !error.contains(&text[text.len() - 8..]), "{error}");
        }
    }

    #[test]
    fn only_canonical_ids_parse() {
        let id = KeyId::try_from("00000000000000FF".to_owned()).unwrap();
        assert_eq!(id, KeyId::from_bytes([255, 0, 0, 0, 0, 0, 0, 0]));
        for bad in ["", "FF", "00000000000000ff", "+0000000000000FF", "000000000000000FF"] {
            assert!(KeyId::try_from(bad.to_owned()).is_err(), "{bad}");
        }
    }
}
