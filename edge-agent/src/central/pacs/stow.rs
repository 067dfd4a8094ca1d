//! STOW-RS as a user agent: the objects of a result in one request (PS3.18 section 10.5, Store Transaction).

use std::fs;
use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use dicom_object::InMemDicomObject;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::{Connect, HttpConnector};
use hyper_util::client::legacy::{Client, Error as ClientError};
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use tokio::time::timeout;
use uuid::Uuid;

use crate::central::config::PacsConfig;
use crate::central::dicom::{ObjectError, file};
use crate::tls::{CredentialsError, client_config};

/// More than any answer takes.
const MAX_ANSWER: usize = 1 << 20;
/// Bytes that a working network takes in a second, at the least: a request has this time beside the PACS's patience.
const SLOWEST: usize = 64 << 10;
const DICOM_JSON: &str = "application/dicom+json";
/// Failed SOP Sequence and Failure Reason of the answer (PS3.18 section 10.5.3, PS3.3 table C.12-1), as DICOM JSON names them.
const FAILED_SOP_SEQUENCE: &str = "00081198";
const FAILURE_REASON: &str = "00081197";

/// Why a PACS did not take something.
#[derive(Debug, thiserror::Error)]
pub enum StowError {
    /// A certificate, key, password or token cannot be used.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// An object cannot be written.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// The URL with what the transaction adds to it is none.
    #[error("`pacs.url` is no URL to store at: {0}")]
    Url(String),
    /// No connection, or one that broke.
    #[error("no answer from PACS {url}: {reason}; check `pacs.url` and `[pacs.tls]`")]
    Connect {
        /// Its URL.
        url: Uri,
        /// The cause.
        reason: String,
    },
    /// It is silent.
    #[error("the PACS did not answer within {0} s (`pacs.timeout_s`, more for large objects)")]
    Silent(u64),
    /// It does not know us.
    #[error("the PACS answered {0}: check `pacs.username` and `pacs.password_file`, or `pacs.token_file`")]
    Unknown(StatusCode),
    /// It refused all objects or some.
    #[error("the PACS refused {objects} objects with reason {reason:#06x}")]
    Refused {
        /// How many.
        objects: usize,
        /// The first one's Failure Reason (PS3.18 table I.2-2), 0 if it gives none.
        reason: u64,
    },
    /// Another answer that does not mean that all were stored.
    #[error("the PACS answered {0}")]
    Status(StatusCode),
}

/// Stores objects; warnings count as success.
///
/// # Errors
/// [`StowError`]; some objects may be stored then, and storing them again is harmless.
pub(super) async fn store(
    pacs: &PacsConfig,
    url: &Uri,
    objects: &[InMemDicomObject],
) -> Result<(), StowError> {
    let boundary = Uuid::new_v4().simple().to_string();
    let files = objects.iter().map(|object| file(object.clone())).collect::<Result<Vec<_>, _>>()?;
    let request = Request::builder()
        .method(Method::POST)
        .uri(at(url, "/studies")?)
        .header(CONTENT_TYPE, format!("multipart/related; type=\"application/dicom\"; boundary={boundary}"))
        .header(ACCEPT, DICOM_JSON);
    let (status, answer) = exchange(pacs, request, multipart(&boundary, &files)).await?;
    judge(status, &answer)
}

/// Asks for any study (QIDO-RS, PS3.18 section 10.6), as what stores may not be asked anything.
///
/// # Errors
/// [`StowError`] if nobody answers, does not know us, or fails. One who does not search answers all the same.
pub(super) async fn probe(pacs: &PacsConfig, url: &Uri) -> Result<(), StowError> {
    let request =
        Request::builder().method(Method::GET).uri(at(url, "/studies?limit=1")?).header(ACCEPT, DICOM_JSON);
    match exchange(pacs, request, Vec::new()).await? {
        (status, _) if status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED => {
            Err(StowError::Status(status))
        }
        _ => Ok(()),
    }
}

