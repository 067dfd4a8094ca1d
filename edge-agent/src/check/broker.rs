use std::time::Duration;

use rumqttc::v5::mqttbytes::v5::{ConnectReturnCode, Packet};
use rumqttc::v5::{AsyncClient, ConnectionError, Event};
use tokio::time::timeout;

use super::Check;
use crate::config::AgentConfig;
use crate::exit_code::Exit;
use crate::publisher::mqtt::{client_id, connect_options};

/// Longer than a person waits for a table.
const PATIENCE: Duration = Duration::from_secs(8);

/// Connects as the agent would, under a name of its own so that a running agent keeps its connection.
pub(super) async fn check(config: &AgentConfig) -> Check {
    let (host, port) = (&config.mqtt.host, config.mqtt.port);
    let outcome = connect(config).await.map_err(|problem| format!("{host}:{port}: {problem}"));
    Check::new("broker", Exit::Broker, outcome)
}

async fn connect(config: &AgentConfig) -> Result<String, String> {
    let id = format!("{}-check", client_id(&config.device_id()));
    let options = connect_options(&config.mqtt, &id).map_err(|e| e.to_string())?;
    let (client, mut events) = AsyncClient::new(options, 1);
    match timeout(PATIENCE, events.poll()).await {
        Ok(Ok(Event::Incoming(Packet::ConnAck(_)))) => {
            // Leaves in order; whether that succeeds is of no consequence.
            let leave = async {
                client.disconnect().await.ok();
                while events.poll().await.is_ok() {}
            };
            timeout(Duration::from_secs(1), leave).await.ok();
            Ok(format!("{}:{} speaks MQTT 5", config.mqtt.host, config.mqtt.port))
        }
        Ok(Ok(other)) => Err(format!("it answers CONNECT with {other:?}; is it an MQTT 5 broker?")),
        Ok(Err(error)) => Err(explain(&error)),
        Err(_) => Err(format!(
            "no answer within {} s; check `mqtt.host`, `mqtt.port`, firewall and whether TLS is expected",
            PATIENCE.as_secs()
        )),
    }
}

fn explain(error: &ConnectionError) -> String {
    match error {
        ConnectionError::ConnectionRefused(
            ConnectReturnCode::BadUserNamePassword | ConnectReturnCode::NotAuthorized,
        ) => format!("{error}; check `mqtt.username`, `mqtt.password_file` and the broker's ACL"),
        ConnectionError::ConnectionRefused(_) => format!("{error}; see the broker's log"),
        ConnectionError::Tls(_) => format!("{error}; check `[mqtt.tls]` and the broker's certificate"),
        _ => format!("{error}; check `mqtt.host` and `mqtt.port` and that the broker runs"),
    }
}
