//! From the database to a PACS: what is to be handed on waits in a table and is tried until it was taken.

mod scu;
mod stow;

use std::time::Duration;

use dicom_core::Tag;
use dicom_object::InMemDicomObject;
use tokio::sync::Notify;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use self::scu::Association;
pub use self::scu::ScuError;
pub use self::stow::StowError;
use super::config::{PacsConfig, PacsTarget};
use super::database::{Claim, Database, DatabaseError};
use super::dicom::{ObjectError, capture, segmentation};
use crate::config::ValueError;

/// Between two looks at the table when nobody rings.
const LOOK: Duration = Duration::from_secs(5);
/// Pause after a failure of the database.
const DATABASE_PAUSE: Duration = Duration::from_secs(5);
/// First pause before a result is sent again; it doubles.
const RETRY_MS: u64 = 2000;

/// Why a PACS did not take something.
#[derive(Debug, thiserror::Error)]
pub enum PacsError {
    /// C-STORE.
    #[error(transparent)]
    Scu(#[from] ScuError),
    /// STOW-RS.
    #[error(transparent)]
    Stow(#[from] StowError),
    /// A configuration that was never validated.
    #[error(transparent)]
    Config(#[from] ValueError),
}

/// Hands results on.
pub struct HandOns<'a> {
    /// Where they wait.
    pub database: Database,
    /// Who takes them.
    pub pacs: &'a PacsConfig,
    /// Who we are among the instances.
    pub instance: &'a str,
    /// Rung when results came.
    pub wake: &'a Notify,
    /// Ends it; what is under way is finished.
    pub stop: CancellationToken,
}

impl HandOns<'_> {
    /// Hands on until stopped.
    pub async fn run(&self) {
        if let Err(error) = self.database.release_claims(self.instance).await {
            tracing::error!(%error, "what this instance was handing on waits for its lease to end");
        }
        while !self.stop.is_cancelled() {
            let pause = match self.next().await {
                Ok(true) => continue,
                Ok(false) => LOOK,
                Err(error) => {
                    tracing::error!(%error, "nothing is handed on");
                    DATABASE_PAUSE
                }
            };
            tokio::select! {
                () = self.stop.cancelled() => {}
                () = self.wake.notified() => {}
                () = sleep(pause) => {}
            }
        }
    }

    /// Hands on what is due the longest. Gives whether there was anything.
    async fn next(&self) -> Result<bool, DatabaseError> {
        let Some(Claim { result_id, attempts }) = self.database.claim(self.instance).await? else {
            return Ok(false);
        };
        let objects = match self.objects(result_id).await? {
            Ok(objects) => objects,
            Err(reason) => {
                tracing::warn!(result = %result_id, %reason, "there is nothing to hand on");
                self.database.settle(result_id, Some(&reason.to_string())).await?;
                return Ok(true);
            }
        };
        let count = objects.len();
        match send(self.pacs, objects).await {
            Ok(()) => {
                tracing::info!(result = %result_id, objects = count, "handed on");
                self.database.settle(result_id, None).await?;
            }
            Err(error) => {
                let pause = self.pause_ms(result_id, attempts);
                tracing::warn!(%error, result = %result_id, retry_in_s = pause / 1000, "not handed on");
                self.database.postpone(result_id, pause, &error.to_string()).await?;
            }
        }
        Ok(true)
    }

    /// What a result is made into; the inner error says why it is nothing.
    async fn objects(&self, id: Uuid) -> Result<Result<Vec<InMemDicomObject>, ObjectError>, DatabaseError> {
        let record = self.database.result(id).await?;
        let record = record.ok_or(DatabaseError::Damaged("a result that is to be handed on is gone"))?;
        let (seg, sc) = (self.pacs.segmentation, self.pacs.secondary_capture);
        let make = move || {
            let seg = seg.then(|| segmentation(&record.envelope));
            let sc = sc.then(|| capture(&record.envelope));
            seg.into_iter().chain(sc).collect()
        };
        match tokio::task::spawn_blocking(make).await {
            Ok(objects) => Ok(objects),
            Err(e) => std::panic::resume_unwind(e.into_panic()),
        }
    }

    /// Doubles with every attempt; a part that follows from the result keeps a backlog from coming back in step.
    fn pause_ms(&self, id: Uuid, attempts: u32) -> u64 {
        let most = u64::from(self.pacs.max_retry_s) * 1000;
        let pause = (RETRY_MS << attempts.saturating_sub(1).min(20)).min(most);
        pause - pause / 4 * (id.as_u128() % 256) as u64 / 256
    }
}

/// Asks whether a PACS answers, by C-ECHO or by a search. Gives its name for people.
///
/// # Errors
/// [`PacsError`].
pub async fn echo(pacs: &PacsConfig) -> Result<String, PacsError> {
    let target = pacs.target()?;
    match &target {
        PacsTarget::Node(node) => Association::echo(pacs, node).await?,
        PacsTarget::Web(url) => stow::probe(pacs, url).await?,
    }
    Ok(target.to_string())
}

/// Sends objects over one association or in one request.
async fn send(pacs: &PacsConfig, objects: Vec<InMemDicomObject>) -> Result<(), PacsError> {
    match pacs.target()? {
        PacsTarget::Node(node) => {
            let mut association = Association::to_store(pacs, &node).await?;
            for object in &objects {
                association.store(object).await?;
            }
            association.release().await;
        }
        PacsTarget::Web(url) => stow::store(pacs, &url, objects).await?,
    }
    Ok(())
}

/// A UID of an object; the error says why it has none.
fn uid(object: &InMemDicomObject, tag: Tag) -> Result<String, String> {
    let element = object.element(tag).map_err(|e| e.to_string())?;
    let text = element.to_str().map_err(|e| e.to_string())?;
    Ok(text.trim_end_matches('\0').to_owned())
}

/// An error with its causes: the libraries' own text stops at the first.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text += &format!(": {cause}");
        source = cause.source();
    }
    text
}
