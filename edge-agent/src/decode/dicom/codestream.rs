//! What compressed pixel data says of its own size, read before any decoder allocates for it.

/// Size of a compressed image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Codestream {
    pub(super) rows: u32,
    pub(super) cols: u32,
    pub(super) components: u16,
    /// Bits of a sample.
    pub(super) precision: u8,
}

impl Codestream {
    /// The frame header (SOFn) of JPEG (ITU-T T.81 B.2.2) or JPEG-LS (ITU-T T.87 C.2.2).
    pub(super) fn of_jpeg(data: &[u8]) -> Option<Self> {
        let mut rest = data.strip_prefix(&[0xFF, 0xD8])?;
        loop {
            // Any number of fill bytes may precede a marker.
            while let [0xFF, 0xFF, ..] = rest {
                rest = &rest[1..];
            }
            let &[0xFF, marker, high, low, ..] = rest else { return None };
            let length = usize::from(u16::from_be_bytes([high, low]));
            let segment = rest.get(4..2 + length)?;
            match marker {
                // DHT, JPG and DAC share the range of SOFn.
                0xC4 | 0xC8 | 0xCC => {}
                0xC0..=0xCF | 0xF7 => {
                    let &[precision, y1, y0, x1, x0, components, ..] = segment else { return None };
                    return Some(Self {
                        rows: u32::from(u16::from_be_bytes([y1, y0])),
                        cols: u32::from(u16::from_be_bytes([x1, x0])),
                        components: u16::from(components),
                        precision,
                    });
                }
                // Entropy-coded data before a frame header.
                0xDA => return None,
                _ => {}
            }
            rest = &rest[2 + length..];
        }
    }

    /// Whether JPEG 2000 has its last marker (ITU-T T.800 A.4.4), which packets cannot hold; zeros may follow, to an even length.
    pub(super) fn is_ended_jpeg2000(data: &[u8]) -> bool {
        let padding = data.iter().rev().take_while(|byte| **byte == 0).count();
        data[..data.len() - padding].ends_with(&[0xFF, 0xD9])
    }

    /// The SIZ segment of JPEG 2000 (ITU-T T.800 A.5.1). Subsampled components are refused. DICOM allows no
    /// JP2 boxes around it (PS3.5 A.4.4).
    pub(super) fn of_jpeg2000(data: &[u8]) -> Option<Self> {
        let siz = data.strip_prefix(&[0xFF, 0x4F, 0xFF, 0x51])?;
        let word = |at: usize| Some(u32::from_be_bytes(*siz.get(at..)?.first_chunk::<4>()?));
        let (width, height, left, top) = (word(4)?, word(8)?, word(12)?, word(16)?);
        let components = u16::from_be_bytes(*siz.get(36..)?.first_chunk::<2>()?);
        let depth = *siz.get(38)?;
        let planes = siz.get(38..38 + 3 * usize::from(components))?;
        if planes.chunks_exact(3).any(|plane| plane != [depth, 1, 1]) {
            return None;
        }
        Some(Self {
            rows: height.checked_sub(top)?,
            cols: width.checked_sub(left)?,
            components,
            precision: (depth & 0x7F) + 1,
        })
    }

