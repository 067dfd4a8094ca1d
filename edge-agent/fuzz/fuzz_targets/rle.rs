//! COCO's compressed RLE: two bytes of each side, then the counts.
#![no_main]

use libfuzzer_sys::fuzz_target;
use shared::mask::Rle;

fuzz_target!(|bytes: &[u8]| {
    let Some((sides, counts)) = bytes.split_first_chunk::<4>() else { return };
    let Ok(counts) = std::str::from_utf8(counts) else { return };
    let [a, b, c, d] = *sides;
    let size = [u16::from_le_bytes([a, b]).into(), u16::from_le_bytes([c, d]).into()];
    let rle = Rle { size, counts: counts.to_owned() };
    let area = rle.area();
    // A mask of more than a megapixel is only counted.
    if size[0] * size[1] > 1 << 20 {
        return;
    }
    if let Ok(mask) = rle.decode() {
        assert_eq!(area, Ok(mask.area()));
        assert_eq!(Rle::encode(&mask).decode().as_ref(), Ok(&mask));
    }
});
