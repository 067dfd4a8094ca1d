//! Peers that dicom-rs plays, and hostile ones that write bytes. Units that others built are in `tests/e2e/dicom.rs`.

use std::io::Write as _;

use dicom_dictionary_std::uids;
use dicom_ul::association::client::ClientAssociationOptions;
use dicom_ul::pdu::{PDataValue, PDataValueType, Pdu};
use tempfile::TempDir;
use tokio::task::JoinHandle;

use super::*;
use crate::config::{StorageCommitment, StoreConfig};
use crate::specimen::dataset;
use crate::store::OsFiles;
use crate::testing::disc;

/// An SCP on a free port.
struct Site {
    _dir: TempDir,
    store: Store,
    address: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Site {
    async fn open(change: impl FnOnce(&mut DicomConfig)) -> Self {
        Self::with(change, StoreConfig::default()).await
    }

    async fn with(change: impl FnOnce(&mut DicomConfig), bounds: StoreConfig) -> Self {
        let dir = TempDir::new().unwrap();
        let store = Store::open_with(dir.path(), Box::new(OsFiles), bounds).unwrap();
        let mut config =
            DicomConfig { listen: SocketAddr::from(([127, 0, 0, 1], 0)), ..DicomConfig::default() };
        change(&mut config);
        let gate = crate::health::metrics::Metrics::default().gate("dicom");
        let scp = StoreScp::bind(config, DecodeLimits::default(), store.clone(), Arc::default(), gate)
            .await
            .unwrap();
        let (address, stop) = (scp.address().unwrap(), CancellationToken::new());
        let task = tokio::spawn(scp.run(stop.clone()));
        Self { _dir: dir, store, address, stop, task }
    }

    /// Does blocking work of a unit's.
    async fn unit<T: Send + 'static>(&self, work: impl FnOnce(SocketAddr) -> T + Send + 'static) -> T {
        let address = self.address;
        tokio::task::spawn_blocking(move || work(address)).await.unwrap()
    }

    fn waiting(&self) -> u64 {
        self.store.images_waiting().unwrap()
    }

    async fn close(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }
}

type Unit = dicom_ul::ClientAssociation<std::net::TcpStream>;

fn associate(address: SocketAddr) -> Result<Unit, dicom_ul::association::Error> {
    ClientAssociationOptions::new()
        .calling_ae_title("ROOM-1")
        .called_ae_title("CHEXSEG")
        .with_presentation_context(
            uids::DIGITAL_X_RAY_IMAGE_STORAGE_FOR_PRESENTATION,
            vec![uids::EXPLICIT_VR_LITTLE_ENDIAN],
        )
        .with_presentation_context(uids::VERIFICATION, vec![uids::IMPLICIT_VR_LITTLE_ENDIAN])
        .with_presentation_context(uids::STORAGE_COMMITMENT_PUSH_MODEL, vec![uids::EXPLICIT_VR_LITTLE_ENDIAN])
        .establish(address)
}

/// The data set of a radiograph of a disc, in Explicit VR Little Endian.
fn radiograph(instance: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let syntax = dicom_transfer_syntax_registry::entries::EXPLICIT_VR_LITTLE_ENDIAN.erased();
    dataset(&disc(), &instance.parse().unwrap()).write_dataset_with_ts(&mut bytes, &syntax).unwrap();
    bytes
}

fn command(field: u16, class: &str, instance: Option<&str>, has_data_set: bool) -> Vec<u8> {
    use dicom_core::VR;
    use dicom_dictionary_std::tags;
    let mut elements = vec![
        dimse::word(tags::COMMAND_FIELD, field),
        dimse::word(tags::MESSAGE_ID, 5),
        dimse::word(tags::COMMAND_DATA_SET_TYPE, if has_data_set { 1 } else { 0x0101 }),
        dimse::text(tags::AFFECTED_SOP_CLASS_UID, VR::UI, class),
    ];
    elements.extend(instance.map(|uid| dimse::text(tags::AFFECTED_SOP_INSTANCE_UID, VR::UI, uid)));
    if field == 0x0130 {
        elements.push(dimse::word(tags::ACTION_TYPE_ID, 1));
    }
    let mut bytes = Vec::new();
    let syntax = dicom_transfer_syntax_registry::entries::IMPLICIT_VR_LITTLE_ENDIAN.erased();
    dicom_object::InMemDicomObject::command_from_element_iter(elements)
        .write_dataset_with_ts(&mut bytes, &syntax)
        .unwrap();
    bytes
}