    /// How often a JPEG 2000 image can be halved: the levels of its main header's COD segment (ITU-T T.800 A.6.1). None if there
    /// is no such segment, or the image does not begin at the origin of the reference grid: what remained would then have
    /// other sizes, and lie elsewhere, than every second pixel from the first on.
    pub(super) fn halvings_of_jpeg2000(data: &[u8]) -> u8 {
        const SIZ: [u8; 4] = [0xFF, 0x4F, 0xFF, 0x51];
        if !data.starts_with(&SIZ) || data.get(16..24).is_none_or(|offset| offset != [0; 8]) {
            return 0;
        }
        let mut rest = &data[2..];
        // SOT ends the main header.
        while let &[0xFF, marker, high, low, ..] = rest
            && marker != 0x90
        {
            let length = usize::from(u16::from_be_bytes([high, low]));
            let Some(segment) = rest.get(4..2 + length) else { break };
            if marker == 0x52 {
                return segment.get(5).copied().filter(|levels| *levels <= 32).unwrap_or(0);
            }
            rest = &rest[2 + length..];
        }
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frame_header_of_jpeg_is_found_behind_other_segments() {
        let data = [
            0xFF, 0xD8, 0xFF, 0xE0, 0, 4, 1, 2, 0xFF, 0xFF, 0xC4, 0, 2, 0xFF, 0xC3, 0, 11, 16, 0x12, 0x34, 0,
            9, 1, 0, 0, 0,
        ];
        let expected = Codestream { rows: 0x1234, cols: 9, components: 1, precision: 16 };
        assert_eq!(Codestream::of_jpeg(&data), Some(expected));
        for cut in 0..data.len() - 4 {
            // Cut anywhere it is none or right, never a panic.
            assert!(Codestream::of_jpeg(&data[..cut]).is_none_or(|c| c == expected));
        }
    }

    #[test]
    fn a_segment_without_length_ends_the_search() {
        assert_eq!(Codestream::of_jpeg(&[0xFF, 0xD8, 0xFF, 0xE0, 0, 0, 0xFF, 0xE0, 0, 0]), None);
        assert_eq!(Codestream::of_jpeg(&[0xFF, 0xD8, 0xFF, 0xE0, 0, 1, 0xFF, 0xE0]), None);
    }

    #[test]
    fn siz_of_jpeg2000() {
        let mut data = vec![0xFF, 0x4F, 0xFF, 0x51, 0, 41, 0, 0];
        for word in [100_u32, 60, 4, 10, 100, 60, 0, 0] {
            data.extend(word.to_be_bytes());
        }
        data.extend([0, 1, 15, 1, 1]);
        let expected = Codestream { rows: 50, cols: 96, components: 1, precision: 16 };
        assert_eq!(Codestream::of_jpeg2000(&data), Some(expected));
        assert_eq!(Codestream::of_jpeg2000(&data[..data.len() - 1]), None);
        *data.last_mut().unwrap() = 2;
        assert_eq!(Codestream::of_jpeg2000(&data), None);
    }

    /// A main header with a comment before COD, and the SOT behind it.
    fn main_header(offset: [u32; 2], levels: u8) -> Vec<u8> {
        let mut data = vec![0xFF, 0x4F, 0xFF, 0x51, 0, 41, 0, 0];
        for word in [2048, 2500, offset[0], offset[1], 2048, 2500, 0, 0] {
            data.extend(word.to_be_bytes());
        }
        data.extend([0, 1, 15, 1, 1]);
        data.extend([0xFF, 0x64, 0, 6, 0, 1, 0xFF, 0x52]);
        data.extend([0xFF, 0x52, 0, 12, 0, 0, 0, 1, 0, levels, 4, 4, 0, 1]);
        data.extend([0xFF, 0x90, 0, 10, 0, 0, 0, 0, 0, 0, 0, 1]);
        data
    }

    #[test]
    fn levels_are_found_behind_other_segments_and_cut_anywhere_are_none_or_right() {
        let data = main_header([0, 0], 5);
        assert_eq!(Codestream::halvings_of_jpeg2000(&data), 5);
        for cut in 0..data.len() {
            assert!([0, 5].contains(&Codestream::halvings_of_jpeg2000(&data[..cut])), "{cut}");
        }
    }

    #[test]
    fn an_image_without_usable_levels_cannot_be_halved() {
        let halvings = Codestream::halvings_of_jpeg2000;
        assert_eq!(halvings(&main_header([1, 0], 5)), 0, "not from the origin");
        assert_eq!(halvings(&main_header([0, 1], 5)), 0, "not from the origin");
        let mut data = main_header([0, 0], 33);
        assert_eq!(halvings(&data), 0, "more than there can be");
        let cod = data.len() - 26;
        data.splice(cod..cod + 14, []);
        data.extend([0xFF, 0x52, 0, 12, 0, 0, 0, 1, 0, 5, 4, 4, 0, 1]);
        assert_eq!(halvings(&data), 0, "of a tile");
        data[cod..cod + 4].copy_from_slice(&[0xFF, 0x64, 0, 0]);
        assert_eq!(halvings(&data), 0, "behind a segment without length");
    }
}
