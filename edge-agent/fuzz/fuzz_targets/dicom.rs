//! A file of any format, to pixels, and as an object that a unit sent.
#![no_main]

use std::panic::set_hook;
use std::process::abort;

use edge_agent::decode::{DecodeLimits, Detail, decode_bytes, decode_bytes_at, inspect_dicom};
use libfuzzer_sys::fuzz_target;
use shared::pixel::ImageLimits;

fuzz_target!(init: {
    // Decoders of others may panic: that is an error about their input. libFuzzer would abort at it.
    set_hook(Box::new(|panic| {
        if panic.location().is_none_or(|location| !location.file().contains("/registry/src/")) {
            eprintln!("{panic}");
            abort();
        }
    }));
}, |bytes: &[u8]| {
    // Small, so that a hostile header shows as memory.
    let image = ImageLimits { max_side: 512, max_pixels: 1 << 16 };
    let limits = DecodeLimits { max_file_bytes: 1 << 20, image };
    let decoded = decode_bytes(bytes, &limits);
    if let Ok(decoded) = &decoded {
        assert!(decoded.frame.rows() * decoded.frame.cols() <= 1 << 16);
    }
    let reduced = decode_bytes_at(Detail::AtLeast(4), bytes, &limits);
    if let (Ok(decoded), Ok(reduced)) = (decoded, reduced) {
        assert_eq!(decoded.image, reduced.image);
    }
    let _ = inspect_dicom(bytes, &limits);
});
