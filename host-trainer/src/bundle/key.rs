use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use minisign::{KeyPair, PublicKey as Public, SecretKey as Secret, SecretKeyBox};
use shared::bundle::PublicKey;

use super::SignError;

/// Size of a secret key: algorithms 6, scrypt 32 + 8 + 8, id 8, key 64, checksum 32.
const BYTES: usize = 158;
/// The Ed25519 key in it, seed and public half.
const ED25519: std::ops::Range<usize> = 62..126;
/// Name of the key in a folder.
const FILE: &str = "chexseg.key";
/// Signatures over a BLAKE2b digest.
const PREHASHED: &[u8] = b"ED";

/// Signs bundles. Not `Debug`: it must not come into a log.
pub struct SecretKey {
    id: Vec<u8>,
    secret: ed25519_compact::SecretKey,
    public: PublicKey,
}

/// How a secret key is kept.
#[derive(Clone)]
pub enum Protection {
    /// As it is: whoever reads the file can sign.
    None,
    /// Encrypted with a password, which is asked for at the terminal if it is not given.
    Password(Option<String>),
}

/// A new key pair.
#[derive(Clone, Debug)]
pub struct KeyFiles {
    /// The secret half, for nobody else to read.
    pub secret: PathBuf,
    /// The public half.
    pub public: PathBuf,
    /// The line that devices need, `trusted_keys`.
    pub line: String,
}

/// Makes a key pair: `out`, and beside it `out` with the extension `pub`. In a folder the name is `chexseg.key`.
pub fn keygen(out: &Path, protection: Protection) -> Result<KeyFiles, SignError> {
    let secret = if out.is_dir() { out.join(FILE) } else { out.to_owned() };
    let public = secret.with_extension("pub");
    if let Some(path) = [&secret, &public].into_iter().find(|path| path.exists() || public == secret) {
        return Err(SignError::Exists { path: path.clone() });
    }
    let failed = |error: minisign::PError| SignError::Keygen { reason: error.to_string() };
    let pair = match protection {
        Protection::None => KeyPair::generate_unencrypted_keypair(),
        Protection::Password(password) => KeyPair::generate_encrypted_keypair(password),
    }
    .map_err(failed)?;
    let text = pair.sk.to_box(Some("chexseg secret key")).map_err(failed)?.into_string();
    write_new(&secret, &text, true)?;
    write_new(&public, &pair.pk.to_box().map_err(failed)?.into_string(), false)?;
    Ok(KeyFiles { secret, public, line: pair.pk.to_base64() })
}

impl SecretKey {
    /// Reads a key file. `password` is called if it is encrypted; if that gives none, it is asked for at the terminal.
    pub fn load(
        path: &Path,
        password: impl FnOnce() -> io::Result<Option<String>>,
    ) -> Result<Self, SignError> {
        let io = |source| SignError::Io { path: path.to_owned(), source };
        let bad = |reason: &str| SignError::Key { path: path.to_owned(), reason: reason.to_owned() };
        let locked =
            |error: minisign::PError| SignError::Locked { path: path.to_owned(), reason: error.to_string() };
        let text = String::from_utf8(fs::read(path).map_err(io)?).map_err(|_| bad("it is not text"))?;
        let line = text.lines().nth(1).ok_or_else(|| bad("it has not two lines"))?;
        let bytes = STANDARD.decode(line).map_err(|_| bad("its second line is not base64"))?;
        if bytes.len() != BYTES {
            return Err(bad(&format!("it is {} bytes, not {BYTES}", bytes.len())));
        }
        let boxed = SecretKeyBox::from(text);
        let secret = match &bytes[2..4] {
            [0, 0] => boxed.into_unencrypted_secret_key().map_err(|error| bad(&error.to_string()))?,
            b"Sc" => boxed.into_secret_key(password().map_err(io)?).map_err(locked)?,
            _ => return Err(bad("it is encrypted in an unknown way")),
        };
        Self::new(&secret).ok_or_else(|| bad("its two halves do not belong together"))
    }

    fn new(key: &Secret) -> Option<Self> {
        let secret = ed25519_compact::SecretKey::from_slice(&key.to_bytes()[ED25519]).ok()?;
        // Signing with another public half would give the secret one away.
        secret.validate_public_key(&secret.public_key()).ok()?;
        let public = Public::from_secret_key(key).ok()?.to_base64().parse().ok()?;
        Some(Self { id: key.keynum().to_vec(), secret, public })
    }

    /// What its signatures are verified with.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// A signature file over `data`. Ed25519 as in RFC 8032: minisign's own crate adds chance.
    pub(super) fn sign(&self, data: &[u8], comment: &str) -> String {
        let digest = blake2b_simd::blake2b(data);
        let signature = self.secret.sign(digest.as_bytes(), None);
        let global = self.secret.sign([signature.as_ref(), comment.as_bytes()].concat(), None);
        let first = STANDARD.encode([PREHASHED, &self.id, signature.as_ref()].concat());
        format!(
            "untrusted comment: signature from chexseg secret key\n{first}\ntrusted comment: {comment}\n{}\n",
            STANDARD.encode(global)
        )
    }
}

#[cfg_attr(not(unix), allow(unused_variables, reason = "modes are Unix's"))]
fn write_new(path: &Path, text: &str, secret: bool) -> Result<(), SignError> {
    let io = |source| SignError::Io { path: path.to_owned(), source };
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, if secret { 0o600 } else { 0o644 });
    let mut file: File = options.open(path).map_err(io)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(io)
}
