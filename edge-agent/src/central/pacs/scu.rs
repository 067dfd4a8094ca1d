//! C-ECHO and C-STORE as a service class user (PS3.4 A and B; messages of PS3.7 section 9.3).

use std::time::Duration;

use dicom_core::{PrimitiveValue, Tag, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_object::InMemDicomObject;
use dicom_object::mem::InMemElement;
use dicom_transfer_syntax_registry::entries::{EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN};
use dicom_ul::association::client::{AsyncClientAssociation, AsyncTlsStream, ClientAssociationOptions};
use dicom_ul::pdu::{PDataValue, PDataValueType, Pdu, PresentationContextNegotiated};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{chain, uid};
use crate::central::config::{PacsConfig, PacsNode};
use crate::tls::{CredentialsError, client_config};

/// Largest piece of a data set that is sent at once, whatever the PACS allows.
const MAX_PIECE: u32 = 256 << 10;
/// What a PDU takes beside a piece (PS3.8 table 9-22 and 9-23).
const OVERHEAD: u32 = 12;
/// Command Data Set Type (0000,0800) of a message without and with a data set.
const WITHOUT_DATA: u16 = 0x0101;
const WITH_DATA: u16 = 0x0000;
/// More than any response takes.
const MAX_RESPONSE: usize = 64 << 10;
const C_STORE_RQ: u16 = 0x0001;
const C_ECHO_RQ: u16 = 0x0030;

/// Why a PACS did not take something.
#[derive(Debug, thiserror::Error)]
pub enum ScuError {
    /// No association came about.
    #[error("no association with PACS {address}: {reason}; check `pacs.host`, `pacs.port` and the AE titles")]
    Associate {
        /// Host and port.
        address: String,
        /// The cause.
        reason: String,
    },
    /// A certificate or key cannot be used.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// It speaks too little.
    #[error("the PACS does not take {0}")]
    NotTaken(String),
    /// The association broke.
    #[error("the association with the PACS broke: {0}")]
    Broken(String),
    /// It is silent.
    #[error("the PACS did not answer within {0} s (`pacs.timeout_s`)")]
    Silent(u16),
    /// It refused an object.
    #[error("the PACS refused an object with status {0:#06x}")]
    Refused(u16),
    /// An object cannot be written.
    #[error("an object cannot be written: {0}")]
    Write(String),
}

/// An association with a PACS.
pub(super) struct Association {
    inner: Link,
    timeout_s: u16,
    next_message: u16,
}

impl Association {
    /// To send objects.
    ///
    /// # Errors
    /// [`ScuError`].
    pub(super) async fn to_store(pacs: &PacsConfig, node: &PacsNode) -> Result<Self, ScuError> {
        let classes = [
            (pacs.segmentation, uids::SEGMENTATION_STORAGE),
            (pacs.secondary_capture, uids::SECONDARY_CAPTURE_IMAGE_STORAGE),
        ];
        Self::open(pacs, node, classes.into_iter().filter_map(|(wanted, class)| wanted.then_some(class)))
            .await
    }

    async fn open(
        pacs: &PacsConfig,
        node: &PacsNode,
        classes: impl Iterator<Item = &'static str>,
    ) -> Result<Self, ScuError> {
        let patience = Duration::from_secs(pacs.timeout_s.into());
        let mut options = ClientAssociationOptions::new()
            .calling_ae_title(node.calling_ae_title.as_str())
            .called_ae_title(node.called_ae_title.as_str())
            .connection_timeout(patience)
            .read_timeout(patience)
            .write_timeout(patience);
        for class in classes {
            let syntaxes = vec![EXPLICIT_VR_LITTLE_ENDIAN.uid(), IMPLICIT_VR_LITTLE_ENDIAN.uid()];
            options = options.with_presentation_context(class, syntaxes);
        }
        let address = node.address();
        let establish = async {
            Ok::<_, ScuError>(match &pacs.tls {
                None => options.establish_with_async(&address).await.map(|a| Link::Plain(Box::new(a))),
                Some(files) => {
                    let tls = client_config("pacs.tls", files)?;
                    let options = options.tls_config(tls).server_name(&node.host);
                    options.establish_with_async_tls(&address).await.map(|a| Link::Tls(Box::new(a)))
                }
            })
        };
        let inner = timeout(patience, establish)
            .await
            .map_err(|_| ScuError::Silent(pacs.timeout_s))??
            .map_err(|e| ScuError::Associate { address: address.clone(), reason: chain(&e) })?;
        Ok(Self { inner, timeout_s: pacs.timeout_s, next_message: 1 })
    }

    /// Sends an object; warnings (PS3.4 B.2.3) count as success.
    ///
    /// # Errors
    /// [`ScuError`]; the association must not be used again.
    pub(super) async fn store(&mut self, object: &InMemDicomObject) -> Result<(), ScuError> {
        let uid = |tag| uid(object, tag).map_err(ScuError::Write);
        let (class, instance) = (uid(tags::SOP_CLASS_UID)?, uid(tags::SOP_INSTANCE_UID)?);
        let context = self
            .inner
            .presentation_contexts()
            .iter()
            .find(|c| c.abstract_syntax.trim_end_matches('\0') == class)
            .ok_or_else(|| ScuError::NotTaken(format!("objects of class {class}")))?;
        let (id, syntax) = (context.id, context.transfer_syntax.trim_end_matches('\0'));
        let syntax = [EXPLICIT_VR_LITTLE_ENDIAN.erased(), IMPLICIT_VR_LITTLE_ENDIAN.erased()]
            .into_iter()
            .find(|known| known.uid() == syntax)
            .ok_or_else(|| ScuError::NotTaken("uncompressed objects".into()))?;
        let mut data = Vec::new();
        object.write_dataset_with_ts(&mut data, &syntax).map_err(|e| ScuError::Write(chain(&e)))?;
        let command = [
            text(tags::AFFECTED_SOP_CLASS_UID, &class),
            word(tags::COMMAND_FIELD, C_STORE_RQ),
            word(tags::MESSAGE_ID, self.next_message),
            word(tags::PRIORITY, 0),
            word(tags::COMMAND_DATA_SET_TYPE, WITH_DATA),
            text(tags::AFFECTED_SOP_INSTANCE_UID, &instance),
        ];
        self.send(id, PDataValueType::Command, &encode(command)?).await?;
        self.send(id, PDataValueType::Data, &data).await?;
        match self.status().await? {
            // Success, the warnings of PS3.4 table B.2-1, and "Duplicate SOP Instance" (PS3.7 annex C): UIDs follow from what is
            // stored, so that the PACS has this very object.
            0x0000 | 0xB000 | 0xB006 | 0xB007 | 0x0111 => Ok(()),
            status => Err(ScuError::Refused(status)),
        }
    }

    /// Asks whether anybody is there.
    ///
    /// # Errors
    /// [`ScuError`].
    pub(super) async fn echo(pacs: &PacsConfig, node: &PacsNode) -> Result<(), ScuError> {
        let mut association = Self::open(pacs, node, std::iter::once(uids::VERIFICATION)).await?;
        let context = association.inner.presentation_contexts().first().map(|c| c.id);
        let id = context.ok_or_else(|| ScuError::NotTaken("C-ECHO".into()))?;
        let command = [
            text(tags::AFFECTED_SOP_CLASS_UID, uids::VERIFICATION),
            word(tags::COMMAND_FIELD, C_ECHO_RQ),
            word(tags::MESSAGE_ID, association.next_message),
            word(tags::COMMAND_DATA_SET_TYPE, WITHOUT_DATA),
        ];
        association.send(id, PDataValueType::Command, &encode(command)?).await?;
        let status = association.status().await?;
        association.release().await;
        if status == 0 { Ok(()) } else { Err(ScuError::Refused(status)) }
    }

    /// Takes leave; whether the PACS answers is of no consequence.
    pub(super) async fn release(self) {
        let patience = Duration::from_secs(self.timeout_s.into());
        let _ = timeout(patience, self.inner.release()).await;
    }

    /// Sends a command or a data set in pieces that the PACS takes.
    async fn send(&mut self, context: u8, kind: PDataValueType, data: &[u8]) -> Result<(), ScuError> {
        let allowed = match self.inner.acceptor_max_pdu_length() {
            // No limit.
            0 => MAX_PIECE,
            length => length.saturating_sub(OVERHEAD).clamp(1024, MAX_PIECE),
        };
        let pieces = data.len().div_ceil(allowed as usize);
        for (i, piece) in data.chunks(allowed as usize).enumerate() {
            let value = PDataValue {
                presentation_context_id: context,
                value_type: kind.clone(),
                is_last: i + 1 == pieces,
                data: piece.to_vec(),
            };
            let pdu = Pdu::PData { data: vec![value] };
            self.patiently(async |link| link.send(&pdu).await).await?;
        }
        Ok(())
    }

    /// The status of the response to what was sent last.
    async fn status(&mut self) -> Result<u16, ScuError> {
        let mut command = Vec::new();
        loop {
            let pdu = self.patiently(async |link| link.receive().await).await?;
            let values = match pdu {
                Pdu::PData { data } => data,
                other => return Err(ScuError::Broken(format!("it sent {}", other.short_description()))),
            };
            for value in values {
                if value.value_type != PDataValueType::Command {
                    return Err(ScuError::Broken("it answered with data".into()));
                }
                command.extend_from_slice(&value.data);
                if command.len() > MAX_RESPONSE {
                    return Err(ScuError::Broken("its answer does not end".into()));
                }
                if value.is_last {
                    return self.read_status(&command);
                }
            }
        }
    }

    fn read_status(&mut self, command: &[u8]) -> Result<u16, ScuError> {
        let broken = |reason: &str| ScuError::Broken(reason.to_owned());
        let syntax = IMPLICIT_VR_LITTLE_ENDIAN.erased();
        let answer = InMemDicomObject::read_dataset_with_ts(command, &syntax)
            .map_err(|_| broken("its answer cannot be read"))?;
        let number = |tag| answer.element(tag).ok().and_then(|e| e.to_int::<u16>().ok());
        if number(tags::MESSAGE_ID_BEING_RESPONDED_TO) != Some(self.next_message) {
            return Err(broken("it answered another message"));
        }
        self.next_message = self.next_message.wrapping_add(1);
        number(tags::STATUS).ok_or_else(|| broken("its answer has no status"))
    }

    async fn patiently<T>(
        &mut self,
        work: impl AsyncFnOnce(&mut Link) -> Result<T, String>,
    ) -> Result<T, ScuError> {
        let patience = Duration::from_secs(self.timeout_s.into());
        match timeout(patience, work(&mut self.inner)).await {
            Ok(done) => done.map_err(ScuError::Broken),
            Err(_) => Err(ScuError::Silent(self.timeout_s)),
        }
    }
}

/// With or without TLS.
enum Link {
    Plain(Box<AsyncClientAssociation<TcpStream>>),
    Tls(Box<AsyncClientAssociation<AsyncTlsStream>>),
}

impl Link {
    fn presentation_contexts(&self) -> &[PresentationContextNegotiated] {
        match self {
            Self::Plain(link) => link.presentation_contexts(),
            Self::Tls(link) => link.presentation_contexts(),
        }
    }

    fn acceptor_max_pdu_length(&self) -> u32 {
        match self {
            Self::Plain(link) => link.acceptor_max_pdu_length(),
            Self::Tls(link) => link.acceptor_max_pdu_length(),
        }
    }

    async fn send(&mut self, pdu: &Pdu) -> Result<(), String> {
        match self {
            Self::Plain(link) => link.send(pdu).await,
            Self::Tls(link) => link.send(pdu).await,
        }
        .map_err(|e| chain(&e))
    }

    async fn receive(&mut self) -> Result<Pdu, String> {
        match self {
            Self::Plain(link) => link.receive().await,
            Self::Tls(link) => link.receive().await,
        }
        .map_err(|e| chain(&e))
    }

    async fn release(self) -> Result<(), String> {
        match self {
            Self::Plain(link) => link.release().await,
            Self::Tls(link) => link.release().await,
        }
        .map_err(|e| chain(&e))
    }
}

/// A command set: implicit VR little endian, with its length (PS3.7 section 6.3.1).
fn encode<const N: usize>(elements: [InMemElement; N]) -> Result<Vec<u8>, ScuError> {
    let command = InMemDicomObject::command_from_element_iter(elements);
    let mut bytes = Vec::new();
    command
        .write_dataset_with_ts(&mut bytes, &IMPLICIT_VR_LITTLE_ENDIAN.erased())
        .map_err(|e| ScuError::Write(chain(&e)))?;
    Ok(bytes)
}

fn text(tag: Tag, value: &str) -> InMemElement {
    InMemElement::new(tag, VR::UI, PrimitiveValue::from(value))
}

fn word(tag: Tag, value: u16) -> InMemElement {
    InMemElement::new(tag, VR::US, PrimitiveValue::from(value))
}
