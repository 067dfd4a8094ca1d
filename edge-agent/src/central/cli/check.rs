use std::time::Duration;

use rumqttc::v5::mqttbytes::v5::Packet;
use rumqttc::v5::{AsyncClient, Event};
use tokio::time::timeout;

use super::{CentralError, Common, print, table};
use crate::central::config::CentralConfig;
use crate::central::database::Database;
use crate::central::pacs::scu::Association;
use crate::exit_code::{Exit, ExitStatus};
use crate::publisher::mqtt::connect_options;

/// Longer than a person waits for a table.
const PATIENCE: Duration = Duration::from_secs(8);

type Outcome = Result<String, (Exit, String)>;

pub(super) async fn main(common: &Common) -> Result<Exit, CentralError> {
    let mut checks: Vec<(&str, Outcome)> = Vec::new();
    match CentralConfig::load(&common.config) {
        Err(error) => checks.push(("configuration", Err((error.exit(), error.to_string())))),
        Ok(config) => {
            checks.push(("configuration", Ok(config.instance.to_string())));
            checks.push(("database", database(&config).await));
            checks.push(("broker", broker(&config).await));
            if let Some(pacs) = &config.pacs {
                let echo = Association::echo(pacs).await;
                let found = format!("{} at {} answers", pacs.called_ae_title, pacs.address());
                checks.push(("PACS", echo.map(|()| found).map_err(|e| (Exit::Broker, e.to_string()))));
            }
        }
    }
    let mut table = table(["check", "", "what was found"]);
    for (name, outcome) in &checks {
        let (state, text) = match outcome {
            Ok(found) => ("ok", found),
            Err((_, problem)) => ("FAILED", problem),
        };
        table.add_row([name, state, text]);
    }
    print(&table.to_string())?;
    Ok(checks.into_iter().find_map(|(_, outcome)| outcome.err()).map_or(Exit::Ok, |(exit, _)| exit))
}

async fn database(config: &CentralConfig) -> Outcome {
    let failed = |error: crate::central::database::DatabaseError| (error.exit(), error.to_string());
    let database = Database::open(&config.database, false).await.map_err(failed)?;
    let results = database.result_ids().await.map_err(failed)?;
    Ok(format!("{} results", results.len()))
}

/// Under a name of its own, so that a running instance keeps its connection.
async fn broker(config: &CentralConfig) -> Outcome {
    let mqtt = &config.mqtt;
    let id = format!("{}-check", config.client_id());
    let options = connect_options(mqtt, &id).map_err(|e| (Exit::Config, e.to_string()))?;
    let place = format!("{}:{}", mqtt.host, mqtt.port);
    let refused = |reason: String| {
        (Exit::Broker, format!("{place}: {reason}; check `[mqtt]`, the broker's ACL and whether it runs"))
    };
    let (client, mut events) = AsyncClient::new(options, 1);
    match timeout(PATIENCE, events.poll()).await {
        Ok(Ok(Event::Incoming(Packet::ConnAck(_)))) => {
            let leave = async {
                client.disconnect().await.ok();
                while events.poll().await.is_ok() {}
            };
            timeout(Duration::from_secs(1), leave).await.ok();
            Ok(format!("{place} speaks MQTT 5"))
        }
        Ok(Ok(other)) => Err(refused(format!("it answers CONNECT with {other:?}"))),
        Ok(Err(error)) => Err(refused(error.to_string())),
        Err(_) => Err(refused(format!("no answer within {} s", PATIENCE.as_secs()))),
    }
}
