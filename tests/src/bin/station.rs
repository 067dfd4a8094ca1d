//! An X-ray unit and a subscriber in one, to measure what stands between them; `tests/peer/compare.py` runs it.
//!
//! `station make FOLDER COUNT` writes radiographs of 2500 × 2048 pixels as uncompressed DICOM.
//!
//! `station run DICOM_PORT MQTT_PORT ASSOCIATIONS COUNT FILE…` sends COUNT images, made of the files with SOP Instance UIDs of
//! their own, over so many associations, and prints one line of JSON. With one association each image waits for the result
//! of the one before, and `latency_ms` tells, of each, the time from the last byte sent to the result's arrival.

use std::collections::HashMap;
use std::error::Error;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use dicom_core::{DataElement, PrimitiveValue, VR};
use dicom_dictionary_std::tags;
use dicom_object::{FileDicomObject, InMemDicomObject, open_file};
use dicom_transfer_syntax_registry::{TransferSyntaxIndex, TransferSyntaxRegistry, entries};
use dicom_ul::ClientAssociationOptions;
use dicom_ul::pdu::{PDataValue, PDataValueType, Pdu};
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::Packet;
use rumqttc::v5::{Client, Event, MqttOptions};
use shared::phantom::{PhantomParams, render};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// For a result to come.
const PATIENCE: Duration = Duration::from_secs(120);

/// An image ready to be sent: nothing but the network is left to do.
struct Exposure {
    uid: String,
    class: String,
    syntax: String,
    command: Vec<u8>,
    data_set: Vec<u8>,
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["make", folder, count] => make(folder, count.parse()?),
        ["run", dicom, mqtt, associations, count, ref files @ ..] if !files.is_empty() => {
            run(dicom.parse()?, mqtt.parse()?, associations.parse()?, count.parse()?, files)
        }
        _ => Err(
            "usage: station make FOLDER COUNT | station run DICOM_PORT MQTT_PORT ASSOCIATIONS COUNT FILE…"
                .into(),
        ),
    }
}

fn make(folder: &str, count: u64) -> Result<()> {
    std::fs::create_dir_all(folder)?;
    for seed in 0..count {
        let frame = render(&PhantomParams::random(seed, 2500, 2048))?.frame;
        let uid = format!("1.2.840.1.{seed}").parse()?;
        std::fs::write(format!("{folder}/{seed}.dcm"), edge_agent::specimen::dicom_file(&frame, &uid))?;
    }
    Ok(())
}

fn run(dicom: u16, mqtt: u16, associations: usize, count: usize, files: &[&str]) -> Result<()> {
    let sources: Vec<_> = files.iter().map(open_file).collect::<std::result::Result<_, _>>()?;
    let run = std::process::id();
    let exposures: Vec<Exposure> = (0..count)
        .map(|n| expose(&sources[n % sources.len()], &format!("1.2.840.2.{run}.{n}")))
        .collect::<Result<_>>()?;
    let results = subscribe(mqtt)?;
    let start = Instant::now();
    let mut sent: HashMap<String, Instant> = HashMap::new();
    let mut arrived: HashMap<String, Instant> = HashMap::new();
    let mut responses = Vec::new();
    if associations == 1 {
        let mut unit = associate(dicom, &exposures[0])?;
        for exposure in &exposures {
            let (last_byte, response) = send(&mut unit, exposure)?;
            responses.push(response.as_secs_f64() * 1e3);
            sent.insert(exposure.uid.clone(), last_byte);
            while !arrived.contains_key(&exposure.uid) {
                let (uid, at) = results.recv_timeout(PATIENCE)?;
                arrived.insert(uid, at);
            }
        }
    } else {
        let share = exposures.len().div_ceil(associations);
        std::thread::scope(|scope| -> Result<()> {
            let units: Vec<_> = exposures
                .chunks(share)
                .map(|own| {
                    scope.spawn(move || -> Result<Vec<(String, Instant, Duration)>> {
                        let mut unit = associate(dicom, &own[0])?;
                        own.iter()
                            .map(|exposure| {
                                let (last_byte, response) = send(&mut unit, exposure)?;
                                Ok((exposure.uid.clone(), last_byte, response))
                            })
                            .collect()
                    })
                })
                .collect();
            while arrived.len() < exposures.len() {
                let (uid, at) = results.recv_timeout(PATIENCE)?;
                arrived.insert(uid, at);
            }
            for unit in units {
                for (uid, at, response) in unit.join().map_err(|_| "a unit panicked")?? {
                    sent.insert(uid, at);
                    responses.push(response.as_secs_f64() * 1e3);
                }
            }
            Ok(())
        })?;
    }
    let last = arrived.values().max().copied().unwrap_or(start);
    let latency: Vec<f64> = exposures
        .iter()
        .filter_map(|e| Some((*arrived.get(&e.uid)? - *sent.get(&e.uid)?).as_secs_f64() * 1e3))
        .collect();
    let report = serde_json::json!({
        "latency_ms": latency,
        "response_ms": responses,
        "images_per_s": exposures.len() as f64 / (last - start).as_secs_f64(),
    });
    println!("{report}");
    Ok(())
}