/// Sends a command and its data set in small fragments, and returns the status of the answer.
fn exchange(unit: &mut Unit, class: &str, command: &[u8], data_set: Option<&[u8]>) -> u16 {
    send(unit, class, command, data_set);
    status(unit)
}

fn send(unit: &mut Unit, class: &str, command: &[u8], data_set: Option<&[u8]>) {
    let contexts = unit.presentation_contexts();
    let context = contexts.iter().find(|c| c.abstract_syntax == class).expect("negotiated").id;
    let mut piece = |value_type, is_last, data: &[u8]| {
        let value = PDataValue { presentation_context_id: context, value_type, is_last, data: data.to_vec() };
        unit.send(&Pdu::PData { data: vec![value] }).unwrap();
    };
    piece(PDataValueType::Command, true, command);
    let pieces: Vec<&[u8]> = data_set.map(|data| data.chunks(4000).collect()).unwrap_or_default();
    for (index, part) in pieces.iter().enumerate() {
        piece(PDataValueType::Data, index + 1 == pieces.len(), part);
    }
}

fn status(unit: &mut Unit) -> u16 {
    let Pdu::PData { data } = unit.receive().unwrap() else { panic!("no data") };
    let syntax = dicom_transfer_syntax_registry::entries::IMPLICIT_VR_LITTLE_ENDIAN.erased();
    let answer = dicom_object::InMemDicomObject::read_dataset_with_ts(&data[0].data[..], &syntax).unwrap();
    answer.get(dicom_dictionary_std::tags::STATUS).unwrap().to_int().unwrap()
}

const CLASS: &str = uids::DIGITAL_X_RAY_IMAGE_STORAGE_FOR_PRESENTATION;

fn store(unit: &mut Unit, instance: &str, data_set: &[u8]) -> u16 {
    exchange(unit, CLASS, &command(1, CLASS, Some(instance), true), Some(data_set))
}

#[tokio::test]
async fn one_bad_object_does_not_end_the_association() {
    let site = Site::open(|_| {}).await;
    let statuses = site.unit(|address| {
        let mut unit = associate(address).unwrap();
        let echo =
            exchange(&mut unit, uids::VERIFICATION, &command(0x30, uids::VERIFICATION, None, false), None);
        let whole = radiograph("1.2.3.1");
        let statuses = [
            echo,
            store(&mut unit, "1.2.3.1", &whole),
            store(&mut unit, "1.2.3.1", &whole),
            store(&mut unit, "1.2.3.9", &whole),
            store(&mut unit, "1.2.3.1", &whole[..whole.len() / 2]),
            store(&mut unit, "1.2.3.1", b"Dear colleague, please find enclosed"),
            store(&mut unit, "../../etc/passwd", &whole),
            store(&mut unit, "1.2.3.2", &radiograph("1.2.3.2")),
            exchange(&mut unit, CLASS, &command(0x20, CLASS, None, false), None),
        ];
        unit.release().unwrap();
        statuses
    });
    assert_eq!(statuses.await, [0, 0, 0, 0xA900, 0xC000, 0xC000, 0x0117, 0, 0x0211]);
    assert_eq!(site.waiting(), 2);
    let kept = std::fs::read_dir(site._dir.path().join("incoming")).unwrap().count();
    assert_eq!(kept, 0, "what was refused leaves nothing behind");
    site.close().await;
}

#[tokio::test]
async fn what_is_refused_is_read_to_its_end() {
    let full = StoreConfig { reserve_mib: 1 << 40, ..StoreConfig::default() };
    let site = Site::with(|_| {}, full).await;
    let statuses = site.unit(|address| {
        let mut unit = associate(address).unwrap();
        let object = radiograph("1.2.3.1");
        [store(&mut unit, "1.2.3.1", &object), store(&mut unit, "1.2.3.1", &object)]
    });
    assert_eq!(statuses.await, [0xA700, 0xA700]);
    assert_eq!(site.waiting(), 0);
    site.close().await;
}