fn at(url: &Uri, path: &str) -> Result<Uri, StowError> {
    let text = url.to_string();
    format!("{}{path}", text.trim_end_matches('/')).parse().map_err(|_| StowError::Url(text))
}

/// A part for each file (RFC 2387).
fn multipart(boundary: &str, files: &[Vec<u8>]) -> Vec<u8> {
    let mut body = Vec::with_capacity(files.iter().map(|file| file.len() + 128).sum::<usize>() + 64);
    for file in files {
        body.extend_from_slice(format!("--{boundary}\r\nContent-Type: application/dicom\r\n\r\n").as_bytes());
        body.extend_from_slice(file);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    body
}

/// What an answer means (PS3.18 table 10.5.3-1).
fn judge(status: StatusCode, answer: &[u8]) -> Result<(), StowError> {
    let answer: Option<Value> = serde_json::from_slice(answer).ok();
    // A data set, or an array of one.
    let answer = answer.map(|found| if found.is_array() { found[0].clone() } else { found });
    let failed = answer.as_ref().and_then(|found| found[FAILED_SOP_SEQUENCE]["Value"].as_array());
    if let Some(failed) = failed.filter(|failed| !failed.is_empty()) {
        let reason = failed[0][FAILURE_REASON]["Value"][0].as_u64().unwrap_or(0);
        return Err(StowError::Refused { objects: failed.len(), reason });
    }
    match status {
        StatusCode::OK => Ok(()),
        // Warnings at most, if it says so.
        StatusCode::ACCEPTED if answer.is_some() => Ok(()),
        status => Err(StowError::Status(status)),
    }
}

/// Sends a request and reads the answer.
async fn exchange(
    pacs: &PacsConfig,
    mut request: hyper::http::request::Builder,
    body: Vec<u8>,
) -> Result<(StatusCode, Bytes), StowError> {
    if let Some(authorization) = authorization(pacs)? {
        request = request.header(AUTHORIZATION, authorization);
    }
    let seconds = u64::from(pacs.timeout_s) + (body.len() / SLOWEST) as u64;
    let request = request.body(Full::from(body)).map_err(|e| StowError::Url(e.to_string()))?;
    let answer = async {
        match &pacs.tls {
            Some(files) => {
                let config = client_config("pacs.tls", files)?;
                let https: HttpsConnector<HttpConnector> = HttpsConnectorBuilder::new()
                    .with_tls_config((*config).clone())
                    .https_only()
                    .enable_http1()
                    .build();
                answer(https, request).await
            }
            None => answer(HttpConnector::new(), request).await,
        }
    };
    let (status, answer) =
        timeout(Duration::from_secs(seconds), answer).await.map_err(|_| StowError::Silent(seconds))??;
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(StowError::Unknown(status)),
        _ => Ok((status, answer)),
    }
}

async fn answer(
    connector: impl Connect + Clone + Send + Sync + 'static,
    request: Request<Full<Bytes>>,
) -> Result<(StatusCode, Bytes), StowError> {
    let url = request.uri().clone();
    let broken = |reason: String| StowError::Connect { url: url.clone(), reason };
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build(connector);
    let response = client.request(request).await.map_err(|e: ClientError| broken(super::chain(&e)))?;
    let status = response.status();
    let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
    Ok((status, body.map_err(|e| broken(super::chain(&*e)))?.to_bytes()))
}

