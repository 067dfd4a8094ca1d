use std::fmt;
use std::path::PathBuf;

use hyper::Uri;
use serde::Deserialize;

use super::{files, pair, problem};
use crate::config::{AeTitle, TlsConfig, ValueError, range};

/// A PACS that takes what central makes of results: by C-STORE, where `host` is given, or by STOW-RS, where `url` is.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PacsConfig {
    /// C-STORE: host name or address.
    #[serde(default)]
    pub host: Option<String>,
    /// C-STORE: TCP port. Default 104.
    #[serde(default)]
    pub port: Option<u16>,
    /// C-STORE: its AE title.
    #[serde(default)]
    pub called_ae_title: Option<AeTitle>,
    /// C-STORE: ours. Default `CHEXSEG`.
    #[serde(default)]
    pub calling_ae_title: Option<AeTitle>,
    /// STOW-RS: where its studies are, without `/studies`.
    #[serde(default)]
    pub url: Option<String>,
    /// STOW-RS: who we are, with `password_file`. Default: nobody in particular.
    #[serde(default)]
    pub username: Option<String>,
    /// STOW-RS: file whose first line is the password.
    #[serde(default)]
    pub password_file: Option<PathBuf>,
    /// STOW-RS: file whose first line is a bearer token, read for every request. Default: none.
    #[serde(default)]
    pub token_file: Option<PathBuf>,
    /// Whether a DICOM Segmentation is sent. Default true.
    #[serde(default = "yes")]
    pub segmentation: bool,
    /// Whether a Secondary Capture picture of the masks is sent. Default true.
    #[serde(default = "yes")]
    pub secondary_capture: bool,
    /// Seconds until a silent PACS is given up, 1 to 600; over STOW-RS a request has a second more for every 64 KiB. Default 30.
    #[serde(default = "default_timeout")]
    pub timeout_s: u16,
    /// Encryption and our certificate; an `https` URL needs it. Default: none, as most PACS speak.
    #[serde(default)]
    pub tls: Option<TlsConfig>,
    /// Longest pause before a result that was not taken is sent again in seconds, 1 to 86 400. Default 3600.
    #[serde(default = "default_max_retry")]
    pub max_retry_s: u32,
}

/// How a PACS is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PacsTarget {
    /// A DICOM node, for C-STORE.
    Node(PacsNode),
    /// Its web services, for STOW-RS: the URL without `/studies`.
    Web(Uri),
}

/// A DICOM node and who we are to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PacsNode {
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Its AE title.
    pub called_ae_title: AeTitle,
    /// Ours.
    pub calling_ae_title: AeTitle,
}

/// A name for people.
impl fmt::Display for PacsTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(node) => write!(f, "{} at {}", node.called_ae_title, node.address()),
            Self::Web(url) => write!(f, "{url}"),
        }
    }
}