fn expose(source: &FileDicomObject<InMemDicomObject>, uid: &str) -> Result<Exposure> {
    let syntax = source.meta().transfer_syntax().to_owned();
    let class = source.meta().media_storage_sop_class_uid.trim_end_matches('\0').to_owned();
    let mut object = (**source).clone();
    object.put(DataElement::new(tags::SOP_INSTANCE_UID, VR::UI, PrimitiveValue::from(uid)));
    let mut data_set = Vec::new();
    let encoding = TransferSyntaxRegistry.get(&syntax).ok_or("an unknown transfer syntax")?;
    object.write_dataset_with_ts(&mut data_set, encoding)?;
    let text = |tag, value: &str| DataElement::new(tag, VR::UI, PrimitiveValue::from(value));
    let word = |tag, value: u16| DataElement::new(tag, VR::US, PrimitiveValue::from(value));
    let mut command = Vec::new();
    InMemDicomObject::command_from_element_iter([
        text(tags::AFFECTED_SOP_CLASS_UID, &class),
        word(tags::COMMAND_FIELD, 0x0001),
        word(tags::MESSAGE_ID, 1),
        word(tags::PRIORITY, 0),
        word(tags::COMMAND_DATA_SET_TYPE, 0),
        text(tags::AFFECTED_SOP_INSTANCE_UID, uid),
    ])
    .write_dataset_with_ts(&mut command, &entries::IMPLICIT_VR_LITTLE_ENDIAN.erased())?;
    Ok(Exposure { uid: uid.to_owned(), class, syntax, command, data_set })
}

type Unit = dicom_ul::ClientAssociation<std::net::TcpStream>;

fn associate(port: u16, first: &Exposure) -> Result<Unit> {
    let options = ClientAssociationOptions::new().calling_ae_title("ROOM-1").called_ae_title("CHEXSEG");
    let options = options.max_pdu_length(1 << 20);
    Ok(options
        .with_presentation_context(first.class.clone(), vec![first.syntax.clone()])
        .establish(("127.0.0.1", port))?)
}

/// When the last byte was sent, and how long the answer took from then on.
fn send(unit: &mut Unit, exposure: &Exposure) -> Result<(Instant, Duration)> {
    let context = unit.presentation_contexts()[0].id;
    let most = unit.acceptor_max_pdu_length().min(1 << 20) as usize - 6;
    let mut piece = |value_type, is_last, data: &[u8]| -> Result<()> {
        let value = PDataValue { presentation_context_id: context, value_type, is_last, data: data.to_vec() };
        Ok(unit.send(&Pdu::PData { data: vec![value] })?)
    };
    piece(PDataValueType::Command, true, &exposure.command)?;
    let pieces = exposure.data_set.chunks(most);
    let count = pieces.len();
    for (n, data) in pieces.enumerate() {
        piece(PDataValueType::Data, n + 1 == count, data)?;
    }
    let last_byte = Instant::now();
    let Pdu::PData { data } = unit.receive()? else { return Err("no answer".into()) };
    let response = last_byte.elapsed();
    let answer = InMemDicomObject::read_dataset_with_ts(
        &data[0].data[..],
        &entries::IMPLICIT_VR_LITTLE_ENDIAN.erased(),
    )?;
    match answer.element(tags::STATUS)?.to_int::<u16>()? {
        0 => Ok((last_byte, response)),
        status => Err(format!("refused with {status:#06X}").into()),
    }
}

/// SOP Instance UIDs of results, and when they came.
fn subscribe(port: u16) -> Result<Receiver<(String, Instant)>> {
    let mut options = MqttOptions::new("station", "127.0.0.1", port);
    options.set_max_packet_size(Some(4 << 20));
    let (client, mut connection) = Client::new(options, 100);
    client.subscribe("cxr/v1/+/+/result", QoS::AtLeastOnce)?;
    let (results, arrived) = sync_channel(10_000);
    let (ready, subscribed) = sync_channel(1);
    std::thread::spawn(move || {
        for event in connection.iter() {
            match event {
                Ok(Event::Incoming(Packet::SubAck(_))) => drop(ready.send(())),
                Ok(Event::Incoming(Packet::Publish(publish))) => {
                    let at = Instant::now();
                    let Ok(result) = serde_json::from_slice::<serde_json::Value>(&publish.payload) else {
                        continue;
                    };
                    let uid = result["image"]["sop_instance_uid"].as_str().unwrap_or_default().to_owned();
                    if results.send((uid, at)).is_err() {
                        return;
                    }
                }
                Ok(_) => {}
                Err(error) => return eprintln!("the broker: {error}"),
            }
        }
    });
    subscribed.recv_timeout(PATIENCE)?;
    // Keeps the client alive with its thread.
    std::mem::forget(client);
    Ok(arrived)
}
