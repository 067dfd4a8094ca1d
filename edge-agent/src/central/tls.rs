use std::sync::Arc;

use rustls::ClientConfig;

use crate::config::TlsConfig;
use crate::publisher::tls;

/// As for the broker, for another section of the configuration, which errors name.
pub(super) fn client_config(files: &TlsConfig, section: &str) -> Result<Arc<ClientConfig>, String> {
    tls::client_config(files).map_err(|error| error.to_string().replace("mqtt.tls", section))
}
