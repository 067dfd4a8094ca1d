//! What comes over MQTT.
#![no_main]

use libfuzzer_sys::fuzz_target;
use shared::message::{Ack, Birth, Command, Health, Message, Response, ResultEnvelope, Status};
use shared::topic::DeviceId;

fn round_trip<M: Message + PartialEq + std::fmt::Debug>(bytes: &[u8]) {
    if let Ok(message) = M::parse(bytes) {
        let again = M::parse(&message.to_json()).expect("what was parsed and written parses");
        // Of a newer minor version, unknown fields are left out.
        assert_eq!(again, message);
    }
}

fuzz_target!(|bytes: &[u8]| {
    round_trip::<ResultEnvelope>(bytes);
    round_trip::<Ack>(bytes);
    round_trip::<Birth>(bytes);
    round_trip::<Health>(bytes);
    round_trip::<Status>(bytes);
    round_trip::<Command>(bytes);
    round_trip::<Response>(bytes);
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok((device, channel)) = DeviceId::parse_topic(text)
    {
        assert_eq!(device.topic(&channel), text);
    }
});
