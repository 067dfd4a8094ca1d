use std::time::Duration;

use rumqttc::v5::mqttbytes::v5::{ConnectReturnCode, Packet};
use rumqttc::v5::{AsyncClient, ConnectionError, Event};
use tokio::time::timeout;

use super::Check;
use crate::config::{AgentConfig, MqttConfig};
use crate::exit_code::Exit;
use crate::publisher::mqtt::{client_id, connect_options};

/// Longer than a person waits for a table.
const PATIENCE: Duration = Duration::from_secs(8);

/// Connects as the agent would, under a name of its own so that a running agent keeps its connection.
pub(super) async fn check(config: &AgentConfig) -> Check {
    let id = format!("{}-check", client_id(&config.device_id()));
    Check::new("broker", Exit::Broker, probe(&config.mqtt, &id).await)
}

/// What was found at the broker, or the problem and its remedy.
pub(crate) async fn probe(mqtt: &MqttConfig, client_id: &str) -> Result<String, String> {
    let place = format!("{}:{}", mqtt.host, mqtt.port);
    match connect(mqtt, client_id).await {
        Ok(()) => Ok(format!("{place} speaks MQTT 5")),
        Err(problem) => Err(format!("{place}: {problem}")),
    }
}

async fn connect(mqtt: &MqttConfig, client_id: &str) -> Result<(), String> {
    let options = connect_options(mqtt, client_id).map_err(|e| e.to_string())?;
    let (client, mut events) = AsyncClient::new(options, 1);
    match timeout(PATIENCE, events.poll()).await {
        Ok(Ok(Event::Incoming(Packet::ConnAck(_)))) => {
            // Leaves in order; whether that succeeds is of no consequence.
            let leave = async {
                client.disconnect().await.ok();
                while events.poll().await.is_ok() {}
            };
            timeout(Duration::from_secs(1), leave).await.ok();
            Ok(())
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
