//! Nothing of a patient leaves the images: a canary in headers, file names and folders is in no log line at any level, no
//! topic, no message, no metric and no answer.

#![allow(clippy::unwrap_used, reason = "these are tests, helpers too")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use std::{fs, thread};

use dicom_core::{PrimitiveValue, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_object::InMemDicomObject;
use dicom_object::mem::InMemElement;
use dicom_transfer_syntax_registry::entries;
use dicom_ul::ClientAssociationOptions;
use dicom_ul::pdu::{PDataValue, PDataValueType, Pdu};
use edge_agent::demo::broker::EmbeddedBroker;
use edge_agent::demo::subscriber::Subscriber;
use edge_agent::specimen;
use edge_agent::testing::{disc, write_bundle};
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::Publish;
use shared::message::{Command as Ask, Message, SCHEMA};
use tokio::time::timeout;

/// A guard against hanging, not a measure.
const PATIENCE: Duration = Duration::from_secs(120);
const CANARY: &str = "KANARIENVOGEL";

/// A radiograph with the canary wherever a person's data stands, and where a unit or a foe might put it.
fn radiograph(uid: &str) -> InMemDicomObject {
    let mut object = specimen::dataset(&disc(), &uid.parse().unwrap());
    for (tag, vr) in [
        (tags::PATIENT_NAME, VR::PN),
        (tags::PATIENT_ID, VR::LO),
        (tags::PATIENT_BIRTH_DATE, VR::DA),
        (tags::ACCESSION_NUMBER, VR::SH),
        (tags::INSTITUTION_NAME, VR::LO),
        (tags::REFERRING_PHYSICIAN_NAME, VR::PN),
        (tags::STUDY_DESCRIPTION, VR::LO),
        (tags::STUDY_DATE, VR::DA),
        (tags::STUDY_TIME, VR::TM),
        (tags::IMAGE_COMMENTS, VR::LT),
        (tags::STATION_NAME, VR::SH),
        (tags::SPECIFIC_CHARACTER_SET, VR::CS),
    ] {
        object.put(InMemElement::new(tag, vr, PrimitiveValue::from(CANARY)));
    }
    object
}

/// Good ones, and ones that fail at different depths, each with the canary in its name.
fn fill(inbox: &Path) {
    let folder = inbox.join(format!("{CANARY}^ANNA"));
    fs::create_dir(&folder).unwrap();
    let put = |name: &str, bytes: &[u8]| {
        let part = folder.join(format!("{name}.part"));
        fs::write(&part, bytes).unwrap();
        fs::rename(&part, folder.join(format!("{CANARY}-{name}"))).unwrap();
    };
    let explicit = uids::EXPLICIT_VR_LITTLE_ENDIAN;
    let good = specimen::write(radiograph("1.2.3"), explicit);
    put("good.dcm", &good);
    put("cut.dcm", &good[..good.len() / 2]);
    put("head.dcm", &good[..600]);
    put("letter.dcm", format!("Dear {CANARY},").as_bytes());
    put("letter.png", &[&b"\x89PNG\r\n\x1a\n"[..], CANARY.as_bytes()].concat());
    for (n, tag, vr, value) in [
        (1, tags::PHOTOMETRIC_INTERPRETATION, VR::CS, CANARY),
        (2, tags::MODALITY, VR::CS, CANARY),
        (3, tags::WINDOW_CENTER, VR::DS, CANARY),
        (4, tags::ROWS, VR::LO, CANARY),
        (5, tags::BODY_PART_EXAMINED, VR::CS, CANARY),
        (6, tags::SOP_CLASS_UID, VR::UI, CANARY),
        (7, tags::STUDY_INSTANCE_UID, VR::UI, CANARY),
        (8, tags::RESCALE_SLOPE, VR::DS, CANARY),
        (9, tags::VOILUT_FUNCTION, VR::CS, CANARY),
        (10, tags::VIEW_POSITION, VR::CS, CANARY),
        (11, tags::ACQUISITION_DATE, VR::DA, CANARY),
    ] {
        let mut object = radiograph(&format!("1.2.3.{n}"));
        object.put(InMemElement::new(tag, vr, PrimitiveValue::from(value)));
        put(&format!("{n}.dcm"), &specimen::write(object, explicit));
    }
}

/// A unit that sends a good object, two that are none, and then breaks the protocol; what it was answered.
fn send(port: u16) -> Vec<u16> {
    let class = uids::DIGITAL_X_RAY_IMAGE_STORAGE_FOR_PRESENTATION;
    let mut unit = ClientAssociationOptions::new()
        .calling_ae_title("ROOM-1")
        .called_ae_title("CHEXSEG")
        .with_presentation_context(class, vec![uids::EXPLICIT_VR_LITTLE_ENDIAN])
        .establish(("127.0.0.1", port))
        .unwrap();
    let word = |tag, value: u16| InMemElement::new(tag, VR::US, PrimitiveValue::from(value));
    let uid = |tag, value: &str| InMemElement::new(tag, VR::UI, PrimitiveValue::from(value));
    let implicit = entries::IMPLICIT_VR_LITTLE_ENDIAN.erased();
    let mut command = Vec::new();
    InMemDicomObject::command_from_element_iter([
        uid(tags::AFFECTED_SOP_CLASS_UID, class),
        word(tags::COMMAND_FIELD, 1),
        word(tags::MESSAGE_ID, 1),
        word(tags::COMMAND_DATA_SET_TYPE, 0),
        uid(tags::AFFECTED_SOP_INSTANCE_UID, "1.2.3"),
    ])
    .write_dataset_with_ts(&mut command, &implicit)
    .unwrap();
    let mut good = Vec::new();
    let explicit = entries::EXPLICIT_VR_LITTLE_ENDIAN.erased();
    radiograph("1.2.3").write_dataset_with_ts(&mut good, &explicit).unwrap();
    let letter = format!("Dear {CANARY},").into_bytes();
    let value = |value_type, data: &[u8]| {
        let data = data.to_vec();
        Pdu::PData { data: vec![PDataValue { presentation_context_id: 1, value_type, is_last: true, data }] }
    };
    let statuses = [&good[..], &good[..good.len() / 2], &letter].map(|data_set| {
        unit.send(&value(PDataValueType::Command, &command)).unwrap();
        unit.send(&value(PDataValueType::Data, data_set)).unwrap();
        let Pdu::PData { data } = unit.receive().unwrap() else { panic!("no answer") };
        let answer = InMemDicomObject::read_dataset_with_ts(&data[0].data[..], &implicit).unwrap();
        answer.get(tags::STATUS).unwrap().to_int().unwrap()
    });
    unit.send(&value(PDataValueType::Data, &letter)).unwrap();
    let _ = unit.receive();
    statuses.to_vec()
}

fn get(port: u16, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

fn text(message: &Publish) -> String {
    let topic = String::from_utf8_lossy(&message.topic);
    format!("{topic} {} {:?}", String::from_utf8_lossy(&message.payload), message.properties)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patients_name_is_nowhere_but_in_the_images() {
    let dir = tempfile::tempdir().unwrap();
    let broker = EmbeddedBroker::start(1 << 20).unwrap().address();
    let mut central =
        timeout(PATIENCE, Subscriber::connect(broker, "central", &["#".to_owned()])).await.unwrap().unwrap();
    for folder in ["model", "in"] {
        fs::create_dir(dir.path().join(folder)).unwrap();
    }
    write_bundle(&dir.path().join("model")).unwrap();
    fill(&dir.path().join("in"));
    let files = fs::read_dir(dir.path().join("in").join(format!("{CANARY}^ANNA"))).unwrap().count();
    let free = || std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (port, dicom) = (free(), free());
    let config = format!(
        "site='s'\ndevice='d'\nbundle='model'\nallow_unsigned=true\nstate_dir='state'\n[mqtt]\nhost='127.0.0.1'\n\
         port={}\n[watch_folder]\npath='in'\nsettle_ms=50\n[http]\nlisten='127.0.0.1:{port}'\n\
         [dicom]\nlisten='127.0.0.1:{dicom}'\nmax_pdu_bytes=1048576\n[log]\nformat='json'\n",
        broker.port()
    );
    fs::write(dir.path().join("agent.toml"), config).unwrap();
    let log = dir.path().join("log");
    let mut agent = Command::new(env!("CARGO_BIN_EXE_edge-agent"))
        .args(["run", "--config", "agent.toml"])
        .current_dir(dir.path())
        .env("RUST_LOG", "trace")
        .stderr(fs::File::create(&log).unwrap())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let settled = |metrics: &str| {
        let count = |name: &str| -> u64 {
            let line = metrics.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
            line.trim().parse().unwrap_or(0)
        };
        let (analysed, aside) = (count("cxr_images_analysed_total"), count("cxr_images_set_aside_total"));
        (analysed + aside == files as u64).then_some((analysed, aside))
    };
    let mut heard = Vec::new();
    let metrics = timeout(PATIENCE, async {
        loop {
            tokio::task::yield_now().await;
            thread::sleep(Duration::from_millis(50));
            if let Some(metrics) = get(port, "/metrics").filter(|m| settled(m).is_some()) {
                break metrics;
            }
        }
    })
    .await
    .expect("every image is analysed or set aside");
    let (analysed, aside) = settled(&metrics).unwrap();
    assert!(analysed >= 2 && aside >= 4, "the cases differ: {analysed} analysed, {aside} set aside");
    // The first one is known by its pixels.
    assert_eq!(send(dicom), [0, 0xC000, 0xC000]);
    let ask = Ask { schema: SCHEMA }.to_json();
    for verb in ["queue", "ping", "fly", "retry"] {
        let topic = format!("cxr/v1/s/d/cmd/{verb}");
        central.client().publish(topic, QoS::AtLeastOnce, false, ask.clone()).await.unwrap();
    }
    while heard.iter().filter(|m: &&String| m.starts_with("cxr/v1/s/d/rsp/")).count() < 4 {
        let message = timeout(PATIENCE, central.next()).await.unwrap().unwrap();
        heard.push(text(&message));
    }
    let stop = Command::new("kill").args(["-TERM", &agent.id().to_string()]).status().unwrap();
    assert!(stop.success());
    assert!(agent.wait().unwrap().success());
    // The last message says that the device stopped.
    loop {
        let message = timeout(PATIENCE, central.next()).await.unwrap().unwrap();
        let last = text(&message);
        heard.push(last);
        if heard.last().unwrap().contains("\"stopped\"") {
            break;
        }
    }
    let results = heard.iter().filter(|m| m.starts_with("cxr/v1/s/d/result")).count() as u64;
    assert_eq!(results, analysed, "every result was seen");
    let log = fs::read_to_string(&log).unwrap();
    assert!(log.contains("\"TRACE\""), "the finest level was on");
    for (place, content) in [("log", &log), ("metrics", &metrics), ("messages", &heard.join("\n"))] {
        for (n, line) in content.lines().enumerate() {
            assert!(!line.to_uppercase().contains(CANARY), "{place}, line {n}: {line}");
        }
    }
}
