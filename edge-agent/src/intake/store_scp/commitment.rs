//! Storage Commitment Push Model (PS3.4 annex J).

use dicom_core::smallvec::SmallVec;
use dicom_core::value::DataSetSequence;
use dicom_core::{DataElement, VR};
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use dicom_transfer_syntax_registry::{TransferSyntaxIndex, TransferSyntaxRegistry};
use shared::uid::Uid;

use super::Scp;
use super::dimse::{Status, text, word};
use crate::config::StorageCommitment;
use crate::decode::data_set;

/// Most references of a request.
const MAX_REFERENCES: usize = 10_000;
/// Failure Reason (0008,1197) of an instance that is not here.
const NO_SUCH_INSTANCE: u16 = 0x0112;
/// Failure Reason of one that is, but is not answered for.
const PROCESSING_FAILURE: u16 = 0x0110;

/// The report on a request.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) committed: usize,
    pub(super) failed: usize,
    pub(super) data_set: Vec<u8>,
}

impl Report {
    /// Event Type ID: 1 if all are committed, else 2 (PS3.4 table J.3.3-1).
    pub(super) fn event_type(&self) -> u16 {
        if self.failed == 0 { 1 } else { 2 }
    }
}

struct Reference {
    class: Uid,
    instance: Uid,
}

/// What is answered to the data set of an N-ACTION.
pub(super) async fn examine(bytes: &[u8], transfer_syntax_uid: &str, scp: &Scp) -> Result<Report, Status> {
    let malformed = || Status::cannot_understand("no Transaction UID or no references");
    let request = data_set(bytes, transfer_syntax_uid)
        .map_err(|error| Status::cannot_understand(&error.to_string()))?;
    let uid = |object: &InMemDicomObject, tag| -> Option<Uid> {
        object.get(tag)?.value().to_str().ok()?.parse().ok()
    };
    let transaction = uid(&request, tags::TRANSACTION_UID).ok_or_else(malformed)?;
    let items = request.get(tags::REFERENCED_SOP_SEQUENCE).and_then(|element| element.value().items());
    let items = items.filter(|items| (1..=MAX_REFERENCES).contains(&items.len())).ok_or_else(malformed)?;
    let references: Option<Vec<Reference>> = items
        .iter()
        .map(|item| {
            let class = uid(item, tags::REFERENCED_SOP_CLASS_UID)?;
            Some(Reference { class, instance: uid(item, tags::REFERENCED_SOP_INSTANCE_UID)? })
        })
        .collect();
    let references = references.ok_or_else(malformed)?;
    let policy = scp.config.storage_commitment;
    let judged = scp.store.run(move |store| {
        let judge = |reference: Reference| {
            let failure = match (store.holds(&reference.instance)?, policy) {
                (true, StorageCommitment::Confirm) => None,
                (true, StorageCommitment::Decline) => Some(PROCESSING_FAILURE),
                (false, _) => Some(NO_SUCH_INSTANCE),
            };
            Ok((reference, failure))
        };
        references.into_iter().map(judge).collect::<Result<Vec<_>, _>>()
    });
    let judged = judged.await.map_err(|error| {
        tracing::error!(%error, "the store failed during storage commitment");
        Status::processing_failure("the device's store failed; see its log")
    })?;
    let failed = judged.iter().filter(|(_, failure)| failure.is_some()).count();
    let (committed, data_set) = (judged.len() - failed, report(&transaction, &judged, transfer_syntax_uid)?);
    Ok(Report { committed, failed, data_set })
}

/// The data set of the N-EVENT-REPORT (PS3.4 table J.3.3-1).
fn report(
    transaction: &Uid,
    judged: &[(Reference, Option<u16>)],
    transfer_syntax_uid: &str,
) -> Result<Vec<u8>, Status> {
    let item = |(reference, failure): &(Reference, Option<u16>)| {
        let mut elements = vec![
            text(tags::REFERENCED_SOP_CLASS_UID, VR::UI, reference.class.as_str()),
            text(tags::REFERENCED_SOP_INSTANCE_UID, VR::UI, reference.instance.as_str()),
        ];
        elements.extend(failure.map(|reason| word(tags::FAILURE_REASON, reason)));
        InMemDicomObject::from_element_iter(elements)
    };
    let sequence = |failed: bool| -> SmallVec<[InMemDicomObject; 2]> {
        judged.iter().filter(|(_, failure)| failure.is_some() == failed).map(item).collect()
    };
    let mut object =
        InMemDicomObject::from_element_iter([text(tags::TRANSACTION_UID, VR::UI, transaction.as_str())]);
    for (tag, items) in
        [(tags::REFERENCED_SOP_SEQUENCE, sequence(false)), (tags::FAILED_SOP_SEQUENCE, sequence(true))]
    {
        if !items.is_empty() {
            object.put(DataElement::new(tag, VR::SQ, DataSetSequence::from(items)));
        }
    }
    let failed = || Status::processing_failure("the report cannot be written");
    let syntax = TransferSyntaxRegistry.get(transfer_syntax_uid).ok_or_else(failed)?;
    let mut bytes = Vec::new();
    object.write_dataset_with_ts(&mut bytes, syntax).map_err(|_| failed())?;
    Ok(bytes)
}
