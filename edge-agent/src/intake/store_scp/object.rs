//! An object on its way from the association to the disk.

use dicom_object::FileMetaTableBuilder;
use shared::uid::Uid;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;

use super::dimse::Status;
use crate::decode::{DecodeLimits, inspect_dicom};
use crate::store::{Accepted, Incoming, Origin, Staged, Store, StoreError};

/// Pieces between the network and the disk: a slow disk holds up the unit, not our memory.
const PIECES: usize = 4;
/// Objects of which the headers are looked at, at a time.
static INSPECTIONS: Semaphore = Semaphore::const_new(2);

/// What an object is said to be before its data set comes.
#[derive(Clone, Debug)]
pub(super) struct Announced {
    pub(super) sop_class_uid: Uid,
    pub(super) sop_instance_uid: Uid,
    pub(super) transfer_syntax_uid: String,
}

/// A data set that is being written to the store's disk.
pub(super) struct Receiving {
    announced: Announced,
    pieces: mpsc::Sender<Vec<u8>>,
    writer: JoinHandle<Result<Incoming, StoreError>>,
}

impl Receiving {
    /// Begins with the file meta information, so that the file is one of PS3.10. It holds nothing that differs between two
    /// sendings: the same object gives the same file.
    pub(super) fn begin(announced: Announced, store: &Store, limits: &DecodeLimits) -> Result<Self, Status> {
        let meta = FileMetaTableBuilder::new()
            .media_storage_sop_class_uid(announced.sop_class_uid.as_str())
            .media_storage_sop_instance_uid(announced.sop_instance_uid.as_str())
            .transfer_syntax(announced.transfer_syntax_uid.as_str())
            .build();
        let mut head = vec![0; 128];
        head.extend(b"DICM");
        let written =
            meta.map_err(|e| e.to_string()).and_then(|m| m.write(&mut head).map_err(|e| e.to_string()));
        written.map_err(|error| Status::processing_failure(&error))?;
        let (pieces, mut arrived) = mpsc::channel::<Vec<u8>>(PIECES);
        let (store, most) = (store.clone(), limits.max_file_bytes);
        // One task of the blocking pool for each object, and none for each piece.
        let writer = tokio::task::spawn_blocking(move || {
            let mut incoming = store.incoming_kept(most)?;
            incoming.write(&head)?;
            while let Some(piece) = arrived.blocking_recv() {
                incoming.write(&piece)?;
            }
            Ok(incoming)
        });
        Ok(Self { announced, pieces, writer })
    }

    /// Takes the next fragment. A failure shows at the end: what is still coming must be read all the same.
    pub(super) async fn take(&mut self, piece: Vec<u8>) {
        // The writer gave up and says why when it is asked.
        let _ = self.pieces.send(piece).await;
    }

    /// The last fragment was taken: makes the object durable, and says what to answer.
    pub(super) async fn finish(self, store: &Store, limits: DecodeLimits) -> Result<Accepted, Status> {
        let Self { announced, pieces, writer } = self;
        drop(pieces);
        let incoming = joined(writer.await).map_err(|error| refusal(&error))?;
        let staged = blocking(|| incoming.finish()).await.map_err(|error| refusal(&error))?;
        // Bounds memory: the header is read from the whole object, inflated if need be.
        let permit = INSPECTIONS.acquire().await.expect("it is never closed");
        let inspected = blocking(move || {
            inspect(&staged, &announced, &limits)?;
            Ok((staged, announced))
        });
        let (staged, announced) = inspected.await?;
        drop(permit);
        store
            .run(move |_| staged.commit(Origin::Instance(&announced.sop_instance_uid)))
            .await
            .map_err(|error| refusal(&error))
    }
}

fn inspect(staged: &Staged, announced: &Announced, limits: &DecodeLimits) -> Result<(), Status> {
    let bytes = staged.bytes().map_err(|error| refusal(&error))?;
    let found =
        inspect_dicom(&bytes, limits).map_err(|error| Status::cannot_understand(&error.to_string()))?;
    if found.sop_class_uid != announced.sop_class_uid {
        return Err(Status::mismatch("the data set is of another SOP class than announced"));
    }
    if found.sop_instance_uid != announced.sop_instance_uid {
        return Err(Status::mismatch("the data set has another SOP Instance UID than announced"));
    }
    Ok(())
}

/// Only a full disk is the unit's to wait for; the words of the log say more than fit the answer.
fn refusal(error: &StoreError) -> Status {
    match error {
        full if full.is_full() => Status::out_of_resources("no room on the device's disk"),
        StoreError::TooLarge { .. } => Status::out_of_resources("larger than limits.max_file_bytes"),
        error => {
            tracing::error!(%error, "the store failed to take an object");
            Status::processing_failure("the device's store failed; see its log")
        }
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    joined(tokio::task::spawn_blocking(work).await)
}

/// A panic goes on where the work was asked for.
fn joined<T>(result: Result<T, tokio::task::JoinError>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
