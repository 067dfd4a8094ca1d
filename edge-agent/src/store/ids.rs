use std::fmt;
use std::path::Path;

use sha2::{Digest, Sha256};
use shared::uid::Uid;

/// Identity of an image inside the agent: the SHA-256 of its bytes. The same file dropped twice is one image.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ImageId([u8; 32]);

/// Identity of a file in a watched folder: a digest of its path, size and modification time. The path itself
/// is not kept, since people put names of patients into file names.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

/// An instance as the store remembers it: a digest of its SOP Instance UID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct InstanceKey(pub(super) [u8; 32]);

impl InstanceKey {
    pub(super) fn of(uid: &Uid) -> Self {
        Self(Sha256::digest(uid.as_str()).into())
    }
}

impl ImageId {
    /// The identity of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// From a finished digest.
    pub fn from_digest(digest: [u8; 32]) -> Self {
        Self(digest)
    }

    /// The digest.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// 64 lower-case hex digits, the name of the image's file.
    pub fn to_hex(self) -> String {
        hex(&self.0)
    }

    /// Reads what [`Self::to_hex`] wrote; none for any other text.
    pub fn from_hex(text: &str) -> Option<Self> {
        let canonical = text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if !canonical {
            return None;
        }
        let mut digest = [0; 32];
        for (byte, pair) in digest.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        Some(Self(digest))
    }
}

impl Fingerprint {
    /// The fingerprint of a file; `modified_ns` counts nanoseconds since 1970.
    pub fn of(path: &Path, size: u64, modified_ns: i128) -> Self {
        let digest = Sha256::new()
            .chain_update(path.as_os_str().as_encoded_bytes())
            .chain_update([0])
            .chain_update(size.to_le_bytes())
            .chain_update(modified_ns.to_le_bytes())
            .finalize();
        Self(digest.into())
    }

    /// The digest.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// The first 12 hex digits: enough to tell images apart in a log.
impl fmt::Display for ImageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0[..6]))
    }
}

impl fmt::Debug for ImageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ImageId({self})")
    }
}

/// The first 12 hex digits: enough to tell files apart in a log.
impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0[..6]))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_round_trip_and_nothing_else_parses() {
        let id = ImageId::of(b"radiograph");
        assert_eq!(ImageId::from_hex(&id.to_hex()), Some(id));
        assert_eq!(id.to_hex(), shared::bundle::sha256_hex(b"radiograph"));
        for bad in ["", "abc", "../../../etc/passwd", &id.to_hex().to_uppercase(), &format!("{id}é")] {
            assert_eq!(ImageId::from_hex(bad), None, "{bad}");
        }
    }

    #[test]
    fn fingerprint_follows_path_size_and_time() {
        let base = Fingerprint::of(Path::new("/in/a.png"), 10, 5);
        assert_eq!(base, Fingerprint::of(Path::new("/in/a.png"), 10, 5));
        assert_ne!(base, Fingerprint::of(Path::new("/in/b.png"), 10, 5));
        assert_ne!(base, Fingerprint::of(Path::new("/in/a.png"), 11, 5));
        assert_ne!(base, Fingerprint::of(Path::new("/in/a.png"), 10, 6));
    }
}
