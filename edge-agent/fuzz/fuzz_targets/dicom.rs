//! A file of any format, to pixels, and as an object that a unit sent.
#![no_main]

use edge_agent::decode::{DecodeLimits, decode_bytes, inspect_dicom};
use libfuzzer_sys::fuzz_target;
use shared::pixel::ImageLimits;

fuzz_target!(|bytes: &[u8]| {
    // Small, so that a hostile header shows as memory.
    let image = ImageLimits { max_side: 512, max_pixels: 1 << 16 };
    let limits = DecodeLimits { max_file_bytes: 1 << 20, image };
    let decoded = decode_bytes(bytes, &limits);
    if let Ok(decoded) = decoded {
        assert!(decoded.frame.rows() * decoded.frame.cols() <= 1 << 16);
    }
    let _ = inspect_dicom(bytes, &limits);
});