impl PacsNode {
    /// `host:port`.
    pub fn address(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

impl PacsConfig {
    /// How it is reached.
    ///
    /// # Errors
    /// If keys are missing or do not go together.
    pub fn target(&self) -> Result<PacsTarget, ValueError> {
        match (&self.host, &self.url) {
            (Some(host), None) => self.node(host).map(PacsTarget::Node),
            (None, Some(url)) => self.web(url).map(PacsTarget::Web),
            (Some(_), Some(_)) => Err(problem(
                "pacs.url",
                "given beside `pacs.host`",
                "keep `host` for C-STORE or `url` for STOW-RS",
            )),
            (None, None) => Err(problem(
                "pacs.host",
                "absent",
                "give `host` for C-STORE or `url` for STOW-RS, or remove `[pacs]`",
            )),
        }
    }

    fn node(&self, host: &str) -> Result<PacsNode, ValueError> {
        if host.is_empty() || host.contains(['/', ' ', '@']) {
            return Err(problem("pacs.host", &format!("'{host}'"), "give a host name or address"));
        }
        let web = [
            ("pacs.username", self.username.is_some()),
            ("pacs.password_file", self.password_file.is_some()),
            ("pacs.token_file", self.token_file.is_some()),
        ];
        without(web, "remove it: it goes with `pacs.url`")?;
        let port = self.port.unwrap_or(104);
        range("pacs.port", u64::from(port), 1, 65_535)?;
        let called_ae_title = self.called_ae_title.clone();
        let called_ae_title = called_ae_title
            .ok_or_else(|| problem("pacs.called_ae_title", "absent", "give the AE title of the PACS"))?;
        let calling_ae_title = self.calling_ae_title.clone();
        let ours = || "CHEXSEG".parse().expect("seven capital letters are an AE title");
        let calling_ae_title = calling_ae_title.unwrap_or_else(ours);
        Ok(PacsNode { host: host.to_owned(), port, called_ae_title, calling_ae_title })
    }

    fn web(&self, url: &str) -> Result<Uri, ValueError> {
        // Without what it says: it may hold a password.
        let bad = |found: &str, remedy: &str| Err(problem("pacs.url", found, remedy));
        let Ok(uri) = url.trim_end_matches('/').parse::<Uri>() else {
            return bad("no URL", "write https://HOST/PATH");
        };
        let Some(authority) = uri.authority() else {
            return bad("without a host", "write https://HOST/PATH");
        };
        if authority.as_str().contains('@') {
            return bad("with a user", "give `pacs.username` and `pacs.password_file`");
        }
        if uri.query().is_some() {
            return bad("with a query", "give the path of the web services, without /studies");
        }
        match (uri.scheme_str(), &self.tls) {
            (Some("https"), None) => {
                return bad("https", "give `[pacs.tls]` with the authority that signed its certificate");
            }
            (Some("http"), Some(_)) => return bad("http", "write https, or remove `[pacs.tls]`"),
            (Some("https" | "http"), _) => {}
            _ => return bad("of another kind", "write https://HOST/PATH"),
        }
        let dimse = [
            ("pacs.port", self.port.is_some()),
            ("pacs.called_ae_title", self.called_ae_title.is_some()),
            ("pacs.calling_ae_title", self.calling_ae_title.is_some()),
        ];
        without(dimse, "remove it: it goes with `pacs.host`")?;
        match (&self.username, &self.password_file, &self.token_file) {
            (Some(_), None, _) => {
                return Err(problem("pacs.password_file", "absent", "give it beside `pacs.username`"));
            }
            (None, Some(_), _) => {
                return Err(problem("pacs.username", "absent", "give it beside `pacs.password_file`"));
            }
            (Some(_), _, Some(_)) => {
                return Err(problem("pacs.token_file", "given", "give it or a password, not both"));
            }
            (Some(name), ..) if name.contains(':') => {
                return Err(problem("pacs.username", "a name with a colon", "HTTP allows none in it"));
            }
            _ => {}
        }
        let secret = self.password_file.is_some() || self.token_file.is_some();
        let here = ["localhost", "127.0.0.1", "[::1]"].contains(&authority.host());
        if secret && !here && uri.scheme_str() == Some("http") {
            return bad("http", "write https: whoever listens would get the password or token");
        }
        Ok(uri)
    }

    pub(super) fn validate(&self) -> Result<(), ValueError> {
        self.target()?;
        range("pacs.timeout_s", u64::from(self.timeout_s), 1, 600)?;
        range("pacs.max_retry_s", u64::from(self.max_retry_s), 1, 86_400)?;
        pair(self.tls.as_ref(), "pacs.tls.cert", "pacs.tls.key")?;
        if !self.segmentation && !self.secondary_capture {
            return Err(problem("pacs.segmentation", "false", "send at least one kind, or remove `[pacs]`"));
        }
        Ok(())
    }

    pub(super) fn paths(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        let secrets = self.password_file.iter_mut().chain(self.token_file.iter_mut());
        secrets.chain(self.tls.iter_mut().flat_map(files))
    }
}

/// Keys of the other way to a PACS, and whether they are given.
fn without(keys: [(&'static str, bool); 3], remedy: &str) -> Result<(), ValueError> {
    let found = keys.into_iter().find(|(_, given)| *given);
    found.map_or(Ok(()), |(key, _)| Err(problem(key, "given", remedy)))
}

fn yes() -> bool {
    true
}

fn default_timeout() -> u16 {
    30
}

fn default_max_retry() -> u32 {
    3600
}
