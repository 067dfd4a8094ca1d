//! JPEG 2000 with OpenJPEG, as dicom-rs does it, but without its copy of the codestream and its call for every sample, and
//! without the resolutions that nobody wants.

use jpeg2k::{DecodeParameters, Image, ImageComponent};

use super::super::Detail;
use super::codestream::Codestream;
use super::pixels::{PixelModule, Raster};

/// OpenJPEG takes a codestream that is cut off between tiles, or within one whose length is not told, and leaves the rest
/// black.
pub(super) fn decode(data: &[u8], module: &PixelModule, detail: Detail) -> Result<Raster<Vec<u8>>, String> {
    if !Codestream::is_ended_jpeg2000(data) {
        return Err("it is cut off: its last marker, EOC, is missing".into());
    }
    // What fails may still be had in full: a tile or a component may have fewer levels than the main header says.
    if let halvings @ 1.. = spare(data, module, detail)
        && let Ok(raster) = decode_halved(data, module, halvings)
    {
        return Ok(raster);
    }
    decode_halved(data, module, 0)
}

/// How many of the finest resolutions can be left out. What is left of an edge overshoots it: up to the codestream's precision
/// OpenJPEG cuts that off, but bits above the stored ones would be lost, and white would become black.
fn spare(data: &[u8], module: &PixelModule, detail: Detail) -> u8 {
    let Detail::AtLeast(side) = detail else { return 0 };
    if !Codestream::of_jpeg2000(data).is_some_and(|header| module.stores_all_of(header.precision)) {
        return 0;
    }
    let longer = module.rows.max(module.cols) as u64;
    let is_enough = |halvings: &u8| longer.div_ceil(1 << halvings) >= side as u64;
    (1..=Codestream::halvings_of_jpeg2000(data)).take_while(is_enough).last().unwrap_or(0)
}

/// Without so many of the finest resolutions. What remains has sides that are rounded up (ITU-T T.800 B-15).
fn decode_halved(data: &[u8], module: &PixelModule, halvings: u8) -> Result<Raster<Vec<u8>>, String> {
    let step = 1_usize.checked_shl(halvings.into()).ok_or("it is halved to nothing")?;
    let size = module.size(step);
    let parameters = DecodeParameters::new().reduce(halvings.into());
    let image = Image::from_bytes_with(data, parameters).map_err(|e| e.to_string())?;
    let is_right = |c: &ImageComponent| (c.height() as usize, c.width() as usize) == size;
    let components = image.components();
    if components.len() != usize::from(module.samples_per_pixel) || !components.iter().all(is_right) {
        return Err("it holds other pixels than its header says".into());
    }
    let planes: Vec<&[i32]> = components.iter().map(ImageComponent::data).collect();
    let pixels = size.0 * size.1;
    // Two's complement, as DICOM stores signed samples.
    let data = match (&planes[..], module.bits_allocated) {
        ([plane], 16) => plane.iter().flat_map(|v| (*v as u16).to_le_bytes()).collect(),
        (_, 8) => (0..pixels).flat_map(|i| planes.iter().map(move |plane| plane[i] as u8)).collect(),
        _ => (0..pixels).flat_map(|i| planes.iter().flat_map(move |p| (p[i] as u16).to_le_bytes())).collect(),
    };
    Ok(Raster { step, data })
}

#[cfg(test)]
mod tests;
