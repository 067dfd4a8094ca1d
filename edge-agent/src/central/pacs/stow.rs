//! STOW-RS as a user agent: the objects of a result in one request (PS3.18 section 10.5, Store Transaction).

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::connect::{Connect, HttpConnector};
use hyper_util::client::legacy::{Client, Error as ClientError};
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use tokio::time::timeout;
use uuid::Uuid;

use super::{chain, uid};
use crate::central::config::PacsConfig;
use crate::central::dicom::{ObjectError, file};
use crate::tls::{CredentialsError, client_config, secret};

/// More than any answer takes.
const MAX_ANSWER: usize = 1 << 20;
/// Bytes that a working network takes in a second, at the least: so much longer than `timeout_s` a request may take.
const SLOWEST: usize = 64 << 10;
/// The most seconds for a request: well below the time after which another instance takes a result for abandoned.
const LONGEST_S: u64 = 600;
const DICOM_JSON: &str = "application/dicom+json";
/// What an answer holds (PS3.18 section 10.5.3.2, Store Instances Response Module), as DICOM JSON names it: Referenced SOP
/// Sequence of what was stored, Failed SOP Sequence and Other Failures Sequence of what was not.
const STORED: &str = "00081199";
const FAILED: [&str; 2] = ["00081198", "0008119A"];
const INSTANCE: &str = "00081155";
const FAILURE_REASON: &str = "00081197";
/// Failure Reasons of one who has an object of this UID: 0x0111 of PS3.7 annex C, and the one of Azure's DICOM service. UIDs
/// follow from what is stored, so that it has this very object.
const DUPLICATE: [u64; 2] = [0x0111, 0xB00E];

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
    #[error("the PACS refused {objects} of the objects, with Failure Reason {reason:#06x}")]
    Refused {
        /// How many.
        objects: usize,
        /// The first one's Failure Reason (PS3.18 table I.2-2), 0 if it gives none.
        reason: u64,
    },
    /// Nothing to search in is there.
    #[error("the PACS answered {0} to a search: check `pacs.url`")]
    Search(StatusCode),
    /// Another answer that does not say that all were stored.
    #[error("the PACS answered {0} and did not name all objects as stored; check `pacs.url`")]
    Status(StatusCode),
}

/// Stores objects; warnings count as success, and so does an object that the PACS has.
///
/// # Errors
/// [`StowError`]; some objects may be stored then.
pub(super) async fn store(
    pacs: &PacsConfig,
    url: &Uri,
    objects: Vec<InMemDicomObject>,
) -> Result<(), StowError> {
    let uid = |object| uid(object, tags::SOP_INSTANCE_UID).map_err(ObjectError::Write);
    let sent = objects.iter().map(uid).collect::<Result<Vec<_>, _>>()?;
    let files = objects.into_iter().map(file).collect::<Result<Vec<_>, _>>()?;
    let boundary = Uuid::new_v4().simple().to_string();
    let request = Request::builder()
        .method(Method::POST)
        .uri(at(url, "/studies")?)
        .header(CONTENT_TYPE, format!("multipart/related; type=\"application/dicom\"; boundary={boundary}"))
        .header(ACCEPT, DICOM_JSON);
    let (status, answer) = exchange(pacs, request, multipart(&boundary, &files)).await?;
    judge(status, &answer, &sent)
}

