use std::path::PathBuf;

use super::signature::SignatureProblem;
use super::{DIGESTS, KeyId, MANIFEST, SIGNATURE};
use crate::manifest::ManifestError;

/// Why a bundle was refused.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// A file could not be read or written.
    #[error("failed to access {}: {source}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The manifest.
    #[error("{}: {source}", .path.display())]
    Manifest {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: Box<ManifestError>,
    },
    /// A line of the digest list.
    #[error("{}: line {line} is not 'SHA256  PATH' with a path inside the bundle", .path.display())]
    DigestLine {
        /// The list.
        path: PathBuf,
        /// Line number from 1.
        line: usize,
    },
    /// A file that changed after the list was written.
    #[error("{} is altered: its SHA-256 is not the one in {DIGESTS}; copy the bundle again", .path.display())]
    Altered {
        /// The file.
        path: PathBuf,
    },
    /// A file that the list does not name.
    #[error("{} is not listed in {DIGESTS}; remove it or create the bundle anew", .path.display())]
    Unlisted {
        /// The file.
        path: PathBuf,
    },
    /// The list lacks a file that every bundle has.
    #[error("{} does not list {file}", .path.display())]
    Missing {
        /// The list.
        path: PathBuf,
        /// The file.
        file: String,
    },
    /// The graph is not the one that the manifest describes.
    #[error("{} is not the graph that {MANIFEST} describes: graph.sha256 differs", .path.display())]
    ForeignGraph {
        /// The graph.
        path: PathBuf,
    },
    /// The golden cases.
    #[error("{} is not valid: {reason}", .path.display())]
    Golden {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// No signature where one is demanded.
    #[error(
        "{} is not signed: it has no {SIGNATURE}; take a signed bundle, sign this one with `host-trainer bundle \
         create`, or allow it with `allow_unsigned = true` (--allow-unsigned)",
        .path.display()
    )]
    Unsigned {
        /// The bundle's folder.
        path: PathBuf,
    },
    /// A signature by a key that is not trusted.
    #[error(
        "{} is by key {key}, which is not trusted ({}); if it should be, add its public key to `trusted_keys` \
         (--trusted-key; host-trainer: --key)",
        .path.display(), only(.trusted)
    )]
    UntrustedKey {
        /// The signature.
        path: PathBuf,
        /// Whose it says it is.
        key: KeyId,
        /// Whose would do.
        trusted: Vec<KeyId>,
    },
    /// A signature that key never made over this list.
    #[error(
        "{} is no signature of key {key} over {DIGESTS}: one of the two files was altered; copy the bundle again",
        .path.display()
    )]
    WrongSignature {
        /// The signature.
        path: PathBuf,
        /// Whose it says it is.
        key: KeyId,
    },
    /// Not a signature file.
    #[error("{} is no minisign signature: {problem}; copy the bundle again or sign it anew", .path.display())]
    SignatureFile {
        /// The signature.
        path: PathBuf,
        /// What is wrong with it.
        problem: SignatureProblem,
    },
}

fn only(keys: &[KeyId]) -> String {
    match keys {
        [] => "no key is".into(),
        [key] => format!("only {key} is"),
        keys => format!("only {} are", keys.iter().map(KeyId::to_string).collect::<Vec<_>>().join(", ")),
    }
}
