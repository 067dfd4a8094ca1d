//! Who answers for a bundle: a minisign signature over its digest list.

use std::fmt;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::files::{exists, read_at_most};
use super::{BundleError, KeyId, PublicKey, SIGNATURE};

/// Four lines; comments are bounded at 8 KiB by minisign.
const MAX_FILE: u64 = 32 << 10;

/// Whose bundles are opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trust {
    /// The keys whose signatures count.
    pub keys: Vec<PublicKey>,
    /// Whether a bundle without such a signature is opened all the same. One whose signature is wrong never is.
    pub allow_unsigned: bool,
}

/// What is known of a bundle's maker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum Signature {
    /// Signed by a trusted key; nothing has changed since.
    Verified {
        /// The key.
        key_id: KeyId,
        /// What the signer says of it.
        comment: String,
    },
    /// Signed, it says, by a key that is not trusted: as good as not signed.
    Untrusted {
        /// The key.
        key_id: KeyId,
    },
    /// Not signed.
    Unsigned,
}

/// Why a file is no signature that can be verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureProblem {
    /// Lines are missing or too many.
    #[error("it has not four lines of text")]
    Lines,
    /// A line is cut off or garbled.
    #[error("a line of it is damaged")]
    Damaged,
    /// The form of minisign before 0.6, without a hash.
    #[error("it is of the old form, `minisign -l`")]
    Legacy,
}

impl Trust {
    /// Only this project's own bundles.
    pub fn project() -> Self {
        Self { keys: vec![PublicKey::project()], allow_unsigned: false }
    }
}

impl Signature {
    /// Whether a trusted key answers for the bundle.
    pub fn is_verified(&self) -> bool {
        matches!(self, Self::Verified { .. })
    }

    /// Verifies the signature that lies in `dir` over the bytes of its digest list.
    pub(super) fn verify(dir: &Path, list: &[u8], trust: &Trust) -> Result<Self, BundleError> {
        let path = dir.join(SIGNATURE);
        if !exists(&path)? {
            let unsigned = BundleError::Unsigned { path: dir.to_owned() };
            return if trust.allow_unsigned { Ok(Self::Unsigned) } else { Err(unsigned) };
        }
        let file = read_at_most(&path, MAX_FILE)?;
        let (key_id, signature) = match parse(&file) {
            Ok(parsed) => parsed,
            Err(problem) => return Err(BundleError::SignatureFile { path, problem }),
        };
        // Ids are drawn at random: two keys may have the same one.
        let mut keys = trust.keys.iter().filter(|key| key.id() == key_id).peekable();
        if keys.peek().is_none() {
            if trust.allow_unsigned {
                return Ok(Self::Untrusted { key_id });
            }
            let trusted = trust.keys.iter().map(PublicKey::id).collect();
            return Err(BundleError::UntrustedKey { path, key: key_id, trusted });
        }
        if keys.any(|key| key.key.verify(list, &signature, false).is_ok()) {
            return Ok(Self::Verified { key_id, comment: signature.trusted_comment().to_owned() });
        }
        Err(BundleError::WrongSignature { path, key: key_id })
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Verified { key_id, comment } => write!(f, "signed by {key_id}: {comment}"),
            Self::Untrusted { key_id } => write!(f, "NOT VERIFIED: signed by {key_id}, which is not trusted"),
            Self::Unsigned => write!(f, "NOT SIGNED"),
        }
    }
}

fn parse(file: &[u8]) -> Result<(KeyId, minisign_verify::Signature), SignatureProblem> {
    let text = std::str::from_utf8(file).map_err(|_| SignatureProblem::Lines)?;
    let lines: Vec<&str> = text.lines().collect();
    let [_, signature, _, _] = lines[..] else { return Err(SignatureProblem::Lines) };
    let bytes = STANDARD.decode(signature).map_err(|_| SignatureProblem::Damaged)?;
    let &[first, second, a, b, c, d, e, f, g, h, ..] = bytes.as_slice() else {
        return Err(SignatureProblem::Damaged);
    };
    if [first, second] == *b"Ed" {
        return Err(SignatureProblem::Legacy);
    }
    let signature = minisign_verify::Signature::decode(text).map_err(|_| SignatureProblem::Damaged)?;
    Ok((KeyId::from_bytes([a, b, c, d, e, f, g, h]), signature))
}
