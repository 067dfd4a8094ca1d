use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use super::PublishError;
use crate::config::TlsConfig;

/// Reads certificates and key. TLS 1.2 and 1.3 with ring; only the configured authorities are trusted, never
/// the system's, so that no public authority can stand in for the site's broker.
pub(crate) fn client_config(tls: &TlsConfig) -> Result<Arc<ClientConfig>, PublishError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates("mqtt.tls.ca", &tls.ca)? {
        roots.add(certificate).map_err(|e| bad("mqtt.tls.ca", &tls.ca, &e.to_string()))?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring serves TLS 1.2 and 1.3")
        .with_root_certificates(roots);
    let config = match (&tls.cert, &tls.key) {
        (Some(cert), Some(key)) => {
            let chain = certificates("mqtt.tls.cert", cert)?;
            let secret = PrivateKeyDer::from_pem_file(key)
                .map_err(|e| bad("mqtt.tls.key", key, &format!("no PEM private key: {e}")))?;
            builder
                .with_client_auth_cert(chain, secret)
                .map_err(|e| bad("mqtt.tls.key", key, &format!("{e}; it must belong to `mqtt.tls.cert`")))?
        }
        _ => builder.with_no_client_auth(),
    };
    Ok(Arc::new(config))
}

fn certificates(key: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, PublishError> {
    let chain: Vec<_> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<_, _>>)
        .map_err(|e| bad(key, path, &e.to_string()))?;
    if chain.is_empty() {
        return Err(bad(key, path, "holds no PEM certificate"));
    }
    Ok(chain)
}

fn bad(key: &'static str, path: &Path, reason: &str) -> PublishError {
    PublishError::Credentials { key, path: path.to_owned(), reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_no_certificate_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let ca = dir.path().join("ca.pem");
        for (content, says) in [(Some("hello"), "no PEM certificate"), (None, "")] {
            if let Some(content) = content {
                std::fs::write(&ca, content).unwrap();
            } else {
                std::fs::remove_file(&ca).unwrap();
            }
            let error = client_config(&TlsConfig { ca: ca.clone(), cert: None, key: None }).unwrap_err();
            let text = error.to_string();
            assert!(text.contains("mqtt.tls.ca") && text.contains("ca.pem") && text.contains(says), "{text}");
        }
    }
}
