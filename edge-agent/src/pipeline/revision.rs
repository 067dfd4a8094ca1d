//! Whether an image is the one that came under its SOP Instance UID before, or another.
//!
//! Of a JPEG 2000 image only the pixels that the network can make use of are decoded, and their digest is not that of the
//! same image sent uncompressed. So where digests differ, or are of such pixels only, all pixels of both images are compared,
//! as long as the first one's file is there: until its result is delivered. The digest of all pixels is then what is
//! remembered of the image and what its revision is called after. So a third copy is known however it is compressed. What is
//! left: an image that came as JPEG 2000, and comes again in another form after its result was delivered, is a revision,
//! since nobody can tell; one that comes again as JPEG 2000 with the same decoded pixels is not.

use crate::infer::{Analysis, Analyzer};
use crate::store::{Store, StoreError};

/// What an image is to those that came before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    /// The digest to remember it by: of all pixels where they were decoded.
    pub(super) content: [u8; 32],
    /// Whether other pixels came under its SOP Instance UID before.
    pub(super) is_revision: bool,
}

/// Looks at an image of which `bytes` is the file.
pub(super) fn judge(
    store: &Store,
    analyzer: &Analyzer,
    analysis: &Analysis,
    bytes: &[u8],
) -> Result<Verdict, StoreError> {
    let result = analysis.result_id();
    let decoded = analysis.content;
    let Some(is_known) = store.is_content_of(result, &decoded)? else {
        return Ok(Verdict { content: decoded, is_revision: false });
    };
    if is_known && !analysis.is_reduced() {
        return Ok(Verdict { content: decoded, is_revision: false });
    }
    let full = if analysis.is_reduced() { analyzer.full_content(bytes).ok() } else { Some(decoded) };
    let Some(content) = full else {
        return Ok(Verdict { content: decoded, is_revision: !is_known });
    };
    if store.is_content_of(result, &content)? == Some(true) {
        return Ok(Verdict { content, is_revision: false });
    }
    // A file that cannot be read holds up nobody's result.
    let file = store.first_file(result).unwrap_or_else(|error| {
        tracing::warn!(%error, "the first image under a SOP Instance UID cannot be compared");
        None
    });
    let first = file.and_then(|bytes| analyzer.full_content(&bytes).ok());
    Ok(Verdict { content, is_revision: first.map_or(!is_known, |first| first != content) })
}

#[cfg(test)]
mod tests;
