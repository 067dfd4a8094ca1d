//! Bundles after their export: keys, signatures, and a look inside.
//!
//! Signatures are minisign's, made without chance or time: the same bundle and key give the same bytes.

mod create;
mod error;
mod inspect;
mod key;

#[cfg(test)]
mod tests;

pub use create::{create, verify};
pub use error::SignError;
pub use inspect::{FileEntry, Inspection, inspect};
pub use key::{KeyFiles, Protection, SecretKey, keygen};
