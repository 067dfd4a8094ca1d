use super::{CentralError, Common, print};
use crate::central::config::CentralConfig;
use crate::central::database::{Database, DatabaseError};
use crate::central::pacs::echo;
use crate::check::{Check, Report, broker};
use crate::cli::check::table;
use crate::exit_code::{Exit, ExitStatus};

pub(super) async fn main(common: &Common) -> Result<Exit, CentralError> {
    let report = match CentralConfig::load(&common.config) {
        Err(error) => Report { checks: vec![Check::new("configuration", error.exit(), Err(error))] },
        Ok(config) => look(&config).await,
    };
    print(&table(&report).to_string())?;
    Ok(report.exit())
}

async fn look(config: &CentralConfig) -> Report {
    let mut report = Report::default();
    let mut add = |name, exit, outcome| report.checks.push(Check::new(name, exit, outcome));
    add("configuration", Exit::Config, Ok(config.instance.to_string()));
    match results(config).await {
        Ok(count) => add("database", Exit::Storage, Ok(format!("{count} results"))),
        Err(error) => add("database", error.exit(), Err(error.to_string())),
    }
    // Under a name of its own, so that a running instance keeps its connection.
    let id = format!("{}-check", config.client_id());
    add("broker", Exit::Broker, broker::probe(&config.mqtt, &id).await);
    if let Some(pacs) = &config.pacs {
        let found = echo(pacs).await;
        add("PACS", Exit::Broker, found.map(|name| format!("{name} answers")).map_err(|e| e.to_string()));
    }
    report
}

async fn results(config: &CentralConfig) -> Result<usize, DatabaseError> {
    let database = Database::open(&config.database, false).await?;
    Ok(database.result_ids().await?.len())
}
