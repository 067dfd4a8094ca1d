use clap::Args;
use serde_json::json;

use super::{CentralError, Common, plain, print, table, time};
use crate::exit_code::Exit;

/// List messages that could not be used (may hold what devices sent, whatever it was)
#[derive(Debug, Args)]
pub(super) struct SetAsideArgs {
    #[command(flatten)]
    common: Common,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: u32,
    /// Print JSON with the messages themselves, one object a line
    #[arg(long)]
    json: bool,
}

pub(super) async fn main(args: &SetAsideArgs) -> Result<Exit, CentralError> {
    let (_, database) = args.common.open().await?;
    let records = database.set_aside(args.limit).await?;
    if args.json {
        for r in &records {
            let value = json!({
                "position": r.position, "received_at": time(r.received_at), "topic": r.topic,
                "reason": r.reason, "bytes": r.bytes, "payload": r.payload,
            });
            print(&value.to_string())?;
        }
        return Ok(Exit::Ok);
    }
    let mut table = table(["came at", "topic", "bytes", "reason"]);
    for r in &records {
        table.add_row([time(r.received_at), plain(&r.topic), r.bytes.to_string(), plain(&r.reason)]);
    }
    print(&table.to_string())?;
    Ok(Exit::Ok)
}
