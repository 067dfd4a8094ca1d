use std::net::SocketAddr;
use std::path::PathBuf;

use super::{AeTitle, ValueError, range};
use serde::Deserialize;

/// The Storage SCP: where radiography units send to.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DicomConfig {
    /// Address and port to listen on. Default `"0.0.0.0:11112"`.
    #[serde(default = "default_listen")]
    pub listen: SocketAddr,
    /// This device's AE title. Default `"CHEXSEG"`.
    #[serde(default = "default_ae_title")]
    pub ae_title: AeTitle,
    /// Whether units that call another AE title are served all the same. Default false.
    #[serde(default)]
    pub any_called_ae_title: bool,
    /// AE titles of the units that are served. Default: any. An AE title proves nothing; `[dicom.tls]` does.
    #[serde(default)]
    pub calling_ae_titles: Vec<AeTitle>,
    /// Associations at a time, 1 to 256; others are told to come back later. Default 64.
    #[serde(default = "default_associations")]
    pub max_associations: usize,
    /// Largest PDU that is taken, 4 KiB to 1 MiB. Default 64 KiB.
    #[serde(default = "default_pdu")]
    pub max_pdu_bytes: u32,
    /// Seconds for a unit's next PDU, 1 to 3600. Default 30.
    #[serde(default = "default_idle")]
    pub idle_timeout_s: u32,
    /// Seconds for a whole association, 10 to 86 400. Default 1800.
    #[serde(default = "default_association")]
    pub association_timeout_s: u32,
    /// What is answered when a unit asks for storage commitment. Default `"decline"`.
    #[serde(default)]
    pub storage_commitment: StorageCommitment,
    /// Encryption. Default: none, as most units speak.
    #[serde(default)]
    pub tls: Option<DicomTlsConfig>,
}

/// What is answered when a unit asks for storage commitment (PS3.4 annex J). A unit may delete what was committed, and
/// this device keeps an image only until its result is delivered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StorageCommitment {
    /// Every instance fails: the archive must answer for it.
    #[default]
    Decline,
    /// Instances that were accepted are committed: for units that insist, beside an archive that gets the same images.
    Confirm,
}

/// Files for TLS on DICOM associations, all PEM (PS3.15 annex B).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DicomTlsConfig {
    /// The device's certificate.
    pub cert: PathBuf,
    /// The device's private key.
    pub key: PathBuf,
    /// Certificates that may sign the units'. Default: none, and units need no certificate.
    #[serde(default)]
    pub client_ca: Option<PathBuf>,
}

impl DicomConfig {
    pub(super) fn validate(&self) -> Result<(), ValueError> {
        range("dicom.listen", u64::from(self.listen.port()), 1, 65_535)?;
        range("dicom.max_associations", self.max_associations as u64, 1, 256)?;
        range("dicom.max_pdu_bytes", u64::from(self.max_pdu_bytes), 4 << 10, 1 << 20)?;
        range("dicom.idle_timeout_s", u64::from(self.idle_timeout_s), 1, 3600)?;
        range("dicom.association_timeout_s", u64::from(self.association_timeout_s), 10, 86_400)
    }

    pub(super) fn paths(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        let tls = self.tls.iter_mut();
        tls.flat_map(|tls| {
            [Some(&mut tls.cert), Some(&mut tls.key), tls.client_ca.as_mut()].into_iter().flatten()
        })
    }
}

impl Default for DicomConfig {
    fn default() -> Self {
        Self {
            listen: default_listen(),
            ae_title: default_ae_title(),
            any_called_ae_title: false,
            calling_ae_titles: Vec::new(),
            max_associations: default_associations(),
            max_pdu_bytes: default_pdu(),
            idle_timeout_s: default_idle(),
            association_timeout_s: default_association(),
            storage_commitment: StorageCommitment::default(),
            tls: None,
        }
    }
}

fn default_listen() -> SocketAddr {
    SocketAddr::from(([0, 0, 0, 0], 11_112))
}

fn default_ae_title() -> AeTitle {
    "CHEXSEG".parse().expect("seven capital letters are an AE title")
}

fn default_associations() -> usize {
    64
}

fn default_pdu() -> u32 {
    64 << 10
}

fn default_idle() -> u32 {
    30
}

fn default_association() -> u32 {
    1800
}
