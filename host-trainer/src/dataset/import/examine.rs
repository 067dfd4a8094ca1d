use std::collections::BTreeMap;

use image_hasher::{HashAlg, HasherConfig};
use sha2::{Digest as _, Sha256};
use shared::mask::Rle;

use super::super::file_digest;
use super::super::{DatasetError, Promised, Record, load_annotated};

/// Side of the perceptual hash: 16 × 16 bits tell radiographs apart, which all look alike in 8 × 8.
const HASH_SIDE: u32 = 16;

/// Bits of the perceptual hash.
pub(super) const HASH_BITS: u32 = HASH_SIDE * HASH_SIDE;

/// What opening an image and its masks tells.
pub(super) struct Examined {
    pub(super) rows: usize,
    pub(super) cols: usize,
    /// Of the file.
    pub(super) sha256: String,
    /// Of the decoded samples.
    pub(super) pixels: [u8; 32],
    /// Perceptual hash: brighter or darker than the pixel to the left, on a coarse grid.
    pub(super) hash: [u64; 4],
    /// One code a class, none where the class is absent.
    pub(super) masks: BTreeMap<String, Vec<Rle>>,
}

/// Opens an image and its masks; `promised` is what an index says of the file, if the image comes from one.
pub(super) fn examine(record: &Record, promised: Option<&Promised>) -> Result<Examined, DatasetError> {
    let labels: Vec<String> = record.masks.keys().cloned().collect();
    let annotated = load_annotated(record, &labels)?;
    let sha256 = file_digest(&record.image)?;
    let frame = &annotated.frame;
    if let Some(promised) = promised {
        promised.check(record, (frame.rows(), frame.cols()), &sha256)?;
    }
    let mut pixels = Sha256::new();
    pixels.update(format!("{} {}\n", frame.rows(), frame.cols()));
    for line in frame.samples().chunks(4096) {
        pixels.update(line.iter().flat_map(|sample| sample.to_le_bytes()).collect::<Vec<u8>>());
    }
    let code = |mask: &shared::mask::Mask| if mask.is_empty() { Vec::new() } else { vec![Rle::encode(mask)] };
    let masks = labels.iter().zip(&annotated.masks);
    Ok(Examined {
        rows: frame.rows(),
        cols: frame.cols(),
        sha256,
        pixels: pixels.finalize().into(),
        hash: perceptual(&frame.to_image8()),
        masks: masks.filter_map(|(label, mask)| Some((label.clone(), code(mask.as_ref()?)))).collect(),
    })
}

fn perceptual(image: &image::GrayImage) -> [u64; 4] {
    let hasher = HasherConfig::with_bytes_type::<[u8; 32]>()
        .hash_size(HASH_SIDE, HASH_SIDE)
        .hash_alg(HashAlg::Gradient)
        .to_hasher();
    let hash = hasher.hash_image(image);
    let mut words = [0; 4];
    for (word, bytes) in words.iter_mut().zip(hash.as_bytes().chunks(8)) {
        *word = bytes.iter().fold(0, |word, &byte| word << 8 | u64::from(byte));
    }
    words
}
