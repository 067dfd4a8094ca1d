use std::net::SocketAddr;

use serde::Deserialize;

/// The listener for `/metrics`, `/healthz` and `/readyz`. It has no access control: keep it on the loopback interface
/// or in a closed net.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpConfig {
    /// Address and port, such as `127.0.0.1:9464`.
    pub listen: SocketAddr,
}
