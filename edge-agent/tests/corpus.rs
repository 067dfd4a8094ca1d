//! What the fuzz targets found worth keeping (`fuzz/seeds`), once more through the same code: no panic, no hang.

#![allow(clippy::unwrap_used, reason = "these are tests, helpers too")]

use std::fs;
use std::path::Path;

use edge_agent::decode::{DecodeLimits, Detail, data_set, decode_bytes, decode_bytes_at, inspect_dicom};
use edge_agent::testing::read_command;
use shared::manifest::Manifest;
use shared::mask::Rle;
use shared::message::{Ack, Birth, Command, Health, Message, Response, ResultEnvelope, Status};

/// The inputs of a target.
fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
    let inputs: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| fs::read(entry.unwrap().path()).unwrap()).collect();
    assert!(inputs.len() > 20, "{target} has {} inputs", inputs.len());
    inputs
}

#[test]
fn files_of_any_kind_are_pixels_or_an_error() {
    let limits = DecodeLimits::default();
    let (mut decoded, mut refused) = (0, 0);
    for bytes in seeds("dicom") {
        let full = decode_bytes(&bytes, &limits);
        match &full {
            Ok(_) => decoded += 1,
            Err(_) => refused += 1,
        }
        if let (Ok(full), Ok(reduced)) = (full, decode_bytes_at(Detail::AtLeast(4), &bytes, &limits)) {
            assert_eq!(full.image, reduced.image);
        }
        let _ = inspect_dicom(&bytes, &limits);
    }
    assert!(decoded > 0 && refused > 0, "{decoded} decoded, {refused} refused");
}

#[test]
fn what_peers_send_is_read_or_refused() {
    let mut commands = 0;
    for bytes in seeds("pdu") {
        let mut rest = std::io::Cursor::new(&bytes[..]);
        while let Ok(Some(pdu)) = dicom_ul::read_pdu(&mut rest, 64 << 10, true) {
            let dicom_ul::Pdu::PData { data } = pdu else { continue };
            for value in data {
                commands += usize::from(read_command(&value.data));
                let _ = data_set(&value.data, "1.2.840.10008.1.2.1");
            }
        }
    }
    assert!(commands > 0);
}

#[test]
fn messages_masks_and_manifests_are_read_or_refused() {
    let round_trip = |bytes: &[u8]| {
        let result = ResultEnvelope::parse(bytes);
        if let Ok(result) = &result {
            assert_eq!(ResultEnvelope::parse(&result.to_json()).unwrap(), *result);
        }
        let _ = (Ack::parse(bytes), Birth::parse(bytes), Health::parse(bytes), Status::parse(bytes));
        let _ = (Command::parse(bytes), Response::parse(bytes));
        usize::from(result.is_ok())
    };
    assert!(seeds("message").iter().map(|bytes| round_trip(bytes)).sum::<usize>() > 0);
    for bytes in seeds("manifest") {
        let _ = Manifest::parse(&String::from_utf8_lossy(&bytes));
    }
    let mut masks = 0;
    for bytes in seeds("rle") {
        let Some(([a, b, c, d], counts)) = bytes.split_first_chunk::<4>() else { continue };
        let Ok(counts) = String::from_utf8(counts.to_vec()) else { continue };
        let size = [u16::from_le_bytes([*a, *b]).into(), u16::from_le_bytes([*c, *d]).into()];
        let rle = Rle { size, counts };
        let area = rle.area();
        if size[0] * size[1] <= 1 << 20
            && let Ok(mask) = rle.decode()
        {
            assert_eq!(area, Ok(mask.area()));
            masks += 1;
        }
    }
    assert!(masks > 0);
}