#[tokio::test]
async fn other_titles_and_units_beyond_the_bound_are_rejected() {
    let site = Site::open(|config| {
        config.max_associations = 1;
        config.calling_ae_titles = vec!["ROOM-1".parse().unwrap()];
    });
    let site = site.await;
    let wrong = site.unit(|address| {
        let call = |calling: &str, called: &str| {
            let options = ClientAssociationOptions::new().calling_ae_title(calling.to_owned());
            let options = options.called_ae_title(called.to_owned()).with_abstract_syntax(uids::VERIFICATION);
            options.establish(address).map(drop).unwrap_err().to_string()
        };
        [call("ROOM-2", "CHEXSEG"), call("ROOM-1", "PACS")]
    });
    let [calling, called] = wrong.await;
    assert!(calling.contains("calling AE title not recognized"), "{calling}");
    assert!(called.contains("called AE title not recognized"), "{called}");
    let second = site.unit(|address| {
        // The rejected ones may take a moment to leave.
        let first = loop {
            if let Ok(unit) = associate(address) {
                break unit;
            }
        };
        let second = associate(address).map(drop).unwrap_err().to_string();
        first.release().unwrap();
        second
    });
    let second = second.await;
    assert!(second.contains("local limit exceeded"), "{second}");
    site.close().await;
}

#[tokio::test]
async fn bytes_that_are_no_protocol_end_only_their_own_connection() {
    let site = Site::open(|config| config.idle_timeout_s = 5).await;
    let floods: [&[u8]; 5] = [
        b"GET / HTTP/1.1\r\n\r\n",
        // A-ASSOCIATE-RQ of 4 GiB.
        &[1, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0, 1],
        // P-DATA-TF before any association.
        &[4, 0, 0, 0, 0, 6, 0, 0, 0, 2, 1, 3],
        // A TLS client hello.
        &[0x16, 3, 1, 0, 5, 1, 0, 0, 1, 0],
        &[],
    ];
    let attack = move |address, flood: &[u8]| {
        let mut socket = std::net::TcpStream::connect(address).unwrap();
        socket.write_all(flood).unwrap();
        // Until the device hangs up, by itself where nothing comes.
        std::io::copy(&mut socket, &mut std::io::sink()).unwrap_or_default();
    };
    site.unit(move |address| {
        std::thread::scope(|scope| {
            for flood in floods {
                scope.spawn(move || attack(address, flood));
            }
        });
    })
    .await;
    let status = site.unit(|address| {
        let mut unit = associate(address).unwrap();
        store(&mut unit, "1.2.3.1", &radiograph("1.2.3.1"))
    });
    assert_eq!(status.await, 0);
    site.close().await;
}

#[tokio::test]
async fn messages_out_of_place_are_aborted() {
    let site = Site::open(|_| {}).await;
    site.unit(|address| {
        let out_of_place: [fn(&mut Unit); 3] = [
            // A data set without a command.
            |unit| {
                let data = vec![0; 10];
                let value = PDataValue {
                    presentation_context_id: 1,
                    value_type: PDataValueType::Data,
                    is_last: true,
                    data,
                };
                unit.send(&Pdu::PData { data: vec![value] }).unwrap();
            },
            // A command set without end.
            |unit| {
                for _ in 0..5 {
                    let data = vec![0; 4000];
                    let value = PDataValue {
                        presentation_context_id: 1,
                        value_type: PDataValueType::Command,
                        is_last: false,
                        data,
                    };
                    unit.send(&Pdu::PData { data: vec![value] }).unwrap();
                }
            },
            // An answer that nobody asked for.
            |unit| send(unit, CLASS, &command(0x8001, CLASS, None, false), None),
        ];
        for act in out_of_place {
            let mut unit = associate(address).unwrap();
            act(&mut unit);
            assert!(matches!(unit.receive(), Ok(Pdu::AbortRQ { .. }) | Err(_)));
        }
    })
    .await;
    assert_eq!(site.waiting(), 0);
    site.close().await;
}

