use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::config::CentralConfig;
use super::database::{Database, DatabaseError};
use super::pacs::HandOns;
use super::subscriber::Subscriber;

/// Serves until stopped.
///
/// # Errors
/// If the database cannot be opened. Once it was, whatever fails is tried again.
pub(super) async fn run(config: &CentralConfig, stop: CancellationToken) -> Result<(), DatabaseError> {
    let database = Database::open(&config.database, config.pacs.is_some()).await?;
    let wake = Notify::new();
    let subscriber = Subscriber { config, database: database.clone(), wake: &wake, stop: stop.clone() };
    let hand_ons = async {
        if let Some(pacs) = &config.pacs {
            let instance = config.instance.as_str();
            HandOns { database, pacs, instance, wake: &wake, stop }.run().await;
        }
    };
    tracing::info!(instance = %config.instance, pacs = config.pacs.is_some(), "central runs");
    tokio::join!(subscriber.run(), hand_ons);
    tracing::info!("stopped");
    Ok(())
}
