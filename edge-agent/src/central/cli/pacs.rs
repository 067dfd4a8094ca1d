use clap::{Args, Subcommand};
use serde_json::json;

use super::{CentralError, Common, plain, print, table, time};
use crate::central::config::CentralConfig;
use crate::central::database::HandOnState;
use crate::central::pacs::echo;
use crate::exit_code::Exit;

#[derive(Debug, Subcommand)]
pub(super) enum PacsCommand {
    /// List what waits and what was skipped, with the reason
    List(ListArgs),
    /// Try everything again now, skipped results too
    Retry(Common),
    /// Ask the PACS whether it answers (C-ECHO, or a search by QIDO-RS)
    Echo(Common),
}

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    common: Common,
    /// What is done, too
    #[arg(long)]
    all: bool,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: u32,
    /// Print JSON, one object a line
    #[arg(long)]
    json: bool,
}

pub(super) async fn main(command: PacsCommand) -> Result<Exit, CentralError> {
    match command {
        PacsCommand::List(args) => list(&args).await,
        PacsCommand::Retry(common) => {
            let (_, database) = common.open().await?;
            print(&format!("{} results are due now", database.retry_hand_ons().await?))?;
            Ok(Exit::Ok)
        }
        PacsCommand::Echo(common) => {
            let config = CentralConfig::load(&common.config)?;
            let pacs = config.pacs.ok_or(CentralError::NoPacs)?;
            print(&format!("{} answers", echo(&pacs).await?))?;
            Ok(Exit::Ok)
        }
    }
}

async fn list(args: &ListArgs) -> Result<Exit, CentralError> {
    let (_, database) = args.common.open().await?;
    let hand_ons = database.hand_ons(args.all, args.limit).await?;
    let due = |h: &crate::central::database::HandOn| {
        (h.state == HandOnState::Waiting && h.due_at > 0).then(|| time(h.due_at))
    };
    if args.json {
        for h in &hand_ons {
            let value = json!({
                "result_id": h.result_id, "state": h.state.name(), "attempts": h.attempts,
                "due_at": due(h), "reason": h.reason,
            });
            print(&value.to_string())?;
        }
        return Ok(Exit::Ok);
    }
    let mut table = table(["result", "state", "attempts", "due", "reason"]);
    for h in &hand_ons {
        table.add_row([
            h.result_id.to_string(),
            h.state.name().into(),
            h.attempts.to_string(),
            due(h).unwrap_or_default(),
            plain(h.reason.as_deref().unwrap_or_default()),
        ]);
    }
    print(&table.to_string())?;
    Ok(Exit::Ok)
}
