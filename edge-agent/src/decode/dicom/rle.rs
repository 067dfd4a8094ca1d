//! RLE Lossless (PS3.5 annex G), looked at before dicom-rs decodes it: it takes the header's counts and offsets as they are,
//! and memory for whatever they say.

use super::pixels::PixelModule;

/// Bytes of the header: the number of segments and fifteen offsets.
const HEADER: usize = 64;
/// What encoders may add to fill a segment up.
const SLACK: usize = 256;

/// Checks that a frame has the segments that its image needs, each as long as it must be.
pub(super) fn check(data: &[u8], module: &PixelModule) -> Result<(), String> {
    let (header, _) = data.as_chunks::<4>();
    let word = |at: usize| header.get(at).map(|word| u32::from_le_bytes(*word) as usize);
    let segments = usize::from(module.samples_per_pixel * (module.bits_allocated / 8));
    let found = word(0).filter(|_| data.len() > HEADER).ok_or("its header is cut off")?;
    if found != segments {
        return Err(format!("it has {found} segments, an image of this kind has {segments}"));
    }
    let begins: Vec<usize> = (1..=segments).filter_map(word).collect();
    let ends = begins.iter().skip(1).copied().chain([data.len()]);
    let pixels = module.rows * module.cols;
    for (segment, (begin, end)) in begins.iter().zip(ends).enumerate() {
        let bytes = if *begin < HEADER { None } else { data.get(*begin..end) };
        let bytes = bytes.ok_or_else(|| format!("segment {segment} lies outside of it"))?;
        let length = decoded_length(bytes, pixels + SLACK);
        if !(pixels..=pixels + SLACK).contains(&length) {
            return Err(format!(
                "segment {segment} holds {length} bytes or more, rows and columns need {pixels}"
            ));
        }
    }
    Ok(())
}

/// How many bytes a segment becomes (G.3.2), or some more than `most`.
fn decoded_length(mut bytes: &[u8], most: usize) -> usize {
    let mut length = 0;
    while let Some((control, rest)) = bytes.split_first() {
        let (consumed, made) = match control {
            0..=127 => (usize::from(*control) + 1, (usize::from(*control) + 1).min(rest.len())),
            128 => (0, 0),
            129..=255 => (1, if rest.is_empty() { 0 } else { 257 - usize::from(*control) }),
        };
        length += made;
        if length > most {
            break;
        }
        bytes = rest.get(consumed..).unwrap_or_default();
    }
    length
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_those_of_the_standards_rules() {
        // Two bytes as they are, nothing, one byte three times; and a run that is cut off.
        assert_eq!(decoded_length(&[1, 7, 7, 128, 254, 9], 100), 5);
        assert_eq!(decoded_length(&[127, 1, 2], 100), 2);
        assert_eq!(decoded_length(&[129], 100), 0);
        assert!(decoded_length(&[129, 0].repeat(1000), 500) < 1000, "no further than it must");
    }
}