/// Basic (RFC 7617) or Bearer (RFC 6750) credentials; files are read each time, for tokens are renewed.
fn authorization(pacs: &PacsConfig) -> Result<Option<HeaderValue>, StowError> {
    let secret = |key: &str, path: &Path| {
        let bad = |reason: String| CredentialsError { key: key.into(), path: path.to_owned(), reason };
        let text = fs::read_to_string(path).map_err(|e| bad(e.to_string()))?;
        match text.lines().next().map(str::trim) {
            Some(line) if !line.is_empty() => Ok(line.to_owned()),
            _ => Err(bad("its first line is empty".into())),
        }
    };
    let (key, path, text) = match (&pacs.username, &pacs.password_file, &pacs.token_file) {
        (Some(username), Some(path), _) => {
            let pair = format!("{username}:{}", secret("pacs.password_file", path)?);
            ("pacs.password_file", path, format!("Basic {}", BASE64_STANDARD.encode(pair)))
        }
        (_, _, Some(path)) => {
            ("pacs.token_file", path, format!("Bearer {}", secret("pacs.token_file", path)?))
        }
        _ => return Ok(None),
    };
    let mut value = HeaderValue::from_str(&text).map_err(|_| CredentialsError {
        key: key.into(),
        path: path.clone(),
        reason: "its first line has characters that no header may have".into(),
    })?;
    value.set_sensitive(true);
    Ok(Some(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_stand_between_boundaries() {
        let body = multipart("B", &[b"one".to_vec(), b"--B".to_vec()]);
        let part = "--B\r\nContent-Type: application/dicom\r\n\r\n";
        assert_eq!(body, format!("{part}one\r\n{part}--B\r\n--B--\r\n").as_bytes());
    }

    #[test]
    fn only_an_answer_that_names_no_failure_is_success() {
        let says = |status, text: &str| judge(StatusCode::from_u16(status).unwrap(), text.as_bytes());
        let failed = r#"{"00081198":{"vr":"SQ","Value":[{"00081197":{"vr":"US","Value":[43264]}}]}}"#;
        let warned = r#"{"00081199":{"vr":"SQ","Value":[{"00081196":{"vr":"US","Value":[45056]}}]}}"#;
        for (status, text) in [(200, ""), (200, "stored"), (200, warned), (202, warned), (200, "[{}]")] {
            assert!(says(status, text).is_ok(), "{status} {text}");
        }
        // Failures count whatever the status, in an array too.
        for (status, text) in
            [(200, failed.to_owned()), (202, format!("[{failed}]")), (409, failed.to_owned())]
        {
            let error = says(status, &text).unwrap_err().to_string();
            assert!(error.contains("1 objects") && error.contains("0xa900"), "{error}");
        }
        // What was taken is not said.
        for (status, text) in [(202, ""), (409, ""), (500, "{}"), (302, ""), (204, "")] {
            let error = says(status, text).unwrap_err().to_string();
            assert!(error.contains(&status.to_string()), "{error}");
        }
    }

    #[test]
    fn paths_go_behind_the_url() {
        for url in ["http://h/dicom-web", "http://h:8042", "https://h/a/b"] {
            let found = at(&url.parse().unwrap(), "/studies").unwrap();
            assert_eq!(found.to_string(), format!("{url}/studies"));
        }
    }

    #[test]
    fn credentials_become_a_header_or_an_error_that_names_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        let config = |keys: &str| -> PacsConfig {
            toml::from_str(&format!("url = 'http://h'\n{}", keys.replace("FILE", path.to_str().unwrap())))
                .unwrap()
        };
        let basic = config("username = 'Aladdin'\npassword_file = 'FILE'");
        let bearer = config("token_file = 'FILE'");
        assert_eq!(authorization(&config("")).unwrap(), None);
        assert!(authorization(&basic).unwrap_err().to_string().contains("`pacs.password_file`"));
        // The example of RFC 7617.
        std::fs::write(&path, "open sesame\n").unwrap();
        assert_eq!(authorization(&basic).unwrap().unwrap(), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert_eq!(authorization(&bearer).unwrap().unwrap(), "Bearer open sesame");
        for content in ["\n", "\u{1}\n"] {
            std::fs::write(&path, content).unwrap();
            let error = authorization(&bearer).unwrap_err().to_string();
            assert!(error.contains("`pacs.token_file`") && error.contains("first line"), "{error}");
        }
    }
}
