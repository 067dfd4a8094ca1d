use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

use super::ScpError;
use crate::config::DicomTlsConfig;

/// Reads certificates and key: TLS 1.2 and 1.3 with ring, and units need a certificate where `client_ca` is set.
pub(super) fn server_config(tls: &DicomTlsConfig) -> Result<Arc<ServerConfig>, ScpError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("ring serves TLS 1.2 and 1.3");
    let builder = match &tls.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates("dicom.tls.client_ca", path)? {
                roots.add(certificate).map_err(|e| bad("dicom.tls.client_ca", path, &e.to_string()))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(
                verifier.map_err(|e| bad("dicom.tls.client_ca", path, &e.to_string()))?,
            )
        }
    };
    let chain = certificates("dicom.tls.cert", &tls.cert)?;
    let key = PrivateKeyDer::from_pem_file(&tls.key)
        .map_err(|e| bad("dicom.tls.key", &tls.key, &format!("no PEM private key: {e}")))?;
    let config = builder
        .with_single_cert(chain, key)
        .map_err(|e| bad("dicom.tls.key", &tls.key, &format!("{e}; it must belong to `dicom.tls.cert`")))?;
    Ok(Arc::new(config))
}

fn certificates(key: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, ScpError> {
    let chain: Vec<_> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<_, _>>)
        .map_err(|e| bad(key, path, &e.to_string()))?;
    if chain.is_empty() { Err(bad(key, path, "holds no PEM certificate")) } else { Ok(chain) }
}

fn bad(key: &'static str, path: &Path, reason: &str) -> ScpError {
    ScpError::Credentials { key, path: path.to_owned(), reason: reason.to_owned() }
}
