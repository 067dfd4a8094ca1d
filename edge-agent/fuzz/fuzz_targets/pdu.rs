//! Bytes of a peer: PDUs, and what is in them as commands and as data sets without a file.
#![no_main]

use dicom_ul::Pdu;
use dicom_ul::pdu::{PDataValueType, read_pdu};
use edge_agent::decode::data_set;
use edge_agent::testing::read_command;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut rest = std::io::Cursor::new(bytes);
    while let Ok(Some(pdu)) = read_pdu(&mut rest, 64 << 10, true) {
        let Pdu::PData { data } = pdu else { continue };
        for value in data {
            match value.value_type {
                PDataValueType::Command => drop(read_command(&value.data)),
                PDataValueType::Data => drop(data_set(&value.data, "1.2.840.10008.1.2.1")),
            }
        }
    }
});
