//! One association: requests come in order, each is answered before the next is read.

use std::sync::Arc;

use dicom_dictionary_std::uids;
use dicom_ul::association::{Association as _, AsyncServerAssociation, Error};
use dicom_ul::pdu::{PDataValue, PDataValueType, Pdu, PresentationContextNegotiated};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

use super::Scp;
use super::commitment;
use super::dimse::{self, Command, CommandError, MAX_COMMAND_BYTES, Request, Status};
use super::object::{Announced, Receiving};
use crate::intake::sop_classes;
use crate::store::Accepted;

/// Largest data set of an N-ACTION: some ten thousand references.
const MAX_ACTION_BYTES: usize = 1 << 20;

/// Why an association ended before its release.
#[derive(Debug, thiserror::Error)]
pub(super) enum AssociationError {
    #[error("the connection: {0}")]
    Wire(String),
    #[error("the unit sent {0}")]
    Command(#[from] CommandError),
    #[error("the unit broke the protocol: {0}")]
    Protocol(&'static str),
    #[error("the unit aborted it")]
    Aborted,
    #[error("the agent stops")]
    Stopping,
}

impl From<Error> for AssociationError {
    /// The library's own words may quote a whole PDU, and with it a patient.
    fn from(error: Error) -> Self {
        Self::Wire(match error {
            Error::ConnectionClosed { .. } => "closed without a release".into(),
            Error::Timeout { .. } => "nothing came in time (`dicom.idle_timeout_s`)".into(),
            Error::ReceivePdu { .. } => {
                "lost, or what came is no PDU of at most `dicom.max_pdu_bytes`".into()
            }
            Error::WireSend { source, .. } | Error::WireRead { source, .. } => source.to_string(),
            Error::Rejected { association_rj, .. } => format!("rejected: {}", association_rj.source),
            Error::TlsHandshake { .. } | Error::TlsConnection { .. } => "no TLS came about".into(),
            Error::TlsNotSupported => "the unit speaks TLS; configure `[dicom.tls]`".into(),
            _ => "an unexpected PDU".into(),
        })
    }
}

/// What is being read.
enum Reading {
    /// A command set, of which this much came.
    Command(Vec<u8>),
    /// The data set of a C-STORE.
    Object(Command, Box<Receiving>),
    /// The data set of a request that was refused: it is read, and the refusal sent at its end.
    Refused(Command, Status),
    /// The data set of an N-ACTION.
    Action(Command, Vec<u8>),
}

/// An established association.
pub(super) struct Served<S> {
    association: AsyncServerAssociation<S>,
    scp: Arc<Scp>,
    /// Of N-EVENT-REPORTs.
    next_message_id: u16,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Served<S> {
    pub(super) fn new(association: AsyncServerAssociation<S>, scp: Arc<Scp>) -> Self {
        Self { association, scp, next_message_id: 1 }
    }

    /// Serves until the unit releases the association. One that is stopped ends between two requests.
    pub(super) async fn run(mut self, stop: &CancellationToken) -> Result<(), AssociationError> {
        let outcome = self.serve(stop).await;
        match outcome {
            Ok(()) => {
                self.association.send(&Pdu::ReleaseRP).await?;
                Ok(())
            }
            Err(error) => {
                if !matches!(error, AssociationError::Aborted) {
                    // It may be gone already.
                    let _ = self.association.abort().await;
                }
                Err(error)
            }
        }
    }

    async fn serve(&mut self, stop: &CancellationToken) -> Result<(), AssociationError> {
        let mut reading = Reading::Command(Vec::new());
        loop {
            let idle = matches!(&reading, Reading::Command(part) if part.is_empty());
            let pdu = tokio::select! {
                () = stop.cancelled(), if idle => return Err(AssociationError::Stopping),
                pdu = self.association.receive() => pdu?,
            };
            match pdu {
                Pdu::PData { data } => {
                    for value in data {
                        reading = self.take(reading, value).await?;
                    }
                }
                Pdu::ReleaseRQ => return Ok(()),
                Pdu::AbortRQ { .. } => return Err(AssociationError::Aborted),
                _ => return Err(AssociationError::Protocol("a PDU that has no place in an association")),
            }
        }
    }

    async fn take(&mut self, reading: Reading, value: PDataValue) -> Result<Reading, AssociationError> {
        let PDataValue { presentation_context_id: context, value_type, is_last, data } = value;
        let expected = match &reading {
            Reading::Command(_) => PDataValueType::Command,
            _ => PDataValueType::Data,
        };
        if value_type != expected {
            return Err(AssociationError::Protocol(
                "a command within a data set, or a data set without a command",
            ));
        }
        let next = match reading {
            Reading::Command(mut part) => {
                part.extend(data);
                if part.len() > MAX_COMMAND_BYTES {
                    return Err(AssociationError::Protocol("a command set of more than 16 KiB"));
                }
                if !is_last {
                    return Ok(Reading::Command(part));
                }
                return self.answer(context, Command::read(&part)?).await;
            }
            Reading::Object(command, mut receiving) => {
                receiving.take(data).await;
                Reading::Object(command, receiving)
            }
            Reading::Action(command, mut part) => {
                part.extend(data);
                if part.len() > MAX_ACTION_BYTES {
                    return Err(AssociationError::Protocol("an N-ACTION of more than 1 MiB"));
                }
                Reading::Action(command, part)
            }
            refused @ Reading::Refused(..) => refused,
        };
        if !is_last {
            return Ok(next);
        }
        match next {
            Reading::Object(command, receiving) => {
                let status = self.keep(*receiving).await;
                self.respond(context, &command, &status).await?;
            }
            Reading::Action(command, data_set) => self.commit(context, &command, &data_set).await?,
            Reading::Refused(command, status) => self.respond(context, &command, &status).await?,
            Reading::Command(_) => {}
        }
        Ok(Reading::Command(Vec::new()))
    }

    /// A command set is complete: answers it, or reads the data set that belongs to it.
    async fn answer(&mut self, context: u8, command: Command) -> Result<Reading, AssociationError> {
        let negotiated = self.negotiated(context)?;
        let status = match command.request {
            Request::Echo if !command.has_data_set => Status::SUCCESS,
            Request::Store if command.has_data_set => {
                let announced = match announced(&command, &negotiated.abstract_syntax) {
                    Ok((sop_class_uid, sop_instance_uid)) => {
                        let transfer_syntax_uid = negotiated.transfer_syntax;
                        Announced { sop_class_uid, sop_instance_uid, transfer_syntax_uid }
                    }
                    Err(status) => return Ok(Reading::Refused(command, status)),
                };
                return Ok(match Receiving::begin(announced, &self.scp.store, &self.scp.limits) {
                    Ok(receiving) => Reading::Object(command, Box::new(receiving)),
                    Err(status) => Reading::Refused(command, status),
                });
            }
            Request::Action if negotiated.abstract_syntax == uids::STORAGE_COMMITMENT_PUSH_MODEL => {
                match (command.action_type, command.has_data_set) {
                    (Some(1), true) => return Ok(Reading::Action(command, Vec::new())),
                    (Some(1), false) => Status::cannot_understand("a request without references"),
                    _ => Status::no_such_action(),
                }
            }
            _ => Status::unrecognized(),
        };
        if command.has_data_set {
            return Ok(Reading::Refused(command, status));
        }
        self.respond(context, &command, &status).await?;
        Ok(Reading::Command(Vec::new()))
    }

    /// The object is complete.
    async fn keep(&mut self, receiving: Receiving) -> Status {
        let unit = self.association.peer_ae_title();
        match receiving.finish(&self.scp.store, self.scp.limits).await {
            Ok(Accepted::New(image)) => {
                tracing::info!(%image, unit, "received an object");
                self.scp.gate.count_accepted();
                self.scp.accepted.notify_one();
                Status::SUCCESS
            }
            Ok(Accepted::Duplicate(image)) => {
                tracing::info!(%image, unit, "received an object that is known");
                Status::SUCCESS
            }
            Err(status) => {
                self.scp.gate.count_refused();
                tracing::warn!(unit, %status, "refused an object");
                status
            }
        }
    }

    /// Answers a request for storage commitment, and reports at once on the same association (PS3.4 section J.3).
    async fn commit(
        &mut self,
        context: u8,
        command: &Command,
        data_set: &[u8],
    ) -> Result<(), AssociationError> {
        let syntax = self.negotiated(context)?.transfer_syntax;
        let report = match commitment::examine(data_set, &syntax, &self.scp).await {
            Ok(report) => report,
            Err(status) => return self.respond(context, command, &status).await,
        };
        self.respond(context, command, &Status::SUCCESS).await?;
        let unit = self.association.peer_ae_title();
        tracing::info!(
            unit,
            committed = report.committed,
            failed = report.failed,
            "reported storage commitment"
        );
        let event = dimse::commitment_report(self.next_message_id, report.event_type());
        self.next_message_id = self.next_message_id.wrapping_add(1);
        self.send(context, PDataValueType::Command, event).await?;
        self.send(context, PDataValueType::Data, report.data_set).await?;
        self.report_response().await
    }

    /// The unit's N-EVENT-REPORT-RSP says nothing that would change anything here; but it comes before other requests.
    async fn report_response(&mut self) -> Result<(), AssociationError> {
        let mut command = Vec::new();
        loop {
            match self.association.receive().await? {
                Pdu::PData { data } => {
                    for value in data {
                        if value.value_type != PDataValueType::Command {
                            return Err(AssociationError::Protocol("a data set in place of a response"));
                        }
                        command.extend(value.data);
                        if command.len() > MAX_COMMAND_BYTES {
                            return Err(AssociationError::Protocol("a command set of more than 16 KiB"));
                        }
                        if value.is_last {
                            return match Command::read(&command) {
                                Err(CommandError::Response) => Ok(()),
                                Err(error) => Err(error.into()),
                                Ok(_) => Err(AssociationError::Protocol("a request in place of a response")),
                            };
                        }
                    }
                }
                Pdu::AbortRQ { .. } => return Err(AssociationError::Aborted),
                _ => {
                    return Err(AssociationError::Protocol(
                        "no response to the report of storage commitment",
                    ));
                }
            }
        }
    }

    fn negotiated(&self, context: u8) -> Result<PresentationContextNegotiated, AssociationError> {
        let found = self.association.presentation_contexts().iter().find(|c| c.id == context).cloned();
        found.ok_or(AssociationError::Protocol("a presentation context that was not negotiated"))
    }

    async fn respond(
        &mut self,
        context: u8,
        command: &Command,
        status: &Status,
    ) -> Result<(), AssociationError> {
        self.send(context, PDataValueType::Command, dimse::response(command, status)).await
    }

    /// Sends a command or data set in as many PDUs as the unit's maximum asks for.
    async fn send(
        &mut self,
        context: u8,
        value_type: PDataValueType,
        bytes: Vec<u8>,
    ) -> Result<(), AssociationError> {
        /// Length, context and control header of a presentation data value (PS3.8 section 9.3.5.1).
        const PDV_HEADER: usize = 6;
        let most = (self.association.peer_max_pdu_length() as usize).saturating_sub(PDV_HEADER).max(1);
        let pieces = bytes.len().div_ceil(most).max(1);
        for (index, piece) in bytes.chunks(most).enumerate() {
            let value = PDataValue {
                presentation_context_id: context,
                value_type: value_type.clone(),
                is_last: index + 1 == pieces,
                data: piece.to_vec(),
            };
            self.association.send(&Pdu::PData { data: vec![value] }).await?;
        }
        Ok(())
    }
}

/// What a C-STORE announces, if it is what was negotiated.
fn announced(
    command: &Command,
    abstract_syntax: &str,
) -> Result<(shared::uid::Uid, shared::uid::Uid), Status> {
    let class = command.sop_class_uid.clone().filter(|class| class.as_str() == abstract_syntax);
    let class = class.filter(|class| sop_classes::STORAGE.contains(&class.as_str()));
    let class = class.ok_or_else(Status::unsupported_class)?;
    let instance = command.sop_instance_uid.clone().ok_or_else(Status::invalid_instance)?;
    Ok((class, instance))
}
