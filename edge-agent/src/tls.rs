//! Passwords, and certificates and keys from PEM files: TLS 1.2 and 1.3 with ring. Only the configured authorities are trusted, never the
//! system's, so that no public authority can stand in for the site's.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use crate::config::{DicomTlsConfig, TlsConfig};

/// A certificate, key or password file that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("`{key}` {path}: {reason}", path = .path.display())]
pub struct CredentialsError {
    /// The configuration key.
    pub key: String,
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it, and the remedy.
    pub reason: String,
}

/// For connections to others; `section` is the configuration's, such as `mqtt.tls`.
pub(crate) fn client_config(section: &str, files: &TlsConfig) -> Result<Arc<ClientConfig>, CredentialsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring serves TLS 1.2 and 1.3")
        .with_root_certificates(authorities(&format!("{section}.ca"), &files.ca)?);
    let config = match (&files.cert, &files.key) {
        (Some(cert), Some(key)) => {
            let (chain, secret) = identity(section, cert, key)?;
            builder.with_client_auth_cert(chain, secret).map_err(|e| mismatch(section, key, &e))?
        }
        _ => builder.with_no_client_auth(),
    };
    Ok(Arc::new(config))
}

/// For connections of others, who need a certificate where `client_ca` is set.
pub(crate) fn server_config(
    section: &str,
    files: &DicomTlsConfig,
) -> Result<Arc<ServerConfig>, CredentialsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("ring serves TLS 1.2 and 1.3");
    let builder = match &files.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let key = format!("{section}.client_ca");
            let roots = Arc::new(authorities(&key, path)?);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider).build();
            builder.with_client_cert_verifier(verifier.map_err(|e| bad(key, path, e.to_string()))?)
        }
    };
    let (chain, secret) = identity(section, &files.cert, &files.key)?;
    let config = builder.with_single_cert(chain, secret).map_err(|e| mismatch(section, &files.key, &e))?;
    Ok(Arc::new(config))
}

/// A password or token: the first line of a file, which may be empty.
pub(crate) fn secret(key: &str, path: &Path) -> Result<String, CredentialsError> {
    let text = std::fs::read_to_string(path).map_err(|e| bad(key.to_owned(), path, e.to_string()))?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

fn authorities(key: &str, path: &Path) -> Result<RootCertStore, CredentialsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(key, path)? {
        roots.add(certificate).map_err(|e| bad(key.to_owned(), path, e.to_string()))?;
    }
    Ok(roots)
}

type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn identity(section: &str, cert: &Path, key: &Path) -> Result<Identity, CredentialsError> {
    let chain = certificates(&format!("{section}.cert"), cert)?;
    let secret = PrivateKeyDer::from_pem_file(key)
        .map_err(|e| bad(format!("{section}.key"), key, format!("no PEM private key: {e}")))?;
    Ok((chain, secret))
}

fn certificates(key: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>, CredentialsError> {
    let chain: Vec<_> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<_, _>>)
        .map_err(|e| bad(key.to_owned(), path, e.to_string()))?;
    if chain.is_empty() {
        return Err(bad(key.to_owned(), path, "holds no PEM certificate".into()));
    }
    Ok(chain)
}

fn mismatch(section: &str, key: &Path, error: &rustls::Error) -> CredentialsError {
    bad(format!("{section}.key"), key, format!("{error}; it must belong to `{section}.cert`"))
}

fn bad(key: String, path: &Path, reason: String) -> CredentialsError {
    CredentialsError { key, path: path.to_owned(), reason }
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
            let asked = client_config("mqtt.tls", &TlsConfig { ca: ca.clone(), cert: None, key: None });
            let given = DicomTlsConfig { cert: ca.clone(), key: ca.clone(), client_ca: None };
            let served = server_config("dicom.tls", &given);
            for (error, key) in [(asked.err(), "mqtt.tls.ca"), (served.err(), "dicom.tls.cert")] {
                let text = error.unwrap().to_string();
                assert!(text.contains(key) && text.contains("ca.pem") && text.contains(says), "{text}");
            }
        }
    }
}