#[tokio::test]
async fn an_object_on_its_way_is_taken_before_the_agent_stops() {
    let site = Site::open(|_| {}).await;
    let (begun, wait) = std::sync::mpsc::sync_channel(1);
    let (go_on, proceed) = std::sync::mpsc::sync_channel(1);
    let address = site.address;
    let unit = tokio::task::spawn_blocking(move || {
        let mut unit = associate(address).unwrap();
        let object = radiograph("1.2.3.1");
        let contexts = unit.presentation_contexts();
        let context = contexts.iter().find(|c| c.abstract_syntax == CLASS).unwrap().id;
        let mut piece = |value_type, is_last, data: &[u8]| {
            let value =
                PDataValue { presentation_context_id: context, value_type, is_last, data: data.to_vec() };
            unit.send(&Pdu::PData { data: vec![value] }).unwrap();
        };
        piece(PDataValueType::Command, true, &command(1, CLASS, Some("1.2.3.1"), true));
        piece(PDataValueType::Data, false, &object[..100]);
        begun.send(()).unwrap();
        proceed.recv().unwrap();
        piece(PDataValueType::Data, true, &object[100..]);
        status(&mut unit)
    });
    let site = tokio::task::spawn_blocking(move || {
        wait.recv().unwrap();
        site
    })
    .await
    .unwrap();
    // The file shows that the SCP has begun to read the object.
    while std::fs::read_dir(site._dir.path().join("incoming")).unwrap().count() == 0 {
        tokio::task::yield_now().await;
    }
    site.stop.cancel();
    go_on.send(()).unwrap();
    assert_eq!(unit.await.unwrap(), 0);
    assert_eq!(site.waiting(), 1);
    site.close().await;
}

#[tokio::test]
async fn storage_commitment_is_answered_as_configured() {
    use dicom_core::VR;
    use dicom_core::value::DataSetSequence;
    use dicom_dictionary_std::tags;
    use dicom_object::InMemDicomObject;
    for (policy, committed, reasons) in
        [(StorageCommitment::Confirm, 1, vec![0x0112]), (StorageCommitment::Decline, 0, vec![0x0110, 0x0112])]
    {
        let site = Site::open(|config| config.storage_commitment = policy).await;
        let report = site.unit(|address| {
            let mut unit = associate(address).unwrap();
            assert_eq!(store(&mut unit, "1.2.3.1", &radiograph("1.2.3.1")), 0);
            let item = |uid: &str| {
                InMemDicomObject::from_element_iter([
                    dimse::text(tags::REFERENCED_SOP_CLASS_UID, VR::UI, CLASS),
                    dimse::text(tags::REFERENCED_SOP_INSTANCE_UID, VR::UI, uid),
                ])
            };
            let items = DataSetSequence::from(vec![item("1.2.3.1"), item("1.2.3.2")]);
            let request = InMemDicomObject::from_element_iter([
                dimse::text(tags::TRANSACTION_UID, VR::UI, "1.2.3.77"),
                dicom_core::DataElement::new(tags::REFERENCED_SOP_SEQUENCE, VR::SQ, items),
            ]);
            let syntax = dicom_transfer_syntax_registry::entries::EXPLICIT_VR_LITTLE_ENDIAN.erased();
            let mut data_set = Vec::new();
            request.write_dataset_with_ts(&mut data_set, &syntax).unwrap();
            let class = uids::STORAGE_COMMITMENT_PUSH_MODEL;
            let instance = Some(uids::STORAGE_COMMITMENT_PUSH_MODEL_INSTANCE);
            assert_eq!(
                exchange(&mut unit, class, &command(0x0130, class, instance, true), Some(&data_set)),
                0
            );
            let Pdu::PData { .. } = unit.receive().unwrap() else { panic!("no event") };
            let Pdu::PData { data } = unit.receive().unwrap() else { panic!("no report") };
            send(&mut unit, class, &command(0x8100, class, instance, false), None);
            unit.release().unwrap();
            InMemDicomObject::read_dataset_with_ts(&data[0].data[..], &syntax).unwrap()
        });
        let report = report.await;
        let items =
            |tag| report.get(tag).and_then(|e| e.value().items()).map(<[_]>::to_vec).unwrap_or_default();
        assert_eq!(items(tags::REFERENCED_SOP_SEQUENCE).len(), committed);
        let failed: Vec<u16> = items(tags::FAILED_SOP_SEQUENCE)
            .iter()
            .map(|item| item.get(tags::FAILURE_REASON).unwrap().to_int().unwrap())
            .collect();
        assert_eq!(failed, reasons);
        site.close().await;
    }
}

#[test]
fn only_what_can_be_decoded_is_negotiated() {
    use dicom_ul::association::server::is_supported;
    for uid in transfer_syntaxes() {
        assert!(is_supported(uid), "{uid} is decoded, and would not be negotiated");
    }
}
