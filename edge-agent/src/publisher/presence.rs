//! What a device says of itself: status and birth.

use jiff::Timestamp;
use shared::bundle::Signature;
use shared::message::{Birth, ModelRef, SCHEMA, Status, StatusKind};
use shared::topic::Channel;
use shared::{PIPELINE_VERSION, manifest};
use uuid::Uuid;

use super::Outbound;

/// One start of the agent.
#[derive(Clone, Debug)]
pub struct Presence {
    boot_id: Uuid,
    birth: Birth,
}

impl Presence {
    /// A start, now, with a new boot id.
    pub fn new(
        model: ModelRef,
        signature: Option<Signature>,
        capabilities: Vec<String>,
        store_rebuilt: Option<u64>,
    ) -> Self {
        let boot_id = Uuid::new_v4();
        let birth = Birth {
            schema: SCHEMA,
            boot_id,
            started_at: Timestamp::now(),
            firmware: env!("CARGO_PKG_VERSION").into(),
            model,
            signature,
            manifest_schema: manifest::SCHEMA,
            pipeline_version: PIPELINE_VERSION,
            capabilities,
            store_rebuilt,
        };
        Self { boot_id, birth }
    }

    /// This start.
    pub fn boot_id(&self) -> Uuid {
        self.boot_id
    }

    /// The retained status; with [`StatusKind::Offline`] the last will.
    pub fn status(&self, status: StatusKind) -> Outbound {
        let message = Status { schema: SCHEMA, status, boot_id: self.boot_id };
        Outbound::acknowledged(Channel::Status, &message).retained()
    }

    /// The retained birth certificate.
    pub fn birth(&self) -> Outbound {
        Outbound::acknowledged(Channel::Birth, &self.birth).retained()
    }
}