/// Asks for any study (QIDO-RS, PS3.18 section 10.6), since storing cannot be tried without storing something.
///
/// # Errors
/// [`StowError`] if nobody answers, does not know us, or has nothing there. One who stores and does not search is fine.
pub(super) async fn probe(pacs: &PacsConfig, url: &Uri) -> Result<(), StowError> {
    let request =
        Request::builder().method(Method::GET).uri(at(url, "/studies?limit=1")?).header(ACCEPT, DICOM_JSON);
    match exchange(pacs, request, Vec::new()).await?.0 {
        status if status.is_success() => Ok(()),
        StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED => Ok(()),
        status => Err(StowError::Search(status)),
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

/// What an answer means (PS3.18 table 10.5.3-1). Success is that each object is named as stored: others than the PACS answer
/// too, such as a proxy with a page to log in.
fn judge(status: StatusCode, answer: &[u8], sent: &[String]) -> Result<(), StowError> {
    if status == StatusCode::OK && answer.is_empty() {
        return Ok(());
    }
    let answer: Value = serde_json::from_slice(answer).map_err(|_| StowError::Status(status))?;
    // A data set, or an array of one.
    let answer = if answer.is_array() { &answer[0] } else { &answer };
    let items = |sequence: &str| answer[sequence]["Value"].as_array().map_or(&[][..], Vec::as_slice);
    let reason = |item: &Value| item[FAILURE_REASON]["Value"][0].as_u64().unwrap_or(0);
    let instance = |item: &Value| item[INSTANCE]["Value"][0].as_str().map(str::to_owned);
    let (had, refused): (Vec<&Value>, Vec<&Value>) =
        FAILED.iter().flat_map(|name| items(name)).partition(|item| DUPLICATE.contains(&reason(item)));
    if let Some(first) = refused.first() {
        return Err(StowError::Refused { objects: refused.len(), reason: reason(first) });
    }
    let kept: Vec<String> = items(STORED).iter().chain(had).filter_map(instance).collect();
    if sent.iter().all(|uid| kept.contains(uid)) { Ok(()) } else { Err(StowError::Status(status)) }
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
    let patience = Duration::from_secs(pacs.timeout_s.into());
    let seconds = (u64::from(pacs.timeout_s) + (body.len() / SLOWEST) as u64).min(LONGEST_S);
    let request = request.body(Full::from(body)).map_err(|e| StowError::Url(e.to_string()))?;
    let mut tcp = HttpConnector::new();
    tcp.set_connect_timeout(Some(patience));
    let answer = async {
        match &pacs.tls {
            Some(files) => {
                tcp.enforce_http(false);
                let config = client_config("pacs.tls", files)?;
                let https = HttpsConnectorBuilder::new()
                    .with_tls_config((*config).clone())
                    .https_only()
                    .enable_http1()
                    .wrap_connector(tcp);
                answer(https, request).await
            }
            None => answer(tcp, request).await,
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
    let response = client.request(request).await.map_err(|e: ClientError| broken(chain(&e)))?;
    let status = response.status();
    let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
    Ok((status, body.map_err(|e| broken(chain(&*e)))?.to_bytes()))
}

/// Basic (RFC 7617) or Bearer (RFC 6750) credentials; files are read each time, for tokens are renewed.
fn authorization(pacs: &PacsConfig) -> Result<Option<HeaderValue>, StowError> {
    let (key, path) = match (&pacs.password_file, &pacs.token_file) {
        (Some(path), _) => ("pacs.password_file", path),
        (_, Some(path)) => ("pacs.token_file", path),
        _ => return Ok(None),
    };
    let bad = |reason: &str| CredentialsError { key: key.into(), path: path.clone(), reason: reason.into() };
    let secret = secret(key, path)?;
    if secret.trim().is_empty() {
        return Err(bad("its first line is empty").into());
    }
    let text = match &pacs.username {
        Some(username) => format!("Basic {}", BASE64_STANDARD.encode(format!("{username}:{secret}"))),
        None => format!("Bearer {}", secret.trim()),
    };
    let value = HeaderValue::from_str(&text);
    let mut value = value.map_err(|_| bad("its first line has characters that no header may have"))?;
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
    fn only_an_answer_that_names_every_object_as_stored_is_success() {
        let says = |status, text: &str| {
            judge(StatusCode::from_u16(status).unwrap(), text.as_bytes(), &["1.2".into(), "1.3".into()])
        };
        let item = |uid: &str, more: &str| format!(r#"{{"00081155":{{"vr":"UI","Value":["{uid}"]}}{more}}}"#);
        let reason = |code: u32| format!(r#","00081197":{{"vr":"US","Value":[{code}]}}"#);
        let sequence =
            |tag: &str, items: &[String]| format!(r#""{tag}":{{"vr":"SQ","Value":[{}]}}"#, items.join(","));
        let warning = r#","00081196":{"vr":"US","Value":[45056]}"#;
        let stored = sequence(STORED, &[item("1.2", ""), item("1.3", warning)]);
        let half = sequence(STORED, &[item("1.2", "")]);
        let had = |code| sequence(FAILED[0], &[item("1.3", &reason(code))]);
        for (status, text) in [
            (200, String::new()),
            (200, format!("{{{stored}}}")),
            (202, format!("[{{{stored}}}]")),
            (202, format!("{{{half},{}}}", had(0x0111))),
            (409, format!("{{{half},{}}}", had(0xB00E))),
        ] {
            assert!(says(status, &text).is_ok(), "{status} {text}");
        }
        for (status, text) in [
            (200, format!("{{{half},{}}}", had(0xA900))),
            (202, format!("[{{{}}}]", had(0xA900))),
            (
                409,
                format!("{{{stored},{}}}", sequence(FAILED[1], &[format!("{{{}}}", &reason(0xA900)[1..])])),
            ),
        ] {
            let error = says(status, &text).unwrap_err().to_string();
            assert!(error.contains("1 of the objects") && error.contains("0xa900"), "{error}");
        }
        // A page to log in, an answer that tells nothing, and one that tells half.
        let half = format!("{{{half}}}");
        for (status, text) in [
            (200, "<html>"),
            (200, "{}"),
            (200, half.as_str()),
            (202, ""),
            (202, "[]"),
            (409, ""),
            (500, ""),
            (302, ""),
            (204, ""),
        ] {
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
