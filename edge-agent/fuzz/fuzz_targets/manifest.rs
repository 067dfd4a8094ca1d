//! The manifest of a bundle.
#![no_main]

use libfuzzer_sys::fuzz_target;
use shared::manifest::Manifest;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = Manifest::parse(text);
    }
});
