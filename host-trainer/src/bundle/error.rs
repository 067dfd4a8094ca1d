use std::path::PathBuf;

/// Why a bundle was not signed, or no key made.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// The bundle.
    #[error(transparent)]
    Bundle(#[from] shared::bundle::BundleError),
    /// The graph.
    #[error("{} is no ONNX graph of this bundle: {reason}; export the bundle anew", .path.display())]
    Graph {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A golden picture that is not there.
    #[error("{} is a golden image, and the bundle lacks it; export the bundle anew", .path.display())]
    GoldenImage {
        /// The picture.
        path: PathBuf,
    },
    /// Name and version are signed with the list, as a line of text.
    #[error("{}: name or version hold a line break or another control character", .path.display())]
    Name {
        /// The manifest.
        path: PathBuf,
    },
    /// A file that cannot be used as a key.
    #[error(
        "{} is no minisign secret key: {reason}; `host-trainer bundle keygen` makes one", .path.display()
    )]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A key that its password does not open.
    #[error("failed to open secret key {}: {reason}", .path.display())]
    Locked {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// No key came about.
    #[error("failed to make a key: {reason}")]
    Keygen {
        /// Why.
        reason: String,
    },
    /// A key is there already.
    #[error("{} exists, and a key is never overwritten: choose another --out", .path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// A file cannot be read or written.
    #[error("failed to access {}: {source}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}
